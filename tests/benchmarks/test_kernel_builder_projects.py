"""The table of projects keeps what earlier runs found, and a compile that is cut off tells how far it came."""

from __future__ import annotations

import importlib
import multiprocessing
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def projects() -> Iterator[ModuleType]:
    """benchmarks/kernel_builder_projects.py, imported as it is when it runs."""
    sys.path.insert(0, str(FOLDER))
    try:
        yield importlib.import_module("kernel_builder_projects")
    finally:
        sys.path.remove(str(FOLDER))


def row(projects: ModuleType, project: str, backend: str, outcome: str = "compiles", source: str = "community") -> Any:
    return projects.Row(source, project, backend, "torch", outcome, 1.0, "a|b")


def test_a_row_takes_the_place_of_its_own_backend_alone(projects: ModuleType, tmp_path: Path) -> None:
    table = projects.projects_table
    before = [
        row(projects, "relu", "cpu"),
        row(projects, "relu", "cuda", "unfinished"),
        row(projects, "relu", "cpu", source="x"),
    ]
    table.write(before, {"nvcc": "13.0", "gxx": "12", "arch": "9.0a", "beside": "nothing"}, tmp_path / "table")
    here, earlier = table.read(tmp_path / "table.json")
    now = table.merged(earlier, [row(projects, "relu", "cuda")])
    assert [(r.source, r.backend, r.outcome) for r in now] == [
        ("community", "cpu", "compiles"),
        ("community", "cuda", "compiles"),
        ("x", "cpu", "compiles"),
    ]
    assert "| relu | cuda | torch | compiles | - | 1.0 |  |  | a\\|b |" in table.markdown(now, here)
    assert "3 compiles, 0 fails" in table.markdown(now, here)


def test_a_row_about_the_whole_project_and_rows_of_backends_exclude_each_other(projects: ModuleType) -> None:
    table = projects.projects_table
    whole, parts = [row(projects, "relu", "-", "cannot")], [row(projects, "relu", "cpu"), row(projects, "relu", "cuda")]
    assert table.merged(whole, parts) == parts
    assert table.merged(parts, whole) == whole


@pytest.mark.parametrize(("cached", "fresh"), [(0, True), (4, False)])
def test_a_compile_that_is_cut_off_counts_the_projects_own_sources(
    projects: ModuleType, tmp_path: Path, cached: int, fresh: bool
) -> None:
    work = tmp_path / "job" / "compile" / "work"
    made = ["/p/one.cu", "/p/two.cu", *(["/cache/old_systems.cpp"] if fresh else [])]
    for number, source in enumerate(made):
        unit = work / "units" / str(number)
        unit.mkdir(parents=True)
        (unit / "object.o").touch()
        (unit / "deps.d").write_text(f"object.o : {source}\n")
    (work / "build.ninja").write_text("what = old_systems.cpp\n" if fresh else "what = one.cu\n")
    here, there = multiprocessing.Pipe(duplex=False)
    # Ten sources of the project's and one of Kernelwright's; one of three that ended has no object.
    there.send(f"{11 - cached} of 11 sources for torch-cuda")
    for said in ("1/30 one.cu", "2/30 two.cu", "3/30 bad.cu", *(["4/30 old_systems.cpp"] if fresh else [])):
        there.send(said)
    report = projects._followed(here, time.perf_counter() + 0.2, tmp_path)
    own = cached - (0 if fresh else 1)
    assert (report.outcome, report.detail) == ("unfinished", f"{own + 2} of its 10 sources compiled, 1 failed")
