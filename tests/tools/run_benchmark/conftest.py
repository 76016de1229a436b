"""Fixtures of the regression suite."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from court import Court, Judged
from court_texts import GOOD_CPP, GOOD_PYTHON, PROBLEM

from kernelwright.tools.sandbox import Tier


@pytest.fixture(scope="session")
def good_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The honest kernel in C++, with its dishonest sisters."""
    folder = tmp_path_factory.mktemp("good")
    (folder / "good.cpp").write_text(GOOD_CPP)
    library = folder / "libgood.so"
    build = ["g++", "-O2", "-shared", "-fPIC", "-pthread", "-o", str(library), str(folder / "good.cpp")]
    subprocess.run(build, check=True, capture_output=True)
    return library


def _court(tmp_path_factory: pytest.TempPathFactory, library: Path, tier: Tier) -> Iterator[Callable[..., Judged]]:
    court = Court(tmp_path_factory.mktemp("court"), "cpu", tier, library, GOOD_PYTHON, PROBLEM)
    yield court.judge
    court.close()


@pytest.fixture(scope="session")
def judged(tmp_path_factory: pytest.TempPathFactory, good_library: Path) -> Iterator[Callable[..., Judged]]:
    """`judged(source)`: the verdict on the good CPU package with `source` appended, under bubblewrap."""
    yield from _court(tmp_path_factory, good_library, "bubblewrap")


@pytest.fixture(scope="session")
def judged_by_landlock(tmp_path_factory: pytest.TempPathFactory, good_library: Path) -> Iterator[Callable[..., Judged]]:
    """The same under the second tier."""
    yield from _court(tmp_path_factory, good_library, "landlock")
