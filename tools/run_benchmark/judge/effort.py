"""How much is measured: samples, places in memory, sets of arguments, and how long each of them should last."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Effort:
    """How long things take: seconds between few and many rounds of a baseline and of the candidate, samples and seconds for
    them in all (at least three are taken), places in memory that the candidate's samples are taken at, seconds that one pass
    over all sets should last, most sets, most bytes of sets in one process."""

    target_s: float
    own_s: float
    samples: int
    places: int
    budget_s: float
    pass_s: float
    most_sets: int
    most_bytes: int


CPU = Effort(target_s=0.03, own_s=0.03, samples=7, places=1, budget_s=1.5, pass_s=0.004, most_sets=128, most_bytes=512 << 20)
# Jobs with one place in a GPU's memory each were up to 2.5 % apart.
CUDA = Effort(target_s=0.006, own_s=0.01, samples=12, places=3, budget_s=2.0, pass_s=0.002, most_sets=800, most_bytes=9 << 30)
# Without knowing the machine yet: bytes per second that a first guess of a call's time starts from.
GUESSED_BANDWIDTH = {"cpu": 1e10, "cuda": 4e12}


def count_sets(effort: Effort, device: str, request: dict[str, Any], moved: float) -> int:
    """Enough sets, each of which moves so many bytes, to pass the last-level cache three times and to make one pass last; no
    more than memory holds."""
    # The last level of a processor's cache is shared with all else that runs there: nothing keeps it cold or warm.
    cold = math.ceil(3 * request["cache_bytes"] / moved) if device == "cuda" else 1
    lasting = math.ceil(effort.pass_s * GUESSED_BANDWIDTH[device] / moved)
    budget = min(effort.most_bytes, request["set_bytes"])
    return max(1, min(max(cold, lasting), effort.most_sets, int(budget / (2 * moved))))


def packed_bytes(arg: Any) -> int:
    """Bytes of the tensors in an argument that was packed."""
    ((kind, value),) = arg.items()
    if kind in {"list", "tuple"}:
        return sum(map(packed_bytes, value))
    if kind not in {"tensor", "turned"}:
        return 0
    widths = {"64": 8, "32": 4, "16": 2}
    width = next((size for digits, size in widths.items() if value["dtype"].endswith(digits)), 1)
    return width * int(math.prod(value["shape"]))
