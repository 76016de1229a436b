"""The variants of one call meet at the compilers, are told of their own outcome at once, and wait for nobody who has left."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest

from kernelwright.tools.compile_kernel.together import Seat, Together
from kernelwright.tools.compile_kernel.work import Outcome, Work
from kernelwright.tools.tool import ToolError

Done = Callable[[Work, Outcome], None]
WAIT_S = 60


def work(name: str) -> Work:
    """A stand-in: what is met about is told apart, not looked into."""
    return cast(Work, [name])


def outcome(word: str) -> Outcome:
    return Outcome((), None, word, "")


def test_all_are_compiled_in_one_run_and_the_first_does_not_wait_for_the_last() -> None:
    first, second = work("first"), work("second")
    seen: list[list[Work]] = []
    first_has_it = threading.Event()

    def run(works: Sequence[Work], done: Done) -> None:
        seen.append(list(works))
        done(first, outcome("one"))
        assert first_has_it.wait(WAIT_S)
        done(second, outcome("two"))

    together = Together(3, run)

    def compile_first() -> str:
        with Seat(together) as seat:
            said = seat.compile(first).link_log
            first_has_it.set()
            return said

    def nothing_to_do() -> None:
        with Seat(together):
            return

    with ThreadPoolExecutor(3) as pool:
        one, two = pool.submit(compile_first), pool.submit(lambda: Seat(together).compile(second).link_log)
        pool.submit(nothing_to_do).result(WAIT_S)
        assert (one.result(WAIT_S), two.result(WAIT_S)) == ("one", "two")
    (met,) = seen
    assert sorted(map(str, met)) == ["['first']", "['second']"]


def test_what_cannot_be_run_is_said_to_all_that_have_no_outcome_yet() -> None:
    first, second = work("first"), work("second")

    def run(works: Sequence[Work], done: Done) -> None:
        done(first, outcome("one"))
        raise ToolError("sandbox_unavailable", "no compilers", "")

    together = Together(2, run)
    with ThreadPoolExecutor(2) as pool:
        one, two = (pool.submit(Seat(together).compile, each) for each in (first, second))
        assert one.result(WAIT_S).link_log == "one"
        with pytest.raises(ToolError, match="no compilers"):
            two.result(WAIT_S)


def test_nothing_is_run_where_nobody_has_anything_to_compile() -> None:
    runs: list[object] = []
    together = Together(2, lambda works, done: runs.append(works))
    with Seat(together) as seat:
        seat.leave()
    with Seat(together):
        pass
    assert runs == []
