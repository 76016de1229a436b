"""Broken projects: one edit of a good one each, and what a useful answer to it names: file, line and what the hint is about."""

from __future__ import annotations

from dataclasses import dataclass

from compile_project_files import BINDING, BUILD_TOML, CPU, CUDA, FILES, INIT, line_of

CU, CPP, BIND, PY, TOML = (
    "scale_cuda/scale.cu",
    "scale_cpu/scale.cpp",
    "torch-ext/torch_binding.cpp",
    "torch-ext/scale/__init__.py",
    "build.toml",
)
_TEXT = {CU: CUDA, CPP: CPU, BIND: BINDING, PY: INIT, TOML: BUILD_TOML}


@dataclass(frozen=True)
class Broken:
    """`old` in `file` becomes `new`; the first error is at the line of `at` (or of `new`) in `place`, its hint says `hint`."""

    name: str
    file: str
    old: str
    new: str
    hint: str
    at: str = ""
    place: str = ""
    archs: tuple[str, ...] = ("9.0a",)
    no_line: bool = False

    @property
    def backend(self) -> str:
        """The backend whose compile shows the error."""
        return "cuda" if self.file == CU else "cpu"

    @property
    def files(self) -> dict[str, str]:
        """The files of the broken project."""
        text = _TEXT[self.file]
        assert self.old in text, f"{self.name}: {self.old!r} is not in {self.file}"
        return {**FILES, self.file: text.replace(self.old, self.new, 1)}

    @property
    def expected_file(self) -> str:
        """The file that the first error must name."""
        return self.place or self.file

    @property
    def expected_line(self) -> int:
        """The line that the first error must name; 0 where no line can be known."""
        if self.no_line:
            return 0
        return line_of(self.files[self.expected_file], self.at or self.new.splitlines()[0])


_BODY = "    out[i] = in[i] * factor;"
_HEAD = "#include <cstdint>\n"
_INDEX = "  int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x;"
_KERNEL = "__global__ void scale_kernel(float* out, const float* in, float factor, int64_t n) {"

