"""What compiles and loads and would still go wrong is said: launches that no GPU takes, ops that are not what they declare."""

from __future__ import annotations

from pathlib import Path

import compile_project_files
import pytest
from compile_project_files import CUDA, line_of
from conftest import Compile

TILE = """\
template <int N>
__global__ void tiled(float* out) {
  __shared__ float tile[N];
  for (int i = threadIdx.x; i < N; i += blockDim.x) tile[i] = out[i];
  __syncthreads();
  out[threadIdx.x] = tile[N - 1 - threadIdx.x];
}
template __global__ void tiled<12288>(float*);
template __global__ void tiled<16384>(float*);
template __global__ void tiled<50000>(float*);
"""


@pytest.mark.usefixtures("import_skipped")
def test_static_shared_memory_that_no_launch_is_granted(tmp_path: Path, compile_here: Compile) -> None:
    project = compile_project_files.write(tmp_path / "scale", {"scale_cuda/scale.cu": CUDA + TILE})
    for cached in (False, True):
        result = compile_here(project, backend="cuda", archs=["sm_90a"])
        assert (result.status, result.cached) == ("ok", cached), result.markdown()
        # ptxas takes all of them, and 48 KiB are granted.
        assert {49152, 65536, 200000} <= {kernel.shared_bytes for kernel in result.kernels}
        (warning,) = result.diagnostics
        assert (warning.severity, warning.file) == ("warning", "scale_cuda/scale.cu")
        assert warning.line == line_of(CUDA + TILE, "void tiled(")
        assert all(part in warning.message for part in ("tiled<50000>", "200000 bytes", "sm_90a", "49152"))
        assert "cudaFuncSetAttribute" in warning.hint
