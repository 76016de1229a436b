"""Every way to cheat that we know of and that makes sense on the CPU, each judged with the right reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cheats_cpu import CHEATS


@pytest.mark.parametrize("name", CHEATS)
def test_cheat_is_caught(name: str, judged: Callable[..., Any]) -> None:
    cheat = CHEATS[name]
    found = judged(cheat.source, most_profiled=1 if "suspicious" in cheat.verdicts else 0)
    assert found.verdict in cheat.verdicts, (found.families, found.reasons)
    assert found.families & set(cheat.families), (found.families, found.reasons)


def test_there_are_enough_cheats() -> None:
    assert len(CHEATS) >= 30
