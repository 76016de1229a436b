"""What to do about an error: known pitfalls of kernels, found by the compiler's words and the line it points at."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Hint:
    """`pattern` is searched in the message and, after a newline, the line of source."""

    pattern: str
    text: str


HINTS = (
    Hint(
        r"uses too much shared data",
        "Static __shared__ memory ends at 48 KiB a block: make it extern __shared__ and raise "
        "cudaFuncAttributeMaxDynamicSharedMemorySize before the launch.",
    ),
    Hint(
        r"(wgmma|setmaxnreg).*(not supported|requires)",
        "It exists on Hopper's own target only: compile for '9.0a' (cuda-capabilities = [\"9.0a\"], or archs=['sm_90a']).",
    ),
    Hint(r"tcgen05.*(not supported|requires)", "tcgen05 exists on Blackwell's own targets only: compile for '10.0a'."),
)


def hint(message: str, source: str = "") -> str:
    """What to do about `message` at the line `source`; empty when nothing is known."""
    text = f"{message}\n{source}"
    return next((known.text for known in HINTS if re.search(known.pattern, text)), "")
