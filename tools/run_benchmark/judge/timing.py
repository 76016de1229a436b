"""The timing phase: candidate and baselines in turn on the judge's clock, and what shows that the time is honest."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .checks import FORGED, candidate_failed
from .children import Child, ChildFailedError, ChildRaisedError
from .clock import Pace, Samples, eager_wall, find_pace, sample
from .fresh import check_fresh
from .shares import check_shares
from .trial import CALL_S, BrokenProblemError, Row, Trial, emit

PLACE_S = 120.0
FEWEST_SAMPLES = 3
# Calls on the same data in one graph; enough to hide what launching a graph costs.
MOST_WARM = 256


@dataclass(frozen=True)
class Effort:
    """How long things take: seconds between few and many rounds, samples and seconds for them in all (at least three are
    taken), seconds that one pass over all sets should last, most sets, most bytes of sets in one process."""

    target_s: float
    samples: int
    budget_s: float
    pass_s: float
    most_sets: int
    most_bytes: int


CPU = Effort(target_s=0.03, samples=7, budget_s=1.5, pass_s=0.004, most_sets=128, most_bytes=512 << 20)
CUDA = Effort(target_s=0.006, samples=11, budget_s=2.0, pass_s=0.002, most_sets=800, most_bytes=9 << 30)
# A baseline whose interval is so narrow after a few samples gets no more: an eager one takes ten times as long as a kernel.
TIGHT, TIGHT_SAMPLES = 0.005, 5
# Without knowing the machine yet: bytes per second that a first guess of a call's time starts from.
GUESSED_BANDWIDTH = {"cpu": 1e10, "cuda": 4e12}
# Beyond these the candidate's own events contradict the judge's clock, or noise hides the answer.
EVENTS_APART, EVENTS_APART_S = 0.05, 3e-7
# A candidate that waits uses no processor; threads that spin for a moment after a call do.
BUSY, BUSY_S = 0.1, 0.06
SCATTER = {"cpu": 0.5, "cuda": 0.10}
# No memory system moves more than this multiple of its copy bandwidth, which reads and writes by turns.
CEILING = {"cpu": 6.0, "cuda": 1.2}


def time_all(trial: Trial) -> None:
    """Time every config that is right so far."""
    rows = [row for row in trial.rows if row.correct]
    trial.profiled = trial.random.sample(rows, min(trial.request["most_profiled"], len(rows)))
    for number, row in enumerate(rows):
        emit("progress", stage="timing", message=str(row.config), fraction=0.5 + 0.45 * number / max(1, len(rows)))
        try:
            # A row from which a baseline was lost is timed again without it.
            while not _time(trial, row):
                pass
        except ChildFailedError as error:
            if error.role == "reference":
                raise BrokenProblemError(f"problem.py at {row.config}: its process {error.detail}", "") from None
            candidate_failed(trial, row.config, error)
            return
        except FORGED as error:
            row.correct = False
            reason = f"At {row.config} the candidate's process sent the judge a forged answer: {type(error).__name__} {error}."
            trial.findings.add("rejected", "protocol", reason)
            return


def _time(trial: Trial, row: Row) -> bool:
    """Time one config; False where baselines were lost on the way and others or the candidate are left."""
    timing, absent = Timing(trial, row), len(trial.absent)
    try:
        timing.run()
    except ChildFailedError as error:
        if error.role in {"candidate", "reference"}:
            raise
        _lose_baselines(trial, error)
    except ChildRaisedError as error:
        if error.role == "reference":
            raise BrokenProblemError(f"problem.py fails at {row.config}: {error}", error.trace) from None
        timing.raised(error.role, error)
    else:
        return True
    return len(trial.absent) == absent


def _lose_baselines(trial: Trial, error: ChildFailedError) -> None:
    lost = ["compile"] if error.role == "compile" else [name for name in trial.request["baselines"] if name != "compile"]
    for name in lost:
        trial.absent[name] = f"its process {error.detail}"


class Timing:
    """Timing of one config."""

    def __init__(self, trial: Trial, row: Row) -> None:
        self.trial, self.row = trial, row
        self.effort = CUDA if trial.device == "cuda" else CPU
        self.tracks: dict[str, tuple[Child, Samples, Pace]] = {}
        # Seconds in which others were timed, and those of processor time that the candidate used in them.
        self.idle_s, self.used_s = 0.0, 0.0

    def run(self) -> None:
        """Place the inputs everywhere, make every track ready, sample them in turn, then look for what does not fit."""
        trial, row = self.trial, self.row
        made = trial.make(row.config, trial.new_seed(), answers=False)
        self.cost = made.get("cost")
        self.size = sum(map(_packed_bytes, made["args"]))
        row.times["bytes"] = self.cost[0] if self.cost else self.size
        row.times["operations"] = self.cost[1] if self.cost else 0.0
        sets = self.count_sets()
        row.times["sets"] = sets
        for child, names in self.place(made["args"], sets):
            self.ready(child, names, sets)
        if "candidate" not in self.tracks:
            return
        self.take_samples()
        self.report()
        _child, samples, pace = self.tracks["candidate"]
        check_fresh(trial, row, pace, samples)
        if row in trial.profiled:
            check_shares(trial, row, samples.summary()[0])
        self.take_warm(samples.summary()[0])
        for child, _names in self.subjects():
            child.ask("drop", CALL_S)

    def take_samples(self) -> None:
        """Sample all tracks in turn, in an order that changes, until there are enough or time is up."""
        until = time.monotonic() + self.effort.budget_s
        own = self.tracks["candidate"][1]
        self.trial.candidate.all_seconds(fresh=True)
        for taken in range(2 * self.effort.samples):
            late = taken >= FEWEST_SAMPLES and time.monotonic() > until
            enough = taken >= self.effort.samples and own.scatter() <= SCATTER[self.trial.device] / 2
            if late or enough:
                break
            names = [name for name in self.tracks if not self.settled(name)]
            self.trial.random.shuffle(names)
            for name in names:
                child, samples, pace = self.tracks[name]
                started, used = time.monotonic(), self.trial.candidate.all_seconds()
                sample(child, name, pace, samples)
                if child is not self.trial.candidate:
                    self.idle_s += time.monotonic() - started
                    self.used_s += self.trial.candidate.all_seconds() - used
        if self.used_s > BUSY * self.idle_s + BUSY_S:
            self.trial.findings.add(
                "rejected",
                "busy meanwhile",
                f"While others were timed at {self.row.config}, for {self.idle_s:.2f} s, the candidate's process used the "
                f"processor for {self.used_s:.2f} s: it slows down what it is compared with.",
            )

    def settled(self, name: str) -> bool:
        """Whether more samples of a baseline would change nothing."""
        samples = self.tracks[name][1]
        return name != "candidate" and len(samples.judge) >= TIGHT_SAMPLES and samples.scatter() <= TIGHT

    def take_warm(self, cold_s: float) -> None:
        """The time of one call again and again on the same data; for the reader, no verdict follows from it."""
        child = self.trial.candidate
        count = max(1, min(MOST_WARM, round(self.effort.pass_s / max(cold_s, 1e-7))))
        samples = Samples()
        try:
            child.ask("repeat", CALL_S, count=count)
            child.ask("capture", PLACE_S, name="again")
            pace = find_pace(child, "again", count, self.effort.target_s / 2)
            for _ in range(FEWEST_SAMPLES):
                sample(child, "again", pace, samples)
        except ChildRaisedError as error:
            self.trial.findings.note(f"At {self.row.config} it raised {error.kind} when called again on the same data.")
            return
        self.row.times["tracks"]["candidate"]["warm_us"] = samples.summary()[0] * 1e6

    def subjects(self) -> list[tuple[Child, list[str]]]:
        """The children to be timed with their tracks; those known to be absent are left out."""
        trial = self.trial
        named = [n for n in trial.request["baselines"] if n not in trial.absent and n != "compile"]
        found: list[tuple[Child, list[str]]] = []
        if named and trial.baselines is not None and trial.baselines.alive:
            found.append((trial.baselines, named))
        if trial.compiler is not None and "compile" not in trial.absent and trial.compiler.alive:
            found.append((trial.compiler, ["compile"]))
        return [*found, (trial.candidate, ["candidate"])]

    def count_sets(self) -> int:
        """Enough sets to pass the last-level cache three times and to make one pass last; no more than memory holds."""
        effort, request = self.effort, self.trial.request
        moved: float = max(1.0, self.row.times["bytes"], float(self.size))
        # The last level of a processor's cache is shared with all else that runs there: nothing keeps it cold or warm.
        cold = math.ceil(3 * request["cache_bytes"] / moved) if self.trial.device == "cuda" else 1
        lasting = math.ceil(effort.pass_s * GUESSED_BANDWIDTH[self.trial.device] / moved)
        budget = min(effort.most_bytes, request["set_bytes"])
        return max(1, min(max(cold, lasting), effort.most_sets, int(budget / (2 * moved))))

    def place(self, args: list[Any], sets: int) -> list[tuple[Child, list[str]]]:
        """Place the inputs in all children at once; those that could, with their tracks. Raises for the candidate alone."""
        asked, placed = [], []
        for child, names in self.subjects():
            with self.losing(child, names):
                child.send("place", args=args, count=sets, exchanged=[self.trial.new_seed() for _ in range(sets)])
                asked.append((child, names))
        for child, names in asked:
            with self.losing(child, names):
                child.answer(PLACE_S)
                placed.append((child, names))
        return placed

    @contextlib.contextmanager
    def losing(self, child: Child, names: list[str]) -> Iterator[None]:
        """What raises within becomes a finding or an absence; only a candidate that is gone goes on to the caller."""
        try:
            yield
        except ChildRaisedError as error:
            for name in names:
                self.raised(name, error)
        except ChildFailedError as error:
            if child is self.trial.candidate:
                raise
            _lose_baselines(self.trial, error)

    def raised(self, name: str, error: ChildRaisedError) -> None:
        """What it means that a track raised: the candidate is wrong, a baseline is absent."""
        first = error.text.partition("\n")[0][:160]
        raised = f"raised {error.kind} at {self.row.config}: {first}"
        if name == "candidate":
            self.row.correct = False
            self.trial.findings.add("incorrect", "raised", f"When timed the kernel {raised}.")
        elif name == "baselines":
            # One of several that share a process raised between two calls, and nobody knows which.
            self.trial.absent |= {n: f"a baseline {raised}" for n in self.tracks if n not in {"candidate", "compile"}}
        else:
            self.trial.absent[name] = f"it {raised}"

    def ready(self, child: Child, names: list[str], sets: int) -> None:
        """Make each track ready."""
        for name in names:
            try:
                why_not = child.ask("capture", PLACE_S, name=name)["why_not"]
                pace = find_pace(child, name, sets, self.effort.target_s)
            except ChildRaisedError as error:
                self.raised(name, error)
                continue
            if why_not:
                self.row.times.setdefault("not_captured", {})[name] = why_not
            self.tracks[name] = (child, Samples(), pace)

    def report(self) -> None:
        """Write the times into the row and judge the candidate's."""
        trial, times = self.trial, self.row.times
        times["tracks"] = {}
        for name, (child, samples, pace) in self.tracks.items():
            middle, low, high = samples.summary()
            wall = eager_wall(child, name) if name == "candidate" or trial.device == "cuda" else None
            times["tracks"][name] = {
                "us": middle * 1e6,
                "ci95_us": [low * 1e6, high * 1e6],
                "event_us": _median(samples.events) * 1e6 if samples.events else None,
                "wall_us": wall * 1e6 if wall else None,
                "rounds": [pace.few, pace.many],
                "samples": len(samples.judge),
                "disturbed_samples": len(samples.judge) - len(samples.undisturbed()),
            }
        self.judge_candidate()

    def judge_candidate(self) -> None:
        """The clock against the events, the count of rounds, the roofline and the scatter."""
        trial, config = self.trial, self.row.config
        _child, samples, _pace = self.tracks["candidate"]
        seconds = samples.summary()[0]
        scattered = samples.scatter() > SCATTER[trial.device]
        if samples.miscounted:
            trial.findings.add("rejected", "skipped calls", f"At {config} the graph counted other replays than were asked for.")
        if samples.events and not scattered:
            apart = abs(_median(samples.events) - seconds)
            if apart > max(EVENTS_APART * seconds, EVENTS_APART_S):
                trial.findings.add(
                    "rejected",
                    "clock",
                    f"At {config} the device's events say {_median(samples.events) * 1e6:.2f} us, "
                    f"the judge's clock {seconds * 1e6:.2f} us.",
                    timed=True,
                )
        floor = self.floor_s()
        if seconds < 0.95 * floor:
            trial.findings.add(
                "rejected",
                "impossible",
                f"At {config} it takes {seconds * 1e6:.2f} us, less than the {floor * 1e6:.2f} us that moving the data or the "
                "operations need on this device.",
            )
        if scattered:
            trial.findings.add(
                "inconclusive", "noise", f"At {config} the samples scatter by {100 * samples.scatter():.0f} %: run again alone."
            )

    def floor_s(self) -> float:
        """Seconds below which no kernel can be: by the measured copy bandwidth, and by the peak rate where it is known."""
        times, trial = self.row.times, self.trial
        cold = times["sets"] * times["bytes"] >= 3 * trial.request["cache_bytes"]
        copy = trial.method.get("copy_gbps")
        by_bytes = times["bytes"] / (CEILING[trial.device] * copy * 1e9) if copy and cold and self.cost else 0.0
        peak = trial.request.get("peak_flops", {}).get(self.row.config.dtype)
        return max(by_bytes, times["operations"] / peak if peak else 0.0)


def _packed_bytes(arg: Any) -> int:
    ((kind, value),) = arg.items()
    if kind in {"list", "tuple"}:
        return sum(map(_packed_bytes, value))
    if kind not in {"tensor", "turned"}:
        return 0
    widths = {"64": 8, "32": 4, "16": 2}
    width = next((size for digits, size in widths.items() if value["dtype"].endswith(digits)), 1)
    return width * int(math.prod(value["shape"]))


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]
