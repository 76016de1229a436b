"""A small stable-ABI project, `scale`, that compiles as it is: what the tests of compiling start from, one edit at a time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

BUILD_TOML = """\
[general]
name = "scale"
version = 1
edition = 5
license = "Apache-2.0"
backends = ["cuda", "cpu"]

[torch]
src = ["torch-ext/torch_binding.cpp"]

[torch.stable-abi]
cuda = "2.9"
cpu = "2.9"

[kernel.scale_cuda]
backend = "cuda"
depends = ["torch"]
src = ["scale_cuda/scale.cu"]

[kernel.scale_cpu]
backend = "cpu"
depends = ["torch"]
src = ["scale_cpu/scale.cpp"]
"""

CUDA = """\
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

__global__ void scale_kernel(float* out, const float* in, float factor, int64_t n) {
  int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x;
  if (i < n) {
    out[i] = in[i] * factor;
  }
}

void scale_launch(float* out, const float* in, float factor, int64_t n, void* stream) {
  unsigned blocks = static_cast<unsigned>((n + 255) / 256);
  scale_kernel<<<blocks, 256, 0, static_cast<cudaStream_t>(stream)>>>(out, in, factor, n);
}
"""

CPU = """\
#include <cstdint>

void scale_launch(float* out, const float* in, float factor, int64_t n, void*) {
  for (int64_t i = 0; i < n; ++i) {
    out[i] = in[i] * factor;
  }
}
"""

BINDING = """\
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/Exception.h>

#include "registration.h"

void scale_launch(float* out, const float* in, float factor, int64_t n, void* stream);

#if defined(CUDA_KERNEL)
extern "C" AOTITorchError aoti_torch_get_current_cuda_stream(int32_t device_index, void** stream);
#endif

void scale(torch::stable::Tensor& out, const torch::stable::Tensor& input, double factor) {
  STD_TORCH_CHECK(out.numel() == input.numel(), "out and input differ in size");
  void* stream = nullptr;
#if defined(CUDA_KERNEL)
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(input.get_device_index(), &stream));
#endif
  scale_launch(static_cast<float*>(out.data_ptr()), static_cast<const float*>(input.data_ptr()),
               static_cast<float>(factor), input.numel(), stream);
}

STABLE_TORCH_LIBRARY_EXPAND(TORCH_EXTENSION_NAME, ops) {
  ops.def("scale(Tensor(a!) out, Tensor input, float factor) -> ()");
}

#if defined(CUDA_KERNEL)
STABLE_TORCH_LIBRARY_IMPL_EXPAND(TORCH_EXTENSION_NAME, CUDA, ops) {
  ops.impl("scale", TORCH_BOX(&scale));
}
#else
STABLE_TORCH_LIBRARY_IMPL_EXPAND(TORCH_EXTENSION_NAME, CPU, ops) {
  ops.impl("scale", TORCH_BOX(&scale));
}
#endif

REGISTER_EXTENSION(TORCH_EXTENSION_NAME)
"""

INIT = """\
import torch

from ._ops import add_op_namespace_prefix, ops


@torch.library.register_fake(add_op_namespace_prefix("scale"))
def _(out: torch.Tensor, input: torch.Tensor, factor: float) -> None:
    return None


def scale(input: torch.Tensor, factor: float) -> torch.Tensor:
    out = torch.empty_like(input)
    ops.scale(out, input, factor)
    return out


__all__ = ["scale"]
"""

FILES: Mapping[str, str] = {
    "build.toml": BUILD_TOML,
    "scale_cuda/scale.cu": CUDA,
    "scale_cpu/scale.cpp": CPU,
    "torch-ext/torch_binding.cpp": BINDING,
    "torch-ext/scale/__init__.py": INIT,
}


def write(folder: Path, changes: Mapping[str, str] | None = None) -> Path:
    """The project in `folder`, with files of `changes` instead of its own or beside them."""
    for relative, text in {**FILES, **(changes or {})}.items():
        path = folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def line_of(text: str, part: str) -> int:
    """1-based number of the first line of `text` that contains `part`."""
    return next(number for number, line in enumerate(text.splitlines(), 1) if part in line)
