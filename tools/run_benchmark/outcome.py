"""From what the judge said to the tool's result."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from kernelwright.tools.run_benchmark.contract import BenchmarkResult, BenchmarkRow, BenchmarkSummary

# Clients show a model about 12 kB of a result; the rest is in the report.
MOST_BYTES = 9_000
SHOWN_METHOD = ("copy_gbps", "seed", "torch", "python", "sandbox", "clock", "threads", "absent_baselines", "seconds")


def rows(said: Mapping[str, Any], baselines: list[str]) -> list[BenchmarkRow]:
    """The table, times in microseconds to four digits."""
    copy = said["method"].get("copy_gbps")
    return [_row(row, baselines, copy) for row in said["rows"]]


def _row(row: Mapping[str, Any], baselines: list[str], copy: float | None) -> BenchmarkRow:
    tracks = row.get("tracks", {})
    own = tracks.get("candidate")
    us = own["us"] if own else None
    times = {name: tracks[name]["us"] if name in tracks else None for name in baselines}
    gbps = row["bytes"] / us / 1e3 if us else None
    return BenchmarkRow(
        shape=row["shape"],
        dtype=row["dtype"],
        correct=row["correct"],
        error=digits(row["error"], 2),
        tolerance=digits(row["tolerance"], 2),
        us=digits(us),
        ci95_us=[value for value in (digits(v) for v in own["ci95_us"]) if value is not None] if own else None,
        warm_us=digits(own.get("warm_us")) if own else None,
        wall_us=digits(own["wall_us"]) if own else None,
        baseline_us={name: digits(value) for name, value in times.items()},
        speedup={name: digits(value / us, 3) if value and us else None for name, value in times.items()},
        gbps=digits(gbps),
        pct_of_copy=digits(100 * gbps / copy, 3) if gbps and copy else None,
    )


def digits(value: float | None, count: int = 4) -> float | None:
    """`value` to `count` significant digits; None for what is no finite number."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.{count}g}")


def summary(table: list[BenchmarkRow], baselines: list[str]) -> BenchmarkSummary:
    """Geometric mean and worst speed-up over the shapes that were timed against each baseline."""
    means: dict[str, float | None] = {}
    worst: dict[str, float | None] = {}
    for name in baselines:
        found = [value for row in table if (value := row.speedup.get(name))]
        means[name] = digits(math.exp(sum(map(math.log, found)) / len(found)), 3) if found else None
        worst[name] = min(found) if found else None
    return BenchmarkSummary(geomean_speedup=means, worst_speedup=worst)


def shortened(result: BenchmarkResult) -> BenchmarkResult:
    """The result small enough for every client; what was cut is in the report, and a note says so."""
    if len(result.model_dump_json()) <= MOST_BYTES:
        return result
    result = result.model_copy(update={"rows": [row.model_copy(update={"ci95_us": None}) for row in result.rows]})
    total = len(result.rows)
    while len(result.model_dump_json()) > MOST_BYTES and len(result.rows) > 1:
        result = result.model_copy(update={"rows": result.rows[:-1]})
    if len(result.rows) < total:
        text = f"{total - len(result.rows)} of {total} rows are only in the report."
        result = result.model_copy(update={"notes": [text, *result.notes[:3]]})
    return result


def shown_method(method: Mapping[str, Any]) -> dict[str, Any]:
    """What of the method a model needs to read a number; the report has all of it."""
    return {key: method[key] for key in SHOWN_METHOD if method.get(key) not in (None, {}, [])}
