"""Every way to cheat that we know of and that makes sense on the CPU, each judged with the right reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cheats_cpu import CHEATS


@pytest.mark.parametrize("name", CHEATS)
def test_cheat_is_caught(name: str, judged: Callable[..., Any]) -> None:
    verdict, family, source = CHEATS[name]
    found = judged(source, most_profiled=1 if verdict == "suspicious" else 0)
    # Results that are kept show in either way: as wrong for new data, or as calls that new data makes longer.
    kept = family == "wrong when timed"
    families, verdicts = ({family, "cached or skipped"}, {verdict, "rejected"}) if kept else ({family}, {verdict})
    assert families & found.families, (found.families, found.reasons)
    assert found.verdict in verdicts, (found.families, found.reasons)


def test_there_are_enough_cheats() -> None:
    assert len(CHEATS) >= 30
