"""The judge's clock. A child is told to do a number of rounds and says when it is done; the time is taken on this side.

One round calls every set of arguments once. The slope between few and many rounds is free of what asking costs, and out of
the child's reach.
"""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .children import Child
from .intervals import mean_of_medians
from .wire import Message

ASK_S = 120.0
# Of the samples on the CPU those are left out that took this much longer beside their processor time than the best one.
DISTURBED, FEWEST = 1.25, 3
# Of those on a GPU those that lie so far from the median of all, as long as they are no more than this share: on a host with
# other work the judge itself is kept waiting now and then, for a few samples on end.
OUTLYING, MOST_OUTLYING = 0.1, 0.25
# Single calls that are waited for: seconds of each turn, turns of each track, and calls of a turn at most.
SINGLE_S, SINGLE_TURNS, MOST_SINGLE = 0.004, 7, 200


@dataclass
class Pace:
    """How many rounds a sample takes: `few` and `many`, each round calling `sets` sets. `events`: a device keeps time too."""

    few: int
    many: int
    sets: int
    events: bool = False


@dataclass
class Samples:
    """Seconds of one call, sample by sample: by the judge's clock, by the device's events (empty without a GPU), and of
    processor time (empty with one). `stretch` is how much longer a sample took than its processor time, `moved` the numbers
    of the samples before which the data was moved elsewhere in memory."""

    judge: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    stretch: list[float] = field(default_factory=list)
    events: list[float] = field(default_factory=list)
    moved: list[int] = field(default_factory=list)
    miscounted: int = 0

    def move(self) -> None:
        """The samples to come are taken elsewhere."""
        self.moved.append(len(self.judge))

    def places(self) -> list[list[float]]:
        """The judge's samples by place, but those during which other programs kept this one from the processors."""
        bounds = [0, *self.moved, len(self.judge)]
        parts = [slice(start, end) for start, end in itertools.pairwise(bounds) if end > start]
        if not self.events:
            return [_undisturbed(self.judge[part], self.stretch[part]) for part in parts]
        middle = statistics.median(self.judge)
        kept = [[s for s in self.judge[part] if abs(s - middle) <= OUTLYING * middle] for part in parts]
        few_left_out = len(self.judge) - sum(map(len, kept)) <= MOST_OUTLYING * len(self.judge)
        return [place for place in kept if place] if few_left_out else [self.judge[part] for part in parts]

    def summary(self) -> tuple[float, float, float]:
        """Seconds and their 95 % interval: the median, or the mean of each place's."""
        return mean_of_medians(self.places())

    def scatter(self) -> float:
        """Half the interval's width relative to the median."""
        middle, low, high = self.summary()
        return (high - low) / 2 / middle if middle > 0 else math.inf


def _undisturbed(judge: list[float], stretch: list[float]) -> list[float]:
    if len(stretch) != len(judge):
        return judge
    ranked = sorted(zip(stretch, judge, strict=True))
    kept = [seconds for stretch, seconds in ranked if stretch <= DISTURBED * ranked[0][0]]
    return kept if len(kept) >= FEWEST else [seconds for _, seconds in ranked[:FEWEST]]


def timed(child: Child, do: str, **what: Any) -> tuple[float, Message]:
    """Seconds until the child has done it, and its answer."""
    started = time.perf_counter()
    child.send(do, **what)
    reply = child.answer(ASK_S, awake=child.watched)
    return time.perf_counter() - started, reply


def find_pace(child: Child, name: str, sets: int, target_s: float) -> Pace:
    """Rounds whose difference takes about `target_s`."""
    idle = min(timed(child, "rounds", name=name, count=0)[0] for _ in range(3))
    count = 1
    while True:
        took, reply = timed(child, "rounds", name=name, count=count)
        spent = took - idle
        if spent > target_s / 4 or count >= 1 << 16:
            break
        count *= 4
    per_round = max(spent / count, 1e-7)
    difference = max(1, round(target_s / per_round))
    return Pace(max(1, difference // 4), max(1, difference // 4) + difference, sets, "event_ms" in reply)


def sample(child: Child, name: str, pace: Pace, into: Samples) -> None:
    """One slope."""
    # A GPU that served another process takes about a millisecond to come back, which must not fall on the few rounds alone.
    child.ask("rounds", ASK_S, name=name, count=0)
    used = [0.0 if pace.events else child.cpu_seconds()]
    few_s, few = timed(child, "rounds", name=name, count=pace.few)
    used.append(0.0 if pace.events else child.cpu_seconds())
    many_s, many = timed(child, "rounds", name=name, count=pace.many)
    used.append(0.0 if pace.events else child.cpu_seconds())
    calls = (pace.many - pace.few) * pace.sets
    into.judge.append((many_s - few_s) / calls)
    if pace.events:
        into.events.append((many["event_ms"] - few["event_ms"]) / 1e3 / calls)
    else:
        into.processor.append((used[2] - used[1]) / pace.many / pace.sets)
        into.stretch.append(max(few_s / max(used[1] - used[0], 1e-9), many_s / max(used[2] - used[1], 1e-9)))
    into.miscounted += (few["rounds"] != pace.few) + (many["rounds"] != pace.many)


def eager_walls(children: Mapping[str, Child]) -> dict[str, float | None]:
    """By track, median seconds of one call that is made and waited for by itself; None where noise hides it.

    The tracks take turns: single calls are mostly work of the host, whose pace changes from one moment to the next, and it
    is to change for all alike.
    """
    counts, slopes = {}, dict[str, list[float]]()
    for name, child in children.items():
        once = min(timed(child, "eager", name=name, count=1)[0] for _ in range(3))
        counts[name], slopes[name] = max(1, min(MOST_SINGLE, round(SINGLE_S / max(once, 1e-6)))), []
    for _ in range(SINGLE_TURNS):
        for name, child in children.items():
            short, _reply = timed(child, "eager", name=name, count=1)
            long, _reply = timed(child, "eager", name=name, count=1 + counts[name])
            slopes[name].append((long - short) / counts[name])
    middles = {name: statistics.median(found) for name, found in slopes.items()}
    return {name: middle if middle > 0 else None for name, middle in middles.items()}