BROKEN: tuple[Broken, ...] = (
    # The language itself.
    Broken("semicolon_cuda", CU, _BODY, "    out[i] = in[i] * factor", "semicolon", at="  }"),
    Broken("semicolon_cpu", CPP, _BODY, "    out[i] = in[i] * factor", "semicolon"),
    Broken("undeclared_cuda", CU, _BODY, "    out[i] = in[i] * facto;", "declare"),
    Broken("undeclared_cpu", CPP, _BODY, "    out[i] = in[i] * facto;", "declare"),
    Broken(
        "missing_brace",
        CPP,
        "    out[i] = in[i] * factor;\n  }\n}",
        "    out[i] = in[i] * factor;\n  }\n",
        "brace",
        at="  }",
        no_line=False,
    ),
    Broken("missing_header", CU, "#include <cstdint>", '#include "reduce.cuh"', "include"),
    Broken("missing_header_cpu", CPP, "#include <cstdint>", '#include "vector_math.h"', "include"),
    Broken("float_modulo", CU, _BODY, "    out[i] = in[i] % factor;", "fmod"),
    Broken("const_write", CU, _BODY, "    in[i] = factor;", "const"),
    Broken("wrong_argument_count", CU, "(out, in, factor, n);\n}", "(out, in, n);\n}", "argument", at="(out, in, n);"),
    # Host and device.
    Broken(
        "host_call_in_kernel",
        CU,
        _KERNEL,
        "float twice(float x) { return 2 * x; }\n"
        + _KERNEL.replace("float factor", "float f")
        + "\n  float factor = twice(f);",
        "__device__",
        at="float factor = twice(f);",
    ),
    Broken(
        "host_function_in_kernel",
        CU,
        _INDEX,
        '  std::getenv("HOME");\n' + _INDEX,
        "host",
        at='std::getenv("HOME");',
    ),
    Broken("kernel_returns", CU, "__global__ void scale_kernel", "__global__ int scale_kernel", "void"),
    Broken("printf_without_header", CU, _BODY, '    printf("%f", in[i]);', "cstdio"),
    Broken(
        "barrier_on_host",
        CU,
        "  unsigned blocks =",
        "  __syncthreads();\n  unsigned blocks =",
        "__device__",
        at="__syncthreads",
    ),
    Broken(
        "launch_without_configuration",
        CU,
        "scale_kernel<<<blocks, 256, 0, static_cast<cudaStream_t>(stream)>>>(out",
        "scale_kernel(out",
        "<<<",
    ),
    Broken(
        "launch_in_cpp",
        CPP,
        "  for (int64_t i",
        "  scale_kernel<<<1, 256>>>(out);\n  for (int64_t i",
        ".cu",
        at="scale_kernel<<<1, 256>>>",
    ),
    Broken(
        "global_in_cpp",
        CPP,
        "void scale_launch",
        "__global__ void scale_kernel() {}\nvoid scale_launch",
        ".cu",
        at="__global__",
    ),
    Broken("stream_type", CU, "static_cast<cudaStream_t>(stream)", "stream", "cudaStream_t", at="256, 0, stream"),
    # Precision.
    Broken(
        "bf16_times_float",
        CU,
        _BODY,
        "    __nv_bfloat16 b = __float2bfloat16(in[i]);\n    __half h = b;\n    out[i] = factor;",
        "convert",
        at="__half h = b;",
    ),
    Broken(
        "ambiguous_half_operator",
        CU,
        _BODY,
        "    struct P {\n      __device__ operator float() const { return 1; }\n"
        "      __device__ operator double() const { return 1; }\n    } p;\n    out[i] = p * factor;",
        "ambiguous",
        at="out[i] = p * factor;",
    ),
    Broken("missing_bf16_header", CU, "#include <cuda_bf16.h>\n", "__device__ __nv_bfloat16 one();\n", "cuda_bf16.h"),
    # What ptxas refuses.
    Broken(
        "static_shared_too_large",
        CU,
        _INDEX,
        "  __shared__ float tile[65536];\n  tile[threadIdx.x] = in[0];\n  __syncthreads();\n"
        + _INDEX.replace("threadIdx.x;", "threadIdx.x + int64_t(tile[0]);"),
        "48 KiB",
        at=_KERNEL,
    ),
    Broken(
        "wgmma_on_sm_90",
        CU,
        _INDEX,
        '  asm volatile("wgmma.fence.sync.aligned;");\n' + _INDEX,
        "9.0a",
        at="wgmma.fence",
        archs=("sm_90",),
    ),
    Broken(
        "setmaxnreg_on_sm_90",
        CU,
        _INDEX,
        '  asm volatile("setmaxnreg.inc.sync.aligned.u32 240;");\n' + _INDEX,
        "9.0a",
        at="setmaxnreg",
        archs=("sm_90",),
    ),
    Broken(
        "tcgen05_on_hopper",
        CU,
        _INDEX,
        '  asm volatile("tcgen05.fence::before_thread_sync;");\n' + _INDEX,
        "10.0a",
        at="tcgen05",
    ),
    Broken(
        "cp_async_on_turing",
        CU,
        _INDEX,
        '  asm volatile("cp.async.commit_group;");\n' + _INDEX,
        "8.0",
        at="cp.async",
        archs=("7.5",),
    ),
    Broken(
        "bf16_arithmetic_on_turing",
        CU,
        _INDEX,
        '  asm volatile("{.reg .b16 a; mov.b16 a, 0; fma.rn.bf16 a, a, a, a;}");\n' + _INDEX,
        "8.0",
        at="fma.rn.bf16",
        archs=("7.5",),
    ),
    Broken("ptx_typo", CU, _INDEX, '  asm volatile("mov.u33 %0, %1;" : : "r"(1), "r"(2));\n' + _INDEX, "PTX", at="mov.u33"),
    # Torch's side.
    Broken(
        "pybind",
        BIND,
        "#include <torch/csrc/stable/library.h>",
        "#include <pybind11/pybind11.h>\n#include <torch/csrc/stable/library.h>",
        "STABLE_TORCH_LIBRARY",
        at="pybind11.h",
    ),
    Broken(
        "torch_extension_h",
        BIND,
        "#include <torch/csrc/stable/library.h>",
        "#include <torch/extension.h>\n#include <torch/csrc/stable/library.h>",
        "torch/csrc/stable",
        at="torch/extension.h",
    ),
    Broken(
        "at_tensor_in_stable",
        BIND,
        "void scale(torch::stable::Tensor& out",
        "void scale(at::Tensor& out",
        "torch::stable::Tensor",
        at="at::Tensor",
    ),
    Broken(
        "pybind_module",
        BIND,
        "REGISTER_EXTENSION(TORCH_EXTENSION_NAME)",
        'PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) { m.def("scale", &scale); }',
        "REGISTER_EXTENSION",
    ),
    Broken(
        "unboxed_impl",
        BIND,
        'ops.impl("scale", TORCH_BOX(&scale));\n}\n#endif',
        'ops.impl("scale", &scale);\n}\n#endif',
        "TORCH_BOX",
    ),
    Broken(
        "hard_coded_namespace",
        BIND,
        "STABLE_TORCH_LIBRARY_EXPAND(TORCH_EXTENSION_NAME, ops)",
        "STABLE_TORCH_LIBRARY(scale, ops)",
        "TORCH_EXTENSION_NAME",
        at="STABLE_TORCH_LIBRARY(scale",
    ),
    Broken("schema_type", BIND, "float factor) -> ()", "double factor) -> ()", "float", at="ops.def("),
    Broken("schema_syntax", BIND, "float factor) -> ()", "float factor -> ()", "schema", at="ops.def("),
    Broken("impl_without_def", BIND, '  ops.def("scale(', '  ops.def("scaled(', "ops.def", at='ops.impl("scale"'),
    Broken("register_missing", BIND, "REGISTER_EXTENSION(TORCH_EXTENSION_NAME)\n", "\n", "REGISTER_EXTENSION", no_line=True),
    Broken(
        "instructions_without_their_flag",
        CPP,
        "#include <cstdint>\n",
        "#include <immintrin.h>\n\n#include <cstdint>\n\n"
        "float sum(const float* in) {\n  return _mm512_reduce_add_ps(_mm512_loadu_ps(in));\n}\n",
        "cxx-flags",
        at="return _mm512",
    ),
    Broken(
        "semicolon_before_a_container",
        CPP,
        "#include <cstdint>\n",
        "#include <cstdint>\n#include <vector>\n\nstatic int64_t made = 0\nstd::vector<float> kept(4);\n",
        "semicolon",
        at="std::vector<float> kept",
    ),
    Broken(
        "semicolon_before_a_barrier",
        CU,
        "    out[i] = in[i] * factor;",
        "    out[i] = in[i] * factor\n    __syncthreads();",
        "semicolon",
        at="__syncthreads();",
    ),
    # The link and what comes after it.
    Broken(
        "launcher_signature",
        CPP,
        "float factor, int64_t n, void*",
        "float factor, int n, void*",
        "signature",
        place=BIND,
        at="void scale_launch(",
    ),
    Broken(
        "call_signature",
        BIND,
        "input.numel(), stream);",
        "input.numel(), stream, 0);",
        "number and types",
        at="scale_launch(static_cast",
    ),
    Broken(
        "defined_twice",
        BIND,
        "void scale(torch::stable::Tensor& out",
        "void scale_launch(float*, const float*, float, int64_t, void*) {}\nvoid scale(torch::stable::Tensor& out",
        "static",
        place=CPP,
        at="void scale_launch(",
    ),
    Broken(
        "import_of_missing_module",
        PY,
        "import torch\n",
        "import torch\nimport flash_attn\n",
        "python-depends",
        at="import flash_attn",
    ),
    Broken(
        "op_declared_twice",
        BIND,
        '  ops.def("scale(Tensor(a!) out, Tensor input, float factor) -> ()");\n',
        '  ops.def("scale(Tensor(a!) out, Tensor input, float factor) -> ()");\n'
        '  ops.def("scale(Tensor(a!) out, Tensor input, float factor) -> ()");  // again\n',
        "overload",
        at="// again",
    ),
    Broken(
        "linkage_of_c_on_one_side",
        BIND,
        "void scale_launch(float* out",
        'extern "C" void scale_launch(float* out',
        "scale_cpu/scale.cpp:3 defines scale_launch() with another signature",
    ),
    Broken(
        "submodule_that_nobody_wrote",
        PY,
        "import torch\n",
        "import torch\n\nfrom .helper import helped\n",
        "write torch-ext/scale/helper.py",
        at="from .helper",
    ),
    Broken("python_syntax", PY, "    return out", "    return out)", "", at="return out)"),
    Broken("fake_for_unknown_op", PY, 'add_op_namespace_prefix("scale")', 'add_op_namespace_prefix("scaled")', "def"),
    Broken("absolute_import", PY, "from ._ops import", "from scale._ops import", "relative"),
    Broken(
        "attribute_of_ops",
        PY,
        "import torch\n\nfrom ._ops import add_op_namespace_prefix, ops\n",
        "import torch\n\nfrom ._ops import add_op_namespace_prefix, ops\n\nforward = ops.scale_forward\n",
        "def",
        at="ops.scale_forward",
    ),
    Broken(
        "exit_at_import", PY, "import torch\n", "import os\n\nimport torch\n\nos._exit(3)\n", "import", place="", no_line=True
    ),
)
