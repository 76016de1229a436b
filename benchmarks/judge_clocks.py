"""Other clocks than run_benchmark's on a package that is built already; judge_gpu.py starts this, some of it under ncu.

    python benchmarks/judge_clocks.py PACKAGE_FOLDER events|profiled|witness|places '[[128, 4096], ...]'

events    triton's do_bench as it is; single calls between two CUDA events after the cache was cleared by writing 256 MB, by
          reading as much, and after a call on other data; and replays of a graph of calls
profiled  the calls that ncu is to time, each on data that is no longer in the cache, after a call on other data
witness   replays of the judge's graph with and without what it does at the end of each, and graphs of that alone
places    the same graph again and again: captured anew, with all memory made anew, and with inputs in another order

All calls are `rmsnorm` in bfloat16 and go round input and output buffers of at least three times the last-level cache, but
do_bench's. `empty` is a kernel that does nothing: what a clock counts beside the work. Times are microseconds of one call,
medians; the last line on standard output is JSON.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import math
import random
import statistics
import sys
from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

import torch

# A kernel that only spins, about 0.2 ms: launches queue up behind it, so none of them is waited for.
HIDING_CYCLES = 400_000
CLEARED_BYTES = 256 << 20
SINGLE_CALLS, PROFILED_CALLS = 40, 16
# As the judge has it: a graph lasts two milliseconds at 4 TB/s, from at most 9 GB of inputs and results.
LASTING_BYTES, MOST_BYTES, MOST_SETS = 8_000_000_000, 9 << 30, 800

Call = Callable[[int], Any]


def loaded(folder: str) -> Any:
    """The package of that folder."""
    spec = importlib.util.spec_from_file_location("under_test", f"{folder}/__init__.py", submodule_search_locations=[folder])
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["under_test"] = package
    spec.loader.exec_module(package)
    return package


class Round:
    """Calls of one shape, each on the next of several inputs, all results kept."""

    def __init__(self, rmsnorm: Callable[..., torch.Tensor], shape: Sequence[int], lasting: bool = False) -> None:
        self.rmsnorm, moved = rmsnorm, 4 * math.prod(shape)
        cold = math.ceil(3 * torch.cuda.get_device_properties(0).L2_cache_size / moved)
        self.count = max(cold, 2, math.ceil(LASTING_BYTES / moved) if lasting else 0)
        self.count = max(2, min(self.count, MOST_SETS, MOST_BYTES // (2 * moved)))
        first = torch.randn(*shape, device="cuda").to(torch.bfloat16)
        self.inputs = [first, *(first.clone() for _ in range(self.count - 1))]
        self.weights = [torch.randn(shape[-1], device="cuda").to(torch.bfloat16) for _ in range(self.count)]
        self.results: list[Any] = [None] * self.count

    def call(self, number: int) -> None:
        """One call."""
        index = number % self.count
        self.results[index] = self.rmsnorm(self.inputs[index], self.weights[index])

    def all(self) -> None:
        """A call on each input."""
        for number in range(self.count):
            self.call(number)


def empty(number: int) -> None:
    """A kernel that does nothing."""
    torch.cuda._sleep(0)


def named(shape: Sequence[int]) -> str:
    """As the judge's table writes it."""
    return "x".join(map(str, shape))


