"""The wall time of single calls: tracks take turns, and a slow moment of the host decides nothing."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import Any

import pytest
from kernelwright_judge import clock

ASKING_S = 5e-6


class Host:
    """Says how long `count` calls of a child took; a child is its seconds a call. `slow(n)`: how much longer the n-th ask."""

    def __init__(self, slow: Callable[[int], float]) -> None:
        self.slow, self.asked = slow, list[str]()

    def timed(self, child: Any, command: str, name: str, count: int) -> tuple[float, dict[str, Any]]:
        assert command == "eager"
        self.asked.append(name)
        return (ASKING_S + count * child) * self.slow(len(self.asked)), {}


def walls(monkeypatch: pytest.MonkeyPatch, host: Host, **children: float) -> dict[str, float | None]:
    monkeypatch.setattr(clock, "timed", host.timed)
    return clock.eager_walls(children)  # type: ignore[arg-type]


def test_each_call_is_counted_without_what_asking_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    found = walls(monkeypatch, Host(lambda _: 1.0), candidate=16e-6, eager=90e-6, slow=7e-3)
    assert found == {"candidate": pytest.approx(16e-6), "eager": pytest.approx(90e-6), "slow": pytest.approx(7e-3)}


def test_a_slow_moment_falls_on_all_and_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(lambda asked: 3.0 if 20 < asked < 30 else 1.0)
    assert walls(monkeypatch, host, one=16e-6, other=19e-6) == {"one": pytest.approx(16e-6), "other": pytest.approx(19e-6)}
    turns = [name for name, _ in groupby(host.asked)]
    assert turns == ["one", "other"] * (1 + clock.SINGLE_TURNS)


def test_noise_that_hides_a_call_gives_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    # Every long ask is told in no time at all.
    host = Host(lambda asked: 1.0 if asked <= 3 or asked % 2 == 0 else 0.0)
    assert walls(monkeypatch, host, one=16e-6) == {"one": None}
