"""The same inputs a second time: a kernel whose answer varies is told so, and must be right both times.

Sums whose order is not fixed, such as those of atomic additions, are honest: where both answers pass, a note says how far apart
they are.
"""

from __future__ import annotations

from typing import Any

import torch

from .compare import measure, tolerance
from .machine import as_integers
from .trial import Config, Trial

CALL_S = 90.0
# Larger results are not kept for a second look.
MOST_BYTES = 64 << 20


def kept(trial: Trial, reply: dict[str, Any]) -> list[torch.Tensor] | None:
    """The results of a first call, copied out of what the next call overwrites; None where they are too large."""
    found = [trial.results.get(one) for one in reply["outputs"]]
    if sum(t.numel() * t.element_size() for t in found) > MOST_BYTES:
        return None
    return [t.clone() for t in found]


def check_again(trial: Trial, config: Config, made: dict[str, Any], first: list[torch.Tensor]) -> bool:
    """Call once more on the inputs of `first`; whether the second answer passes. What differs becomes a note or a finding."""
    trial.candidate.ask("place", CALL_S, args=made["args"], count=1)
    reply = trial.candidate.ask("call", CALL_S, unchanged=False)
    second = [trial.results.get(one) for one in reply["outputs"]]
    if [(t.shape, t.dtype) for t in first] != [(t.shape, t.dtype) for t in second]:
        trial.findings.add("incorrect", "form", f"At {config} a second call on the same inputs returned another form.")
        return False
    passes = True
    for number, (one, two, expected) in enumerate(zip(first, second, made["expected"], strict=True)):
        changed = as_integers(one) != as_integers(two)
        if not bool(changed.any()):
            continue
        exact, native = (trial.expected.get(expected[kind]).to(trial.device) for kind in ("exact", "native"))
        dtype = native.dtype
        allowed = tolerance(measure(native, exact, dtype), dtype, trial.problem["tolerance"].get(config.dtype))
        answer = two.to(trial.device)
        if not allowed.admits(measure(answer, exact, dtype)):
            trial.findings.add(
                "incorrect", "varies", f"At {config} a second call on the same inputs gave another answer, and a wrong one."
            )
            passes = False
        else:
            apart = measure(answer, one.to(trial.device), dtype).worst
            trial.findings.note(
                f"At {config} output {number} is not the same twice: the largest relative difference is {apart:.2g}, within "
                "the tolerance. Sums in an order that is not fixed do that."
            )
    return passes
