"""The launch rule that the CUDA kernels over rows share: what `launch.cuh` says of threads and blocks, on the host alone."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from kernelwright.tools import catalogue

PROGRAM = r"""
#include <cstdio>
#include "launch.cuh"

int main() {
  using namespace rows;
  for (const Device device : {Device{132, true}, Device{108, false}, Device{16, true}}) {
    for (const int64_t row_count : {int64_t{1}, int64_t{2}, int64_t{4}, int64_t{7}, int64_t{33}, int64_t{66}, int64_t{70000}}) {
      for (int64_t vectors = 1; vectors < 90000; vectors += 1 + vectors / 9) {
        for (const int most : {4, 8}) {
          for (const int prefers : {1, 2, 4}) {
            const Shape s = shape_for(vectors, row_count, device, prefers, most);
            std::printf("%lld %lld %d %d %d %d %d %d %d\n", (long long)vectors, (long long)row_count, device.sm_90, prefers,
                        most, s.threads, s.rows_per_block, s.vectors_per_thread, s.blocks);
          }
        }
      }
    }
  }
}
"""
MOST_THREADS = {1: 1024, 2: 512, 4: 512, 8: 1024}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, ...]]:
    """Of many rows and devices: vectors, rows, whether clusters are there, prefers, most; threads, rows a block, vectors a
    thread, blocks."""
    nvcc = shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")
    if nvcc is None:
        pytest.skip("needs nvcc")
    folder = tmp_path_factory.mktemp("rule")
    (folder / "rule.cu").write_text(PROGRAM)
    headers = catalogue.folder("rmsnorm") / "rmsnorm_cuda"
    subprocess.run([nvcc, "-std=c++17", f"-I{headers}", "-o", "rule", "rule.cu"], cwd=folder, check=True, capture_output=True)
    said = subprocess.run([str(folder / "rule")], check=True, capture_output=True, text=True).stdout
    return [tuple(map(int, line.split())) for line in said.splitlines()]


def test_rows_fit(shapes: list[tuple[int, ...]]) -> None:
    assert len(shapes) > 5000
    for vectors, _rows, clusters, prefers, most, threads, rows_per_block, per_thread, blocks in shapes:
        case = (vectors, prefers, most, threads, rows_per_block, per_thread, blocks)
        if per_thread == 0:
            assert (threads, rows_per_block, blocks) == (1024, 1, 1) and vectors > most * MOST_THREADS[most], case
            continue
        assert threads * per_thread * blocks >= vectors, case
        assert threads <= MOST_THREADS[per_thread] and threads * rows_per_block <= 1024, case
        assert threads % 32 == 0 or 32 % threads == 0, case
        assert per_thread in {prefers, 4, most}, case
        # A cluster's blocks share one row: `launch` counts them so, and kernels look for theirs so.
        assert blocks == 1 or (rows_per_block == 1 and clusters and blocks <= 8), case


def test_no_thread_is_there_for_nothing(shapes: list[tuple[int, ...]]) -> None:
    for vectors, *_rest, threads, _rows_per_block, per_thread, blocks in shapes:
        if per_thread and threads > 32:
            assert (threads - 32) * per_thread * blocks < vectors


def test_few_rows_are_spread(shapes: list[tuple[int, ...]]) -> None:
    held = [case for case in shapes if case[-2] > 0]
    assert {case[-1] for case in held if case[2] and case[1] <= 2 and case[0] > 2048} == {8}
    assert {case[-1] for case in held if case[1] == 70000 and case[0] <= 2048} == {1}
