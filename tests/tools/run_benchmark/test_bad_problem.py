"""problem.py that is broken, and arguments that do not fit it: clear results and errors, no crash."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from court_texts import PROBLEM
from kernelwright_judge import trial as trial_module

BROKEN: dict[str, tuple[str, str]] = {
    # name: (what of the good problem is replaced or appended, words of the reason)
    "it raises on import": ("raise RuntimeError('not today')", "not today"),
    "it imports what is not there": ("import not_there_at_all", "not_there_at_all"),
    "it has no reference": ("del reference", "no function 'reference'"),
    "it has no inputs": ("del inputs", "no function 'inputs'"),
    "it has no entry": ("entry = None", "names no entry"),
    "shapes of the wrong type": ("shapes = 5", "shapes must be"),
    "reference raises": ("def reference(x, w): raise ValueError('cannot')", "cannot"),
    "reference returns no tensor": ("def reference(x, w): return 'done'", "must return a tensor"),
    "reference returns nothing": ("def reference(x, w): return None", "returned no tensor"),
    "inputs returns a list": ("def inputs(*a): return [torch.ones(3)]", "must return a tuple"),
    "inputs returns an object": ("def inputs(*a): return (object(),)", "object"),
    "it ends its process": ("import os; os._exit(3)", "status 3"),
    "the task is degenerate": ("def reference(x, w): return x * 0", "degenerate"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_problem_is_invalid(name: str, judged: Callable[..., Any]) -> None:
    appended, words = BROKEN[name]
    found = judged("def norm(x, w): return x * 0" if "degenerate" in name else "", PROBLEM + appended)
    assert found.verdict == "invalid"
    assert any(words in reason for reason in found.reasons), found.reasons


def test_problem_that_loops_is_ended(judged: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_module, "MAKE_S", 2.0)
    found = judged("", PROBLEM + "def reference(x, w):\n    while True: pass")
    assert found.verdict == "invalid"
    assert "did not answer" in found.reasons[0]


def test_nan_inputs_are_compared_place_by_place(judged: Callable[..., Any]) -> None:
    poisoned = PROBLEM.replace("    return x.to(dtype)", "    x[0, 0] = float('nan')\n    return x.to(dtype)")
    assert judged("", poisoned).families <= {"noise"}
    found = judged("def norm(x, w): return torch.nan_to_num(good(x, w))", poisoned)
    assert found.verdict == "incorrect"
    assert "NaN" in found.reasons[0]


def test_tolerance_may_only_tighten(judged: Callable[..., Any]) -> None:
    loose = judged("def norm(x, w): return good(x.half().float(), w)", PROBLEM + "tolerance = {'float32': 1.0}")
    assert loose.verdict == "incorrect"
    tight = judged("", PROBLEM + "tolerance = {'float32': 1e-12}")
    assert tight.verdict == "incorrect"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"baselines": ["fastest"]}, "no baseline 'fastest'"),
        ({"shapes": [[4]]}, "does not fit"),
        ({"shapes": [[0, 4]]}, "does not fit"),
        ({"dtypes": ["int3"]}, "not declared"),
    ],
)
def test_argument_that_does_not_fit_is_refused(asked: dict[str, Any], words: str, judged: Callable[..., Any]) -> None:
    with pytest.raises(trial_module.RefusedError) as caught:
        judged("", **asked)
    assert caught.value.code == "bad_argument"
    assert words in caught.value.message
    assert caught.value.hint