def between_events(call: Call, before: Call, hidden: bool) -> float:
    """Single calls between two events, each after `before`; with `hidden` the GPU never waits for a launch."""
    pairs = []
    for number in range(SINGLE_CALLS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        if hidden:
            torch.cuda._sleep(HIDING_CYCLES)
        before(2 * number)
        start.record()
        call(2 * number + 1)
        end.record()
        pairs.append((start, end))
        if not hidden:
            torch.cuda.synchronize()
    torch.cuda.synchronize()
    return 1e3 * statistics.median(start.elapsed_time(end) for start, end in pairs)


def captured(calls: Callable[[], None]) -> torch.cuda.CUDAGraph:
    """A graph of these calls."""
    calls()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        calls()
    graph.replay()
    torch.cuda.synchronize()
    return graph


def replays(graph: torch.cuda.CUDAGraph, calls: int, many: int = 6) -> list[float]:
    """Microseconds of one call in replays that queue up, seven samples."""
    found, few = [], 2
    for _ in range(7):
        spent = []
        for count in (few, many):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda._sleep(10 * HIDING_CYCLES)
            start.record()
            for _ in range(count):
                graph.replay()
            end.record()
            torch.cuda.synchronize()
            spent.append(start.elapsed_time(end))
        found.append(1e3 * (spent[1] - spent[0]) / (many - few) / calls)
    return found


def events(rmsnorm: Callable[..., torch.Tensor], shapes: Sequence[Sequence[int]]) -> dict[str, Any]:
    """By do_bench and by its like; see the head."""
    from triton.testing import do_bench

    buffer = torch.zeros(CLEARED_BYTES // 4, dtype=torch.float32, device="cuda")
    largest = torch.zeros((), dtype=torch.float32, device="cuda")

    def write(number: int) -> None:
        buffer.zero_()

    def read(number: int) -> None:
        torch.amax(buffer, 0, out=largest)

    found: dict[str, dict[str, float]] = {}
    for shape in [None, *shapes]:
        turn = Round(rmsnorm, shape, lasting=True) if shape else None
        call, other = (turn.call, turn.call) if turn else (empty, empty)
        for number in range(3):
            call(number)
        # Both numbers of do_bench are milliseconds; an iteration counts with what it clears.
        bench = do_bench(lambda call=call: call(0), warmup=25, rep=60, return_mode="median")
        row = {
            "do_bench": 1e3 * bench,
            "cleared by writing, hidden": between_events(call, write, hidden=True),
            "cleared by reading": between_events(call, read, hidden=False),
            "cleared by reading, hidden": between_events(call, read, hidden=True),
            "after a call, hidden": between_events(call, other, hidden=True),
        }
        if turn:
            row["graph"] = statistics.median(replays(captured(turn.all), turn.count))
        else:
            row["graph"] = statistics.median(replays(captured(lambda: [empty(n) for n in range(500)]), 500))
        found[named(shape) if shape else "empty"] = {how: round(us, 3) for how, us in row.items()}
        del turn, call, other
        free()
    return found


def free() -> None:
    """Give memory back to the driver."""
    gc.collect()
    torch.cuda.empty_cache()


def profiled(rmsnorm: Callable[..., torch.Tensor], shapes: Sequence[Sequence[int]]) -> dict[str, Any]:
    """For ncu, with --profile-from-start off: so many kernels of each shape, and before them as many that do nothing."""
    for shape in [None, *shapes]:
        turn = Round(rmsnorm, shape) if shape else None
        call = turn.call if turn else empty
        # What is called last leaves its results in the cache, as in a stream of calls.
        for number in range(turn.count if turn else 3):
            call(number)
        torch.cuda.synchronize()
        torch.cuda.profiler.start()
        for number in range(PROFILED_CALLS):
            call(number)
        torch.cuda.synchronize()
        torch.cuda.profiler.stop()
        del turn, call
        free()
    return {"calls": PROFILED_CALLS}


def witness(rmsnorm: Callable[..., torch.Tensor], shapes: Sequence[Sequence[int]]) -> dict[str, Any]:
    """What the judge's graph takes beside the calls, microseconds of one replay and percent of it."""
    from kernelwright.tools.run_benchmark.judge import machine as machines

    class Blind(machines.Witness):
        def step(self) -> None:
            """Nothing, so that the graph has no more than the calls and their count."""

    machine, found = machines.Cuda(), {}
    for shape in shapes:
        turn = Round(rmsnorm, shape, lasting=True)
        sets = list(zip(turn.inputs, turn.weights, strict=True))
        tracks = {"witnessed": machines.Track(rmsnorm), "counted": machines.Track(rmsnorm)}
        why_not = machine.capture(tracks["witnessed"], sets)
        with mock.patch.object(machines, "Witness", Blind):
            why_not = why_not or machine.capture(tracks["counted"], sets)
        if why_not:
            raise RuntimeError(why_not)
        bare = captured(turn.all)
        seen = tracks["witnessed"].witness
        assert seen is not None
        tail = captured(seen.step)
        # In turn, so that a drift falls on all of them.
        samples: dict[str, list[float]] = {"bare": [], "counted": [], "witnessed": [], "tail": []}
        for _ in range(3):
            samples["bare"] += replays(bare, 1)
            samples["tail"] += replays(tail, 1, many=102)
            for name, track in tracks.items():
                samples[name] += replays(track.graph, 1)
        us = {name: statistics.median(values) for name, values in samples.items()}
        found[named(shape)] = {
            "sets": turn.count,
            **{f"{name}_us": round(value, 2) for name, value in us.items()},
            "us_per_call": round(us["witnessed"] / turn.count, 4),
            "count_pct": round(100 * (us["counted"] / us["bare"] - 1), 3),
            "witness_pct": round(100 * (us["witnessed"] / us["counted"] - 1), 3),
        }
        del turn, sets, tracks, bare, tail, seen
        free()
    return found


def places(rmsnorm: Callable[..., torch.Tensor], shapes: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Medians of the same graph made six times, and how far samples of one graph lie apart: what decides a job's figure."""
    found: dict[str, Any] = {}
    for shape in shapes:
        row: dict[str, list[float]] = {"captured anew": [], "placed anew": [], "shuffled": []}
        within = []

        def one(turn: Round, name: str, row: dict[str, list[float]] = row, within: list[float] = within) -> None:
            samples = replays(captured(turn.all), turn.count)
            middle = statistics.median(samples)
            row[name].append(round(middle, 4))
            within.append(100 * statistics.stdev(samples) / middle)

        turn = Round(rmsnorm, shape, lasting=True)
        for _ in range(6):
            one(turn, "captured anew")
        for name in ("placed anew", "shuffled"):
            for _ in range(6):
                del turn
                free()
                # Held while the rest is made, so that this comes to lie elsewhere.
                spacer = torch.empty(random.randrange(1 << 32), dtype=torch.uint8, device="cuda")
                turn = Round(rmsnorm, shape, lasting=True)
                del spacer
                free()
                if name == "shuffled":
                    random.shuffle(turn.inputs)
                one(turn, name)
        spread = {name: round(100 * (max(values) - min(values)) / statistics.median(values), 2) for name, values in row.items()}
        found[named(shape)] = {"us": row, "range_pct": spread, "stdev_within_pct": round(statistics.median(within), 3)}
        del turn
        free()
    return found


def main() -> int:
    """Print what was asked for as JSON."""
    folder, how, shapes = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    torch.set_grad_enabled(False)
    parts = {"events": events, "profiled": profiled, "witness": witness, "places": places}
    print(json.dumps(parts[how](loaded(folder).rmsnorm, shapes)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
