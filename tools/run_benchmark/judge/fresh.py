"""A few passes over data that nobody has seen: they must be right, and take as long as the passes that were timed.

Every set is refilled at the same addresses with new data and differs from the others in a few unforeseeable places, and the
clock runs until sums over the bits of the new results are here. Results kept from earlier, calls left out and work put off
are then either wrong or late. Some passes change the data that was there in those few places only, so that a look at a part
of it shows nothing new; a result that stayed the same is then compared with the reference before any other. On a GPU, where
a graph's results lie in fixed places, these are overwritten first; on the CPU the old results stay, so that the allocator
does what it did while time was taken.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .checks import explain
from .children import ChildFailedError, ChildRaisedError
from .clock import Pace, Samples, sample, timed
from .compare import measure, tolerance
from .machine import digests
from .trial import CALL_S, Row, Trial

PASSES, MOST_PASSES, MOST_SUMMED, MOST_FETCHED, MOST_WATCHED = 3, 11, 8, 2, 64
# Above this size of the inputs only one set of one pass, drawn, is compared: making the answers takes longest.
LARGE_BYTES = 64 << 20
PLACE_S = 120.0
# How much longer than the timed passes a pass over new data may take before it says something.
LONGER = {"cpu": 1.3, "cuda": 1.2}
TOLD = {"cpu": 1.2, "cuda": 1.1}
SLACK_S = {"cpu": 1e-3, "cuda": 4e-4}
# Calls that are no graph come with what looking at a round costs.
UNCAPTURED_S = 1e-3
# The same by the time that processors or the GPU worked, which other work on the host changes less: from here on it is
# looked at again, and from here on it is held against the kernel. What an honest one takes more on the CPU was up to 1.87 on
# two cores whose clock had fallen to a third; calls that are left out show otherwise, see `Witness`.
DOUBTED, EVENT_SLACK_S = 1.12, 2e-5
MORE_WORK = {"cpu": 2.5, "cuda": 1.22}


def check_fresh(trial: Trial, row: Row, pace: Pace, samples: Samples) -> None:
    """Time and check a few passes over new data against the samples taken before; findings go to the trial.

    What looks too long is looked at again, new data and repeated data in turn: a burst of other work on the host may fall on
    one of them once, but not every time.
    """
    unseen, timing = Unseen(trial, row, pace.sets), Comparison(trial, row, pace, samples)
    # The second pass keeps most of the data, the third one or not.
    kept = [False, True, bool(trial.random.randrange(2))]
    try:
        _ask_witness(trial, row, 2 * len(samples.judge))
        for count, keep in zip(_compared(trial, row), kept, strict=True):
            timing.add(unseen.one(count, keep))
        caught = trial.findings.count("incorrect", "rejected")
        while not caught and timing.doubtful() and len(timing.passes) < MOST_PASSES:
            timing.add(unseen.one(0))
        _ask_witness(trial, row, 1)
    except ChildRaisedError as error:
        if error.role == "candidate":
            row.correct = False
            trial.findings.add("incorrect", "raised", f"On new data at {row.config} the kernel raised {error}.")
        return
    row.times["fresh_us"] = timing.best_s() * 1e6
    timing.judge()


def _compared(trial: Trial, row: Row) -> list[int]:
    """How many results of each pass are compared with the reference."""
    if row.times["bytes"] <= LARGE_BYTES:
        return [MOST_FETCHED] * PASSES
    drawn = trial.random.randrange(PASSES)
    return [int(number == drawn) for number in range(PASSES)]


@dataclass(frozen=True)
class Pass:
    """Seconds that all calls of one pass over new data took: on the judge's clock, and by the processors or the GPU."""

    wall_s: float
    worked_s: float


