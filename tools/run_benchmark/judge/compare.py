"""How wrong an answer is, and how wrong it may be.

Two measures, both relative to a float64 reference `e`: `worst` is the largest `|o - e| / (|e| + rms(e))`, which one bad element
shows in; `overall` is `|o - e| / |e|` in the Euclidean norm, which a precision lowered everywhere shows in. An honest
implementation in the same dtype (the reference itself, run in it) sets the mark: twice its error, and never less than the
rounding of the output allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

CHUNK = 1 << 22
# Machine epsilons of the output dtype that are always allowed: rounding once costs half of one. Wide types leave room for
# another order of summation, narrow ones sum in a wider type.
WORST_EPS = {torch.float64: 32.0, torch.float32: 16.0}
OVERALL_EPS = {torch.float64: 8.0, torch.float32: 4.0}
NARROW_WORST_EPS, NARROW_OVERALL_EPS = 1.0, 0.5
# Significant bits, with the hidden one, of the type one step lower: float64 to float32, float32 to float16, halves to float8.
LOWER_BITS = {torch.float64: 24, torch.float32: 11, torch.bfloat16: 4, torch.float16: 4}


@dataclass(frozen=True)
class Errors:
    """How far an answer is from the reference; `misplaced` counts NaN and infinities that are not where they should be."""

    worst: float
    overall: float
    misplaced: int = 0


@dataclass(frozen=True)
class Tolerance:
    """What is allowed of both measures."""

    worst: float
    overall: float

    def admits(self, errors: Errors) -> bool:
        """Whether an answer with these errors passes."""
        return not errors.misplaced and errors.worst <= self.worst and errors.overall <= self.overall


EXACT = Tolerance(0.0, 0.0)


def measure(got: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype) -> Errors:
    """Errors of `got` against `expected` (float64 or float32, same shape, same device), both understood as `dtype`."""
    got, expected = got.reshape(-1), expected.reshape(-1)
    if not dtype.is_floating_point:
        wrong = int((got != expected).sum())
        return Errors(float(wrong > 0), wrong / max(1, got.numel()))
    limit = torch.finfo(dtype).max
    total, square, misplaced = 0, 0.0, 0
    for e in _chunks(expected):
        e64 = e.double()
        finite = e64.abs() <= limit
        total += int(finite.sum())
        square += float(torch.where(finite, e64, 0.0).square().sum())
    rms = (square / total) ** 0.5 if total else 0.0
    worst, distance = 0.0, 0.0
    for g, e in zip(_chunks(got), _chunks(expected), strict=True):
        g64, e64 = g.double(), e.double()
        finite = e64.abs() <= limit
        misplaced += int((torch.isfinite(g64) != finite).sum()) + _other_kind(g64, e64, finite, limit)
        both = finite & torch.isfinite(g64)
        difference = torch.where(both, (g64 - e64).abs(), 0.0)
        scale = torch.where(both, e64.abs(), 0.0) + rms
        worst = max(worst, float((difference / scale.clamp_min(torch.finfo(torch.float64).tiny)).max()) if e.numel() else 0.0)
        distance += float(difference.square().sum())
    overall = (distance / square) ** 0.5 if square else float("inf") if distance else 0.0
    return Errors(worst, overall, misplaced)


def _chunks(flat: torch.Tensor) -> list[torch.Tensor]:
    return [flat[start : start + CHUNK] for start in range(0, flat.numel(), CHUNK)]


def _other_kind(got: torch.Tensor, expected: torch.Tensor, finite: torch.Tensor, limit: float) -> int:
    # Both are special; a NaN must be a NaN, an overflow must keep its sign.
    special = ~finite & ~torch.isfinite(got)
    same = torch.where(torch.isnan(expected), torch.isnan(got), ~torch.isnan(got) & (got.sign() == expected.sign()))
    return int((special & ~same).sum())


def tolerance(native: Errors, dtype: torch.dtype, declared: float | None) -> Tolerance:
    """What an answer of `dtype` may differ, from the error of the honest implementation; `declared` may only tighten it."""
    if not dtype.is_floating_point:
        return EXACT
    eps = torch.finfo(dtype).eps
    worst = max(2 * native.worst, WORST_EPS.get(dtype, NARROW_WORST_EPS) * eps)
    overall = max(2 * native.overall, OVERALL_EPS.get(dtype, NARROW_OVERALL_EPS) * eps)
    if declared is not None:
        worst = min(worst, declared)
    return Tolerance(worst, overall)


def lower_precision(expected: torch.Tensor, dtype: torch.dtype) -> torch.Tensor | None:
    """`expected` rounded to the type one step below `dtype`, in its own wide type: an answer that must not pass."""
    bits = LOWER_BITS.get(dtype)
    if bits is None:
        return None
    mantissa, exponent = torch.frexp(expected)
    return torch.ldexp(torch.round(mantissa * 2.0**bits) / 2.0**bits, exponent)


def trivial_answers(inputs: Sequence[torch.Tensor], expected: torch.Tensor) -> dict[str, torch.Tensor]:
    """Answers that need no work and must not pass: zeros, the inputs, an input's mean. Expects one device."""
    found = {"zeros": torch.zeros_like(expected)}
    for index, given in enumerate(inputs):
        if not given.is_floating_point() or given.numel() == 0:
            continue
        if given.shape == expected.shape:
            found[f"argument {index} itself"] = given.to(expected.dtype)
        found[f"the mean of argument {index}"] = torch.full_like(expected, float(given.double().mean()))
    return found
