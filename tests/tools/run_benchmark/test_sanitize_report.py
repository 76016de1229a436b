"""Reading what compute-sanitizer prints."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kernelwright.tools.run_benchmark.request import Subject
from kernelwright.tools.run_benchmark.sanitize import _smallest, parse, sanitize
from kernelwright.tools.tool import Context

MEMCHECK = """========= COMPUTE-SANITIZER
========= Invalid __global__ write of size 4 bytes
=========     at void rows<float>(const float *, float *)+0x180 in kernel.cu:12
=========     by thread (0,0,0) in block (0,0,0)
=========     Address 0x7f is out of bounds
========= Invalid __global__ write of size 4 bytes
=========     at void rows<float>(const float *, float *)+0x180 in kernel.cu:12
=========     by thread (1,0,0) in block (0,0,0)
========= ERROR SUMMARY: 2 errors
"""
CLEAN = "========= COMPUTE-SANITIZER\n========= ERROR SUMMARY: 0 errors\n"
RACE = """========= COMPUTE-SANITIZER
========= Error: Race reported between Write access at rows(float *)+0x90 and Read access at rows(float *)+0xc0 [128 hazards]
========= RACECHECK SUMMARY: 1 hazard displayed (1 error, 0 warnings)
"""


def test_errors_are_grouped_with_their_kernel() -> None:
    (line,) = parse(MEMCHECK)
    assert line.startswith("Invalid __global__ write of size 4 bytes in rows<float>")
    assert line.endswith("(2 times)")


def test_clean_report_has_no_findings() -> None:
    assert parse(CLEAN) == []


def test_race_is_a_headline_of_its_own() -> None:
    (line,) = parse(RACE)
    assert "Race reported between Write access" in line


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    assert isinstance(parse(text), list)


def test_smallest_shape_of_each_dtype_is_run() -> None:
    rows: list[dict[str, Any]] = [
        {"shape": [8, 8], "dtype": "float32"},
        {"shape": [4, 4], "dtype": "float32"},
        {"shape": [9, 9], "dtype": "bfloat16"},
    ]
    assert _smallest(rows) == [([4, 4], "float32"), ([9, 9], "bfloat16")]


def test_what_cannot_be_run_is_a_note(tmp_path: Path) -> None:
    context = Context(tmp_path, tmp_path, Path(sys.executable))
    on_cpu = Subject("p", tmp_path, tmp_path / "problem.py", "cpu")
    on_gpu = Subject("p", tmp_path, tmp_path / "problem.py", "cuda")
    assert sanitize(None, on_cpu, [], context) == ([], ["sanitize needs the cuda backend; nothing was run."])
    assert sanitize(None, on_gpu, [], context) == ([], ["compute-sanitizer is not installed; nothing was run."])
