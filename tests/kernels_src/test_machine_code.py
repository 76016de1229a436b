"""The machine code of the kernels: 16-byte loads and stores in the fast paths, nothing in local memory, and in each a wait for
the kernel before, since it may start early. Needs nvcc, no GPU."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from nvidia_tools import tool

from kernelwright.tools import catalogue

# One op on every generation, the others on one: compiling all of them for all takes minutes.
CASES = [("rmsnorm", "sm_80"), ("rmsnorm", "sm_120"), *((op, "sm_90") for op in catalogue.ops())]
# The fast paths are what is not made for rows without alignment: those end in `again` or take single elements.
# Nor is the mean over numbers of which there is one a row.
SLOW = re.compile(r"_again|_by_element|_kernelI\S*?Li1E|mean_of_")
# What `griddepcontrol.wait` becomes.
WAIT = "ACQBULK"
# What is less than 16 bytes, and moved once a row: a target, its logit, an element outside the aligned part, the loss.
ONCE_A_ROW = {"cross_entropy": ["LDG", "LDG", "LDG", "STG"]}
# Interleaved rope, cosines and sines of its elements' dtype: those of the pairs of a vector are 8 bytes, once for four heads.
PAIRS_OF_A_VECTOR = re.compile(r"rope_kernelI(?:\w+S\d_|ff)Li\dELb1E")


def _machine_code(op: str, arch: str, folder: Path) -> dict[str, list[str]]:
    """The memory instructions of each kernel of `op`, and its wait for the kernel before."""
    source, binary = catalogue.folder(op) / f"{op}_cuda/{op}.cu", folder / f"{op}.cubin"
    command = [tool("nvcc"), "-std=c++17", "-O3", f"-arch={arch}", "-cubin", str(source), "-o", str(binary)]
    subprocess.run(command, check=True, capture_output=True)
    dump = subprocess.run([tool("nvdisasm"), str(binary)], capture_output=True, text=True)
    assert dump.returncode == 0, dump.stderr
    return _memory_instructions(dump.stdout)


def _memory_instructions(sass: str) -> dict[str, list[str]]:
    kernels: dict[str, list[str]] = {}
    current: list[str] = []
    for line in sass.splitlines():
        if section := re.match(r"\.text\.(\w+):", line):
            current = kernels.setdefault(section[1], [])
        elif found := re.search(rf"\b(?:LDG|STG|LDL|STL|{WAIT})[.\w]*", line):
            current.append(found[0])
    return kernels


@pytest.mark.parametrize(("op", "arch"), CASES)
def test_fast_paths_move_16_bytes_and_spill_nothing(tmp_path: Path, op: str, arch: str) -> None:
    kernels = _machine_code(op, arch, tmp_path)
    waiting = [name for name, found in kernels.items() if WAIT in found]
    assert waiting == ([] if arch == "sm_80" else list(kernels)), "each may start before what it reads is written"
    fast = {name: [i for i in found if i != WAIT] for name, found in kernels.items() if not SLOW.search(name)}
    assert len(fast) >= 3, "one for each dtype at least"
    for name, found in fast.items():
        assert not [i for i in found if i.startswith(("LDL", "STL"))], name
        narrow = [i for i in found if ".128" not in i]
        once = ["LDG", "LDG"] if PAIRS_OF_A_VECTOR.search(name) else ONCE_A_ROW.get(op, [])
        assert sorted(i[:3] for i in narrow) == once, (name, narrow)
        assert any(i.startswith("LDG") for i in found if i not in narrow), name
        assert any(i.startswith("STG") for i in found), name
