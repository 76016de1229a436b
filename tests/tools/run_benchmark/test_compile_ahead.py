"""Helpers compile ahead for torch.compile: the compiler still asks for every row, and nothing depends on them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import court  # noqa: F401
import pytest
from kernelwright_judge import judge
from kernelwright_judge.children import ChildFailedError
from kernelwright_judge.trial import Config, Row

from kernelwright.tools.run_benchmark import request as requests
from kernelwright.tools.run_benchmark.contract import BenchmarkArgs

SHAPES = [[n, 64] for n in range(1, 9)]


class Told:
    """Stands in for a child: notes the shapes that it was asked to compile; one that is broken is gone at the second."""

    def __init__(self, broken: bool = False) -> None:
        self.broken, self.closed = broken, False
        self.shapes: list[list[int]] = []

    def ask(self, do: str, timeout_s: float, **what: Any) -> dict[str, Any]:
        if do == "warm":
            self.shapes.append(what["shape"])
            if self.broken and len(self.shapes) == 2:
                raise ChildFailedError("compile", "exited", "ended its process with status 1")
        return {}

    def close(self) -> None:
        self.closed = True


def trial_with(compiler: Told, helpers: list[Told]) -> Any:
    """As much of a trial as compiling needs."""
    request = {"baselines": ["compile"], "compile_s": 10.0, "problem": "problem.py"}
    rows = [Row(Config(tuple(shape), "float32")) for shape in SHAPES]
    return SimpleNamespace(
        request=request,
        rows=rows,
        device="cpu",
        problem={"mutates": []},
        absent={},
        baselines=None,
        compiler=compiler,
        helpers=helpers,
    )


@pytest.mark.parametrize("broken", [False, True])
def test_helpers_share_what_the_compiler_comes_to_last(broken: bool) -> None:
    compiler, helpers = Told(), [Told(broken), Told()]
    trial = trial_with(compiler, helpers)
    judge._wait_for_baselines(trial, judge._load_baselines(trial))
    assert compiler.shapes == SHAPES and not compiler.closed and trial.absent == {}
    assert all(helper.closed for helper in helpers)
    assert helpers[0].shapes == SHAPES[2:4] if broken else helpers[0].shapes + helpers[1].shapes == SHAPES[2:]


@pytest.mark.parametrize(
    ("device", "processors", "shapes", "helped"),
    [("cuda", 16, 8, True), ("cuda", 4, 8, False), ("cuda", 16, 2, False), ("cpu", 16, 8, False)],
)
def test_helpers_only_where_there_is_enough_to_do(
    device: str, processors: int, shapes: int, helped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests.os, "sched_getaffinity", lambda pid: set(range(processors)))
    subject = requests.Subject("p", Path("p"), Path("problem.py"), device)  # type: ignore[arg-type]
    args = BenchmarkArgs(project="p", shapes=SHAPES[:shapes], dtypes=["float32"])
    assert bool(requests._helpers(args, subject)) == helped
    assert bool(requests._helpers(args.model_copy(update={"shapes": None}), subject)) == (helped or shapes == 2)
