"""Medians with their uncertainty, on the standard library."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence

RESAMPLES = 1000


def median_interval(samples: Sequence[float], seed: int = 0) -> tuple[float, float, float]:
    """Median and its 95 % bootstrap interval."""
    middle = statistics.median(samples)
    if len(samples) < 3:
        return middle, min(samples), max(samples)
    draw = random.Random(seed)
    medians = sorted(statistics.median(draw.choices(samples, k=len(samples))) for _ in range(RESAMPLES))
    return middle, medians[int(0.025 * RESAMPLES)], medians[int(0.975 * RESAMPLES) - 1]


def geometric_mean(values: Sequence[float]) -> float | None:
    """Geometric mean of positive values; None of none."""
    kept = [v for v in values if v > 0]
    return math.exp(sum(map(math.log, kept)) / len(kept)) if kept else None
