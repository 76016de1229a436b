"""Resources of kernels out of ptxas's words, and the occupancy that follows from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernelwright.tools.compile_kernel.resources import demangled, launch_bounds, occupancy, parse, short

LOG = """\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_Z6secondPf' for 'sm_80'
ptxas info    : Function properties for _Z6secondPf
    32 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 1024 bytes smem, 380 bytes cmem[0], 4 bytes cmem[2]
ptxas info    : Function properties for _Z6helperPf
    64 bytes stack frame, 64 bytes spill stores, 64 bytes spill loads
ptxas info    : Compiling entry function '_Z5firstPf' for 'sm_90a'
ptxas info    : Function properties for _Z5firstPf
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 11 registers, used 0 barriers
"""


def test_each_kernel_and_architecture_is_one_row() -> None:
    second, first = parse(LOG, {"_Z6secondPf": 256})
    assert (second.name, second.arch, second.registers, second.spill_bytes) == ("_Z6secondPf", "sm_80", 40, 20)
    assert (second.shared_bytes, second.constant_bytes, second.stack_bytes) == (1024, 384, 32)
    assert (second.occupancy_pct, second.limited_by) == (75.0, "registers")
    assert (first.arch, first.registers, first.spill_bytes, first.occupancy_pct, first.limited_by) == (
        "sm_90a",
        11,
        0,
        100.0,
        "",
    )
    assert parse("", {}) == []


@pytest.mark.parametrize(
    ("arch", "registers", "shared", "block", "percent", "limit"),
    [
        # Worked out by hand from the table of compute capabilities.
        ("sm_90", 32, 0, 256, 100.0, ""),
        ("sm_90", 64, 0, 256, 50.0, "registers"),
        ("sm_90", 168, 0, 384, 18.8, "registers"),
        ("sm_80", 32, 40 << 10, 128, 25.0, "shared memory"),
        ("sm_75", 64, 0, 1024, 100.0, ""),
        ("sm_86", 32, 0, 1024, 66.7, "threads"),
        ("sm_90", 16, 0, 32, 50.0, "blocks"),
        ("sm_89", 16, 0, 32, 50.0, "blocks"),
    ],
)
def test_occupancy(arch: str, registers: int, shared: int, block: int, percent: float, limit: str) -> None:
    assert occupancy(arch, registers, shared, block) == (percent, limit)


def test_without_launch_bounds_the_best_block_counts_and_unknown_architectures_have_none() -> None:
    assert occupancy("sm_86", 32, 0, None) == (100.0, "")
    assert occupancy("sm_35", 32, 0, 256) == (None, "")


def test_launch_bounds_are_in_the_ptx(tmp_path: Path) -> None:
    (tmp_path / "x.ptx").write_text(
        ".visible .entry _Z1aPf(\n\t.param .u64 p\n)\n.maxntid 256, 1, 1\n.minnctapersm 2\n{\n}\n"
        ".visible .entry _Z1bPf(\n\t.param .u64 p\n)\n{\n}\n"
        ".entry _Z1cPf(\n)\n.reqntid 32, 4\n{\n}\n"
    )
    assert launch_bounds(tmp_path) == {"_Z1aPf": 256, "_Z1cPf": 128}


def test_names_are_readable() -> None:
    names = demangled(["_ZN12_GLOBAL__N_16kernelIfLi4EEEvPT_", "_Z5firstPf", "plain"])
    assert short(names["_ZN12_GLOBAL__N_16kernelIfLi4EEEvPT_"]) == "kernel<float, 4>"
    assert short(names["_Z5firstPf"]) == "first"
    assert names["plain"] == "plain"