class Comparison:
    """Passes over new data against samples on repeated data."""

    def __init__(self, trial: Trial, row: Row, pace: Pace, samples: Samples) -> None:
        self.trial, self.row, self.pace, self.samples = trial, row, pace, samples
        self.passes: list[Pass] = []
        self.again = Samples()
        self.captured = trial.device == "cuda" and "candidate" not in row.times.get("not_captured", {})
        self.slack_s = SLACK_S["cpu"] if trial.device == "cpu" else SLACK_S["cuda"] if self.captured else UNCAPTURED_S

    def add(self, one: Pass) -> None:
        """A pass; on the CPU, and where it looks too long, repeated data is timed beside it."""
        self.passes.append(one)
        if self.trial.device == "cpu" or len(self.passes) > PASSES:
            sample(self.trial.candidate, "candidate", self.pace, self.again)

    def best_s(self) -> float:
        """Seconds of a call in the quickest pass."""
        return min(one.wall_s for one in self.passes) / self.pace.sets

    def work(self) -> float:
        """How many times the work on repeated data that on new data is, by the middle of all pairs; 0 where nobody knows."""
        # A pass has costs of its own, which weigh where its calls are short.
        slack_s = self.slack_s if self.trial.device == "cpu" else EVENT_SLACK_S
        worked = [(one.worked_s - slack_s) / self.pace.sets for one in self.passes]
        if self.trial.device == "cpu":
            ratios = [new / max(old, 1e-12) for new, old in zip(worked, self.again.processor, strict=True)]
            return statistics.median(ratios)
        if not self.captured:
            return 0.0
        old = statistics.median(self.samples.events + self.again.events)
        return statistics.median(worked) / max(old, 1e-12)

    def too_long(self) -> bool:
        """Whether the quickest pass took longer than repeated data does."""
        repeated = max(self.samples.summary()[2], statistics.median(self.again.judge or [0.0]))
        return self.best_s() > LONGER[self.trial.device] * repeated + self.slack_s / self.pace.sets

    def doubtful(self) -> bool:
        """Whether more passes are needed to tell."""
        return self.too_long() or self.work() > DOUBTED

    def judge(self) -> None:
        """Findings and notes."""
        findings, device = self.trial.findings, self.trial.device
        us, repeated_us = self.best_s() * 1e6, self.samples.summary()[0] * 1e6
        text = f"At {self.row.config} a call on data it had not seen takes {us:.1f} us, on repeated data {repeated_us:.1f} us"
        if self.work() > MORE_WORK[device]:
            findings.add(
                "rejected",
                "cached or skipped",
                f"At {self.row.config} a call on data it had not seen is {self.work():.2f} times the work of one on repeated "
                "data: results are kept, or calls are skipped.",
                # Another process on a GPU makes its events later; processor time is this one's own.
                timed=device == "cuda",
            )
        elif self.too_long() and device == "cpu":
            # A pass may take long for others' sake; what the processors did for this one tells.
            findings.add("inconclusive", "noise", f"{text}, at the same processor time: the host is too busy, run again alone.")
        elif self.too_long():
            findings.add("rejected", "cached or skipped", f"{text}: results are kept, or calls are skipped.", timed=True)
        elif us > TOLD[device] * self.samples.summary()[2] * 1e6 + self.slack_s / self.pace.sets * 1e6:
            # Too little for a verdict, and yet what a reader who compares two kernels would want to know.
            findings.note(f"{text}.")


