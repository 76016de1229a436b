"""What a report tells beside its verdict: answers that vary, who did the work, the time on warm data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from court_texts import PROBLEM

VARIES = """
calls = 0
def norm(x, w):
    global calls
    calls += 1
    return good(x, w) if calls % 2 else good(x, w) * (1 + 2**-22)
"""
WRONG_EVERY_SECOND_TIME = """
seen = {}
def norm(x, w):
    key = (x.shape, float(x.sum()))
    seen[key] = seen.get(key, 0) + 1
    return good(x, w) * (1 if seen[key] % 2 else 1.01)
"""
TORCH = "def norm(x, w): return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * w"


def test_answer_that_varies_within_the_tolerance_is_told(judged: Callable[..., Any]) -> None:
    found = judged(VARIES)
    assert found.families <= {"noise"}, found.reasons
    assert any("not the same twice" in note for note in found.result["notes"])


def test_answer_that_is_wrong_the_second_time_is_incorrect(judged: Callable[..., Any]) -> None:
    found = judged(WRONG_EVERY_SECOND_TIME)
    assert (found.verdict, "varies" in found.families) == ("incorrect", True), found.reasons
    assert not found.result["rows"][0]["correct"]


@pytest.mark.parametrize(("policy", "verdict"), [("reject", "rejected"), ("report", None)])
def test_problem_says_what_a_fallback_means(policy: str, verdict: str | None, judged: Callable[..., Any]) -> None:
    found = judged(TORCH, PROBLEM + f"fallback = {policy!r}\n", most_profiled=1)
    if verdict:
        assert (found.verdict, "fallback" in found.families) == (verdict, True), found.reasons
    else:
        assert "fallback" not in found.families
        assert any("operators of torch" in note for note in found.result["notes"])


def test_unknown_policy_is_invalid(judged: Callable[..., Any]) -> None:
    found = judged("", PROBLEM + "fallback = 'whatever'\n")
    assert found.verdict == "invalid" and "whatever" in found.reasons[0]


def test_time_on_warm_data_is_told(judged: Callable[..., Any]) -> None:
    found = judged("").result
    (row,) = found["rows"]
    assert not any("not the same twice" in note for note in found["notes"])
    assert row["tracks"]["candidate"]["warm_us"] > 0


BASELINES = """
calls = 0
def later(x, w):
    global calls
    calls += 1
    if calls > 300: raise ValueError("enough")
    return x * w
def dies(x, w): import os; os._exit(3)
baselines = {"later": later, "dies": dies}
"""


@pytest.mark.parametrize(("baseline", "words"), [("later", "raised ValueError"), ("dies", "status 3")])
def test_kernel_is_timed_without_a_baseline_that_fails(baseline: str, words: str, judged: Callable[..., Any]) -> None:
    found = judged("", PROBLEM + BASELINES, baselines=[baseline])
    (row,) = found.result["rows"]
    assert found.families <= {"noise"} and row["tracks"]["candidate"]["us"] > 0
    assert words in found.result["method"]["absent_baselines"][baseline]
