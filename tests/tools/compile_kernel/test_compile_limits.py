"""What the compilers together may use up: enough for every core of the host, and never all of its memory."""

from __future__ import annotations

import pytest

from kernelwright.tools.compile_kernel.compilers import limits

GIB = 1 << 30


@pytest.mark.parametrize(
    ("jobs", "host_gib", "memory_gib"), [(3, 24, 16), (9, 128, 36), (33, 256, 128), (129, 560, 280), (129, 8, 16)]
)
def test_memory_grows_with_the_cores_and_leaves_half_of_a_large_host_alone(jobs: int, host_gib: int, memory_gib: int) -> None:
    assert limits(jobs, host_gib * GIB).memory_bytes == memory_gib * GIB


@pytest.mark.parametrize("jobs", [3, 33, 129, 257])
def test_every_job_has_room_for_the_programs_of_one_nvcc(jobs: int) -> None:
    # The shell, Python, and four programs of nvcc at once, twice that for an architecture beside the first.
    assert limits(jobs, 512 * GIB).processes >= 12 * jobs
