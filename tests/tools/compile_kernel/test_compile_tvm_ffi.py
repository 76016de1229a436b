"""A tvm-ffi project: its functions reach Python without torch's dispatcher, and its variant is named for tvm-ffi's version."""

from __future__ import annotations

import dataclasses
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Compile

from kernelwright.tools import toolchain as toolchains
from kernelwright.tools.compile_kernel import dependencies
from kernelwright.tools.project import Project
from kernelwright.tools.tool import ToolError

BUILD_TOML = """\
[general]
name = "double-ffi"
version = 1
edition = 5
license = "Apache-2.0"
backends = ["cuda", "cpu"]

[tvm-ffi]
src = ["tvm-ffi-ext/binding.cpp"]
include = ["common"]

[kernel.double_cpu]
backend = "cpu"
depends = []
include = ["common"]
src = ["double_cpu/double.cpp", "common/launch.h"]

[kernel.double_cuda]
backend = "cuda"
depends = []
include = ["common"]
src = ["double_cuda/double.cu", "common/launch.h"]
"""

LAUNCH = """\
#pragma once
#include <cstdint>

void twice_launch(float* out, const float* in, int64_t n);
"""

CPU = """\
#include "launch.h"

void twice_launch(float* out, const float* in, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    out[i] = 2 * in[i];
  }
}
"""

CUDA = """\
#include "launch.h"

__global__ void twice_kernel(float* out, const float* in, int64_t n) {
  int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x;
  if (i < n) {
    out[i] = 2 * in[i];
  }
}

void twice_launch(float* out, const float* in, int64_t n) {
  twice_kernel<<<static_cast<unsigned>((n + 255) / 256), 256>>>(out, in, n);
}
"""

BINDING = """\
#include <tvm/ffi/tvm_ffi.h>

#include "launch.h"

void twice(tvm::ffi::TensorView out, tvm::ffi::TensorView in) {
  TVM_FFI_CHECK(out.numel() == in.numel(), ValueError) << "out and in differ in size";
  twice_launch(static_cast<float*>(out.data_ptr()), static_cast<const float*>(in.data_ptr()), in.numel());
}

TVM_FFI_DLL_EXPORT_TYPED_FUNC(twice, twice);
"""

INIT = """\
import tvm_ffi

from ._ops import ops


def twice(x, out):
    ops.twice(tvm_ffi.from_dlpack(out), tvm_ffi.from_dlpack(x))
    return out
"""

USE = """\
import sys
sys.path.insert(0, sys.argv[1])
import torch
from double_ffi import twice
x = torch.arange(5, dtype=torch.float32)
print(twice(x, torch.empty_like(x)).tolist())
try:
    twice(x, torch.empty(4))
except ValueError as error:
    print(error)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "double-ffi"
    files = {
        "build.toml": BUILD_TOML,
        "common/launch.h": LAUNCH,
        "double_cpu/double.cpp": CPU,
        "double_cuda/double.cu": CUDA,
        "tvm-ffi-ext/binding.cpp": BINDING,
        "tvm-ffi-ext/double_ffi/__init__.py": INIT,
    }
    for relative, text in files.items():
        path = folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


@pytest.mark.skipif(importlib.util.find_spec("tvm_ffi") is None, reason="needs apache-tvm-ffi")
def test_both_backends_of_a_tvm_ffi_project_compile_and_the_cpu_one_computes(project: Path, compile_here: Compile) -> None:
    version = dependencies.tvm_ffi_version(toolchains.detect(Path(sys.executable)))
    digits = "".join(version.split(".")[:2])
    cuda = compile_here(project, backend="cuda", archs=["sm_90"])
    assert cuda.status == "ok", cuda.diagnostics
    assert cuda.variant.startswith(f"tvm-ffi{digits}-cu")
    assert [kernel.name for kernel in cuda.kernels] == ["twice_kernel"]

    cpu = compile_here(project, backend="cpu")
    assert cpu.status == "ok", cpu.diagnostics
    assert cpu.variant.startswith(f"tvm-ffi{digits}-cpu-")
    argv = [sys.executable, "-c", USE, str(project / "build" / cpu.variant)]
    used = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True, cwd=project.parent)
    values, refusal = used.stdout.splitlines()
    assert values == "[0.0, 2.0, 4.0, 6.0, 8.0]"
    assert refusal.endswith("out and in differ in size")


def test_a_host_without_tvm_ffi_is_told_the_command_that_brings_it(
    project: Path, compile_here: Compile, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = toolchains.detect
    bare = dataclasses.replace(real(Path(sys.executable)).python, paths=())
    monkeypatch.setattr(toolchains, "detect", lambda *a, **k: dataclasses.replace(real(*a, **k), python=bare))
    assert Project.open(project).build.binding.framework == "tvm-ffi"
    with pytest.raises(ToolError) as caught:
        compile_here(project, backend="cpu")
    assert caught.value.code == "toolchain_missing"
    assert "pip install apache-tvm-ffi" in caught.value.hint
