"""The same verdicts under Landlock and seccomp, where user namespaces are forbidden."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cheats_cpu import CHEATS

# Those that reach for something outside of their process, and one of each remaining family.
REACHING = (
    "kept in a file",
    "the reference in memory",
    "the reference on disk",
    "a forged answer",
    "a harness that skips calls",
    "a patched clock",
    "work in a thread of C++",
    "kept by pointer in C++",
)


@pytest.mark.parametrize("name", REACHING)
def test_cheat_is_caught_by_the_second_tier(name: str, judged_by_landlock: Callable[..., Any]) -> None:
    cheat = CHEATS[name]
    found = judged_by_landlock(cheat.source)
    assert found.verdict in cheat.verdicts, (found.families, found.reasons)
    assert found.families & set(cheat.families), (found.families, found.reasons)


def test_honest_kernel_passes_the_second_tier(judged_by_landlock: Callable[..., Any]) -> None:
    found = judged_by_landlock("")
    assert found.verdict in {"ok", "inconclusive"}, found.reasons
    assert found.families <= {"noise"}
