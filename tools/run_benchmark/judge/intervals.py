"""Medians with their uncertainty, on the standard library."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence

RESAMPLES = 1000


def mean_of_medians(places: Sequence[Sequence[float]], seed: int = 0) -> tuple[float, float, float]:
    """The median of some samples, or the mean of those of several places, and its 95 % bootstrap interval.

    Places are drawn first and samples within each of them, since places may differ by more than samples do.
    """
    middle = statistics.fmean(map(statistics.median, places))
    samples = [value for place in places for value in place]
    if len(samples) < 3:
        return middle, min(samples), max(samples)
    draw = random.Random(seed)

    def again() -> float:
        drawn = draw.choices(places, k=len(places)) if len(places) > 1 else places
        return statistics.fmean(statistics.median(draw.choices(place, k=len(place))) for place in drawn)

    means = sorted(again() for _ in range(RESAMPLES))
    return middle, min(middle, means[int(0.025 * RESAMPLES)]), max(middle, means[int(0.975 * RESAMPLES) - 1])


def geometric_mean(values: Sequence[float]) -> float | None:
    """Geometric mean of positive values; None of none."""
    kept = [v for v in values if v > 0]
    return math.exp(sum(map(math.log, kept)) / len(kept)) if kept else None