class Unseen:
    """Passes over new data of one row, one after the other."""

    def __init__(self, trial: Trial, row: Row, sets: int) -> None:
        self.trial, self.row, self.sets = trial, row, sets
        self.args: list[Any] = []
        self.seeds: list[int] = []

    def one(self, compared: int, keep: bool = False) -> Pass:
        """One pass, `compared` of its results compared with the reference; `keep` changes the data in a few places only."""
        trial, candidate = self.trial, self.trial.candidate
        offset = trial.random.randrange(1 << 20)
        # Where the data was or will be shifted as a whole, a look at any part of it shows that it is new.
        watched = _some(trial, [i for i, seed in enumerate(self.seeds) if not seed % 2], MOST_WATCHED) if keep else []
        before = self._digest(offset, watched)
        self._refill(keep)
        if trial.device == "cuda":
            candidate.ask("blank", CALL_S, name="candidate")
        summed = _some(trial, range(self.sets), self.sets if trial.device == "cpu" else MOST_SUMMED)
        found, sums = self._timed(offset, summed)
        sums |= self._digest(offset, [index for index in watched if index not in sums])
        same = [index for index in watched if sums[index] == before[index]]
        picked = _some(trial, same, MOST_FETCHED) or _some(trial, summed, compared)
        fetched = candidate.ask("fetch", CALL_S, name="candidate", sets=picked)["outputs"]
        for index, result in zip(picked, fetched, strict=True):
            _check_result(trial, self.row, self.seeds[index], result, sums[index], offset)
        return found

    def _refill(self, keep: bool) -> None:
        trial, candidate = self.trial, self.trial.candidate
        self.seeds = [trial.new_seed() for _ in range(self.sets)]
        if keep:
            self.seeds = [seed - seed % 2 for seed in self.seeds]
        else:
            self.args = trial.make(self.row.config, trial.new_seed(), answers=False)["args"]
        placed = candidate.ask("place", PLACE_S, args=self.args, count=self.sets, exchanged=self.seeds)
        if placed["recapture"]:
            candidate.ask("capture", PLACE_S, name="candidate")

    def _timed(self, offset: int, summed: list[int]) -> tuple[Pass, dict[int, list[int]]]:
        """The time of one round, and its results' digests, which must be here before the clock stops."""
        candidate = self.trial.candidate
        empty = min(timed(candidate, "rounds", name="candidate", count=0)[0] for _ in range(3))
        used = [candidate.cpu_seconds()]
        # Asked as the timed ones were, so that nothing in the candidate's process tells one from the other.
        total, done = timed(candidate, "rounds", name="candidate", count=1)
        summing, reply = timed(candidate, "digest", name="candidate", digest=offset, sets=summed)
        used.append(candidate.cpu_seconds())
        again = [timed(candidate, "digest", name="candidate", digest=offset, sets=summed)[0] for _ in range(3)]
        used.append(candidate.cpu_seconds())
        wall = total + summing - empty - statistics.median(again)
        worked = done["event_ms"] / 1e3 if "event_ms" in done else used[1] - used[0] - (used[2] - used[1]) / len(again)
        sums = dict(zip(summed, reply["digests"], strict=True))
        return Pass(max(wall, 0.0), max(worked, 0.0)), sums

    def _digest(self, offset: int, sets: list[int]) -> dict[int, list[int]]:
        if not sets:
            return {}
        reply = self.trial.candidate.ask("digest", CALL_S, name="candidate", digest=offset, sets=sets)
        return dict(zip(sets, reply["digests"], strict=True))


def _ask_witness(trial: Trial, row: Row, rounds: int) -> None:
    """What was left unwritten in the rounds so far, of which at least `rounds` must have been looked at."""
    told = trial.candidate.ask("witnessed", CALL_S, name="candidate")
    if told["left"] > 0 or told["looks"] < rounds:
        trial.findings.add(
            "rejected",
            "skipped calls",
            f"At {row.config}, of {told['looks']} timed rounds that were looked at, some left results as they were before: "
            "calls are skipped, or return what they returned earlier.",
        )


def _some(trial: Trial, among: Sequence[int], most: int) -> list[int]:
    return sorted(trial.random.sample(among, min(most, len(among))))


def _check_result(trial: Trial, row: Row, seed: int, found: list[Any], sums: list[int], offset: int) -> None:
    got = [trial.results.get(one) for one in found]
    expected = trial.reference.ask("answer", 90.0, exchanged=seed)["expected"]
    answers = [(trial.expected.get(one["exact"]), trial.expected.get(one["native"])) for one in expected]
    # Before anything is read: a forged size would have the judge read without end.
    if [(t.shape, t.dtype) for t in got] != [(native.shape, native.dtype) for _, native in answers]:
        raise ChildFailedError("candidate", "protocol", "sent results of another form than before")
    if digests([got], offset) != [sums]:
        trial.findings.add(
            "rejected", "late work", f"At {row.config} a timed result changed after the call was said to be done."
        )
    where = trial.device
    for answer, pair in zip(got, answers, strict=True):
        exact, native = (t.to(where) for t in pair)
        dtype = native.dtype
        declared = trial.problem["tolerance"].get(row.config.dtype)
        allowed = tolerance(measure(native, exact, dtype), dtype, declared)
        errors = measure(answer.to(where), exact, dtype)
        if not allowed.admits(errors):
            row.correct = False
            trial.findings.add(
                "incorrect",
                "wrong when timed",
                f"Wrong at {row.config} on new data at the same addresses while being timed: {explain(errors, allowed)}.",
            )
