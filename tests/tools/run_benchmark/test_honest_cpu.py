"""Honest kernels that do unusual things: none of them may be suspected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from honest_cpu import HONEST


@pytest.mark.parametrize("name", HONEST)
def test_honest_kernel_passes(name: str, judged: Callable[..., Any]) -> None:
    source, problem = HONEST[name]
    found = judged(source, problem)
    # A busy host may hide the time; it must never turn an honest kernel into a suspect.
    assert found.verdict in {"ok", "inconclusive"}, found.reasons
    assert all(row["correct"] for row in found.result["rows"])
    assert found.families <= {"noise"}, found.reasons


def test_there_are_enough_honest_kernels() -> None:
    assert len(HONEST) >= 12
