"""The timing phase: candidate and baselines in turn on the judge's clock, and what shows that the time is honest."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator
from typing import Any

from .believable import SCATTER, judge_times
from .checks import FORGED, candidate_failed
from .children import Child, ChildFailedError, ChildRaisedError
from .clock import Pace, Samples, eager_walls, find_pace, sample
from .effort import CPU, CUDA, count_sets, packed_bytes
from .fresh import check_fresh
from .shares import check_shares
from .trial import CALL_S, BrokenProblemError, Row, Trial, emit

PLACE_S = 120.0
FEWEST_SAMPLES = 3
# Sets whose results are looked at to see whether they are the same elsewhere in memory.
MOST_LOOKED = 8
# Calls on the same data in one graph; enough to hide what launching a graph costs.
MOST_WARM = 256


# A baseline whose interval is so narrow after a few samples gets no more: an eager one takes ten times as long as a kernel.
TIGHT, TIGHT_SAMPLES = 0.005, 3
# A candidate that waits uses no processor; threads that spin for a moment after a call do.
BUSY, BUSY_S = 0.1, 0.06


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
        # Baselines of which more samples would change nothing.
        self.settled: set[str] = set()
        # Seconds in which others were timed, and those of processor time that the candidate used in them.
        self.idle_s, self.used_s = 0.0, 0.0

    def run(self) -> None:
        """Place the inputs everywhere, make every track ready, sample them in turn, then look for what does not fit."""
        trial, row = self.trial, self.row
        made = trial.make(row.config, trial.new_seed(), answers=False)
        cost, size = made.get("cost"), sum(map(packed_bytes, made["args"]))
        row.times |= {"bytes": cost[0] if cost else size, "operations": cost[1] if cost else 0.0, "declared": bool(cost)}
        sets = count_sets(self.effort, trial.device, trial.request, max(1.0, row.times["bytes"], float(size)))
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
        """Sample all tracks in turn until there are enough or time is up; the candidate's at several places in memory."""
        most, until = self.effort.samples, time.monotonic() + self.effort.budget_s
        self.trial.candidate.all_seconds(fresh=True)
        for place in range(self.places()):
            if place and not self.move():
                break
            for _ in range(max(1, most // self.effort.places)):
                self.sample_each()
                if time.monotonic() > until:
                    break
        for taken in range(len(self.own().judge), 2 * most):
            late = taken >= FEWEST_SAMPLES and time.monotonic() > until
            enough = taken >= most and self.own().scatter() <= SCATTER[self.trial.device] / 2
            if late or enough:
                break
            self.sample_each()
        if self.used_s > BUSY * self.idle_s + BUSY_S:
            self.trial.findings.add(
                "rejected",
                "busy meanwhile",
                f"While others were timed at {self.row.config}, for {self.idle_s:.2f} s, the candidate's process used the "
                f"processor for {self.used_s:.2f} s: it slows down what it is compared with.",
            )

    def own(self) -> Samples:
        """The candidate's samples."""
        return self.tracks["candidate"][1]

    def places(self) -> int:
        """At how many places to sample: one where results cannot be told to be the same at the next, or there is no graph."""
        alone = self.trial.problem["mutates"] or "candidate" in self.row.times.get("not_captured", {})
        return 1 if alone else self.effort.places

    def move(self) -> bool:
        """Have the candidate's sets lie elsewhere, in another order. False where that is not possible, or where results differ
        from those before: then only what comes from now on counts, because only that is compared with the reference."""
        child, samples, pace = self.tracks["candidate"]
        order = self.trial.random.sample(range(pace.sets), pace.sets)
        looked = self.trial.random.sample(range(pace.sets), min(MOST_LOOKED, pace.sets))
        offset = self.trial.random.randrange(1 << 20)
        before = self.digests(child, [order[index] for index in looked], offset)
        try:
            child.ask("move", PLACE_S, order=order)
        except ChildRaisedError as error:
            if error.kind == "OutOfMemoryError":
                return False
            raise
        why_not = child.ask("capture", PLACE_S, name="candidate")["why_not"]
        if why_not:
            self.row.times.setdefault("not_captured", {})["candidate"] = why_not
            pace = find_pace(child, "candidate", pace.sets, self.effort.own_s)
        if why_not or self.digests(child, looked, offset) != before:
            self.tracks["candidate"] = (child, Samples(), pace)
            return False
        samples.move()
        return True

    def digests(self, child: Child, sets: list[int], offset: int) -> Any:
        """Sums over the candidate's results of these sets."""
        return child.ask("digest", CALL_S, name="candidate", digest=offset, sets=sets)["digests"]

    def sample_each(self) -> None:
        """One sample of each track, in an order that changes."""
        names = [name for name in self.tracks if name not in self.settled]
        self.trial.random.shuffle(names)
        for name in names:
            child, samples, pace = self.tracks[name]
            started, used = time.monotonic(), self.trial.candidate.all_seconds()
            sample(child, name, pace, samples)
            if child is not self.trial.candidate:
                self.idle_s += time.monotonic() - started
                self.used_s += self.trial.candidate.all_seconds() - used
            if name != "candidate" and len(samples.judge) >= TIGHT_SAMPLES and samples.scatter() <= TIGHT:
                self.settled.add(name)

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
                pace = find_pace(child, name, sets, self.effort.own_s if name == "candidate" else self.effort.target_s)
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
        single = eager_walls({name: t[0] for name, t in self.tracks.items() if name == "candidate" or trial.device == "cuda"})
        for name, (_child, samples, pace) in self.tracks.items():
            middle, low, high = samples.summary()
            wall = single.get(name)
            times["tracks"][name] = {
                "us": middle * 1e6,
                "ci95_us": [low * 1e6, high * 1e6],
                "event_us": statistics.median(samples.events) * 1e6 if samples.events else None,
                "wall_us": wall * 1e6 if wall else None,
                "rounds": [pace.few, pace.many],
                "samples": len(samples.judge),
                "places_us": [statistics.median(place) * 1e6 for place in samples.places()],
                "disturbed_samples": len(samples.judge) - sum(map(len, samples.places())),
            }
        judge_times(trial, self.row, self.tracks["candidate"][1])
