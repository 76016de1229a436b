"""What ran, by torch's profiler: operators, kernels, and on a GPU also what the graph that was timed consists of."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

# Taken before any of the agent's code is imported, as in `machine`.
_perf_counter, _synchronize = time.perf_counter, torch.cuda.synchronize
# The kernel that `replay_marked` starts with.
MARK = "spin_kernel"


@dataclass(frozen=True)
class Span:
    """One kernel, copy or fill on the GPU, in microseconds."""

    name: str
    start: float
    end: float


def what_ran(run: Callable[[], None], cuda: bool, replay: Callable[[], None] | None = None) -> dict[str, Any]:
    """What ran during `run`, and on a GPU during `replay`, times in microseconds.

    `operators`: torch's operators, each with the time of the kernels it launched itself (on the CPU its own time);
    `kernels`: what ran on the GPU; `busy_us`: how long anything ran there; `wall_us`: how long `run` took. `replayed` holds
    the last two but one of what came behind the mark: no code of the package's runs then, so it cannot know that it is
    looked at.
    """
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]) as prof:
        started = _perf_counter()
        run()
        if cuda:
            _synchronize()
        wall = _perf_counter() - started
        if replay is not None:
            replay()
            _synchronize()
    operators = [
        {
            "name": str(event.key)[:200],
            "calls": int(event.count),
            "us": float(event.self_device_time_total if cuda else event.self_cpu_time_total),
        }
        for event in prof.key_averages()
        if not str(event.device_type).endswith("CUDA")
    ]
    spans = sorted(
        (
            Span(str(e.name), float(e.time_range.start), float(e.time_range.end))
            for e in prof.events() or []
            if str(e.device_type).endswith("CUDA")
        ),
        key=lambda span: span.start,
    )
    called, replayed = parted(spans)
    found = {"operators": operators, **_summed(called), "wall_us": wall * 1e6}
    return found if replay is None else {**found, "replayed": _summed(replayed)}


def parted(spans: Sequence[Span]) -> tuple[list[Span], list[Span]]:
    """What came before the last mark and what came after it; all of it came before, where there is none."""
    marks = [index for index, span in enumerate(spans) if MARK in span.name]
    return (list(spans[: marks[-1]]), list(spans[marks[-1] + 1 :])) if marks else (list(spans), [])


def _summed(spans: Iterable[Span]) -> dict[str, Any]:
    rows: dict[str, dict[str, Any]] = {}
    for span in spans:
        row = rows.setdefault(span.name, {"name": span.name[:200], "calls": 0, "us": 0.0})
        row["calls"] += 1
        row["us"] += span.end - span.start
    return {"kernels": list(rows.values()), "busy_us": covered((span.start, span.end) for span in spans)}


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """The length of what some spans cover together."""
    total, until = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total
