"""Whether a time can be believed: the clock against the device's events, the count of rounds, the roofline and the scatter."""

from __future__ import annotations

import statistics

from .clock import Samples
from .trial import Row, Trial

# Beyond these the candidate's own events contradict the judge's clock, or noise hides the answer.
EVENTS_APART, EVENTS_APART_S = 0.05, 3e-7
SCATTER = {"cpu": 0.5, "cuda": 0.10}
# No memory system moves more than this multiple of its copy bandwidth, which reads and writes by turns.
CEILING = {"cpu": 6.0, "cuda": 1.2}


def judge_times(trial: Trial, row: Row, samples: Samples) -> None:
    """What the candidate's samples say against it becomes findings."""
    config, seconds = row.config, samples.summary()[0]
    scattered = samples.scatter() > SCATTER[trial.device]
    if samples.miscounted:
        trial.findings.add("rejected", "skipped calls", f"At {config} the graph counted other replays than were asked for.")
    if samples.events and not scattered:
        # Sample by sample: both clocks took the same calls, and what is made call by call is not as quick every time.
        apart = statistics.median(event - own for event, own in zip(samples.events, samples.judge, strict=True))
        by_events = seconds + apart
        if abs(apart) > max(EVENTS_APART * seconds, EVENTS_APART_S):
            trial.findings.add(
                "rejected",
                "clock",
                f"At {config} the device's events say {by_events * 1e6:.2f} us, the judge's clock {seconds * 1e6:.2f} us.",
                timed=True,
            )
    floor = floor_s(trial, row)
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


def floor_s(trial: Trial, row: Row) -> float:
    """Seconds below which no kernel can be: by the measured copy bandwidth, and by the peak rate where it is known."""
    times = row.times
    cold = times["sets"] * times["bytes"] >= 3 * trial.request["cache_bytes"]
    copy = trial.method.get("copy_gbps")
    by_bytes = times["bytes"] / (CEILING[trial.device] * copy * 1e9) if copy and cold and times["declared"] else 0.0
    peak = trial.request.get("peak_flops", {}).get(row.config.dtype)
    return max(by_bytes, times["operations"] / peak if peak else 0.0)
