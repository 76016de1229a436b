"""The launch rule that the CUDA kernels over rows share: what `launch.cuh` says of threads and blocks, on the host alone."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from nvidia_tools import tool

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
          for (const int prefers : {1, 2, 3, 4, 6}) {
            const int alone = prefers == 3 && most == 8 ? 4096 : 2048;
            const Shape s = shape_for(vectors, row_count, device, prefers, most, alone);
            std::printf("%lld %lld %d %d %d %d %d %d %d\n", (long long)vectors, (long long)row_count, device.sm_90, prefers,
                        most, s.threads, s.rows_per_block, s.vectors_per_thread, s.blocks);
          }
        }
      }
    }
  }
}
"""
MOST_THREADS = {1: 1024, 2: 512, 3: 384, 4: 512, 6: 512, 8: 1024}


# Rows of a layer norm on an H200: vectors of a row, rows, vectors a thread that were the fastest there or within 2 % of it
# (benchmarks/results/h200-kernel-tuning-2026-11-30.md).
LAYER_NORMS = [
    (144, 32768, 6),
    (160, 32768, 6),
    (160, 65536, 6),
    (160, 512, 3),
    (160, 2048, 3),
    (192, 8192, 3),
    (288, 32768, 3),
    (384, 512, 3),
    (384, 1024, 3),
    (384, 4096, 4),
    (384, 8192, 4),
    (448, 16384, 4),
    (512, 8192, 4),
    (576, 8192, 6),
    (576, 32768, 6),
]
ASK = r"""
#include <cstdio>
#include <cstdlib>
#include "launch.cuh"

int main(int count, char** said) {
  for (int i = 1; i + 1 < count; i += 2) {
    std::printf("%d\n", rows::three_four_or_six(std::atoll(said[i]), std::atoll(said[i + 1]), {132, true}));
  }
}
"""


def run(folder: Path, program: str, *arguments: int) -> list[tuple[int, ...]]:
    """The numbers that a host program with `launch.cuh` prints, line by line."""
    (folder / "rule.cu").write_text(program)
    headers = catalogue.folder("rmsnorm") / "rmsnorm_cuda"
    command = [tool("nvcc"), "-std=c++17", f"-I{headers}", "-o", "rule", "rule.cu"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    said = subprocess.run([str(folder / "rule"), *map(str, arguments)], check=True, capture_output=True, text=True).stdout
    return [tuple(map(int, line.split())) for line in said.splitlines()]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, ...]]:
    """Of many rows and devices: vectors, rows, whether clusters are there, prefers, most; threads, rows a block, vectors a
    thread, blocks."""
    return run(tmp_path_factory.mktemp("rule"), PROGRAM)


def test_layer_norms_take_as_many_vectors_as_were_fastest(tmp_path: Path) -> None:
    asked = [number for vectors, rows, _ in LAYER_NORMS for number in (vectors, rows)]
    assert run(tmp_path, ASK, *asked) == [(fastest,) for _, _, fastest in LAYER_NORMS]


def test_rows_fit(shapes: list[tuple[int, ...]]) -> None:
    assert len(shapes) > 5000
    for vectors, _rows, clusters, prefers, most, threads, rows_per_block, per_thread, blocks in shapes:
        case = (vectors, prefers, most, threads, rows_per_block, per_thread, blocks)
        if per_thread == 0:
            held = most * MOST_THREADS[most] * (8 if clusters else 1)
            assert (threads, rows_per_block, blocks) == (1024, 1, 1) and vectors > held, case
            continue
        assert threads * per_thread * blocks >= vectors, case
        assert threads <= MOST_THREADS[per_thread] and threads * rows_per_block <= 1024, case
        assert threads % 32 == 0 or 32 % threads == 0, case
        assert per_thread in {prefers, 4, most}, case
        # A cluster's blocks share one row: `launch` counts them so, and kernels look for theirs so.
        assert blocks == 1 or (rows_per_block == 1 and clusters and blocks <= 8), case
        # `exchange` counts on whole warps, as many lanes as there are blocks at least, and a power of two of them.
        assert blocks == 1 or (threads % 32 == 0 and blocks in {2, 4, 8}), case


def test_no_thread_is_there_for_nothing(shapes: list[tuple[int, ...]]) -> None:
    for vectors, *_rest, threads, _rows_per_block, per_thread, blocks in shapes:
        if per_thread and threads > 32:
            assert (threads - 32) * per_thread * blocks < vectors


def test_clusters_are_of_small_blocks(shapes: list[tuple[int, ...]]) -> None:
    for vectors, rows, clusters, prefers, most, threads, _rows_per_block, per_thread, blocks in shapes:
        if clusters and per_thread and vectors > 2048:
            # Layer norms, which prefer three vectors here, take rows of 64 KB with one block.
            alone = prefers == 3 and most == 8 and vectors <= 4096
            assert blocks == 8 or threads <= (512 if alone else 256)
            assert not alone or blocks == 1 or rows <= 66
            # No more of them than it takes, unless rows are few.
            assert blocks == 1 or rows <= 66 or vectors > blocks // 2 * most * 256


def test_few_rows_are_spread(shapes: list[tuple[int, ...]]) -> None:
    held = [case for case in shapes if case[-2] > 0]
    assert {case[-1] for case in held if case[2] and case[1] <= 2 and case[0] > 2048} == {8}
    assert {case[-1] for case in held if case[1] == 70000 and case[0] <= 2048} == {1}
