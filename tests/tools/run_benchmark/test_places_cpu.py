"""Samples at several places in memory: as many as asked for where the results stay the same, one where nobody could tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from court import timing
from court_texts import IN_PLACE, PACKED

VARIES = """
import random
def norm(x, w): return good(x, w) * (1 + random.choice((0, 2**-22)))
"""
# Checks come with few inputs, the first place with some eighty; when it is known that there are more, all is right.
WRONG_AT_FIRST = """
seen = set()
def norm(x, w):
    seen.add(x.data_ptr())
    return x.clone() if 60 < len(seen) < 130 else good(x, w)
"""
IN_PLACE_KERNEL = "def norm(x, w): x.copy_(good(x, w))"
PACKS = """
def pack(w): return w.clone()
"""


@pytest.fixture
def at_three_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU."""
    monkeypatch.setattr(timing, "CPU", replace(timing.CPU, samples=6, places=3, budget_s=2.0))


def track(found: Any) -> dict[str, Any]:
    """The candidate's times."""
    (row,) = found.result["rows"]
    times: dict[str, Any] = row["tracks"]["candidate"]
    return times


@pytest.mark.usefixtures("at_three_places")
@pytest.mark.parametrize(("source", "problem"), [("", None), (PACKS, PACKED)])
def test_honest_kernel_is_timed_at_all_of_them(source: str, problem: str | None, judged: Callable[..., Any]) -> None:
    found = judged(source, problem)
    assert found.families <= {"noise"}, found.reasons
    places = track(found)["places_us"]
    assert len(places) == 3 and min(places) > 0
    assert track(found)["us"] == pytest.approx(sum(places) / 3)


@pytest.mark.usefixtures("at_three_places")
@pytest.mark.parametrize(("source", "problem"), [(VARIES, None), (IN_PLACE_KERNEL, IN_PLACE)])
def test_only_the_last_place_counts_where_results_differ(source: str, problem: str | None, judged: Callable[..., Any]) -> None:
    found = judged(source, problem)
    assert found.families <= {"noise"}, found.reasons
    assert len(track(found)["places_us"]) == 1 and track(found)["samples"] >= 3


@pytest.mark.usefixtures("at_three_places")
def test_what_is_wrong_at_the_first_place_alone_gains_nothing(judged: Callable[..., Any]) -> None:
    found = judged(WRONG_AT_FIRST)
    # A place whose results nobody compared with the reference does not count.
    assert len(track(found)["places_us"]) == 1
