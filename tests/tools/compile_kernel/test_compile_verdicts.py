"""What compiles and loads and would still go wrong is said: launches that no GPU takes, ops that are not what they declare."""

from __future__ import annotations

import re
from pathlib import Path

import compile_project_files
import pytest
from compile_project_files import BINDING, BUILD_TOML, CUDA, INIT, line_of
from conftest import Compile

from kernelwright.tools.compile_kernel import diagnostics
from kernelwright.tools.compile_kernel.registrations import parse, torch_type

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


# One op for each way to disagree, all in one library, which is compiled and imported once.
DECLARED = """\
  ops.def("unwritten(Tensor out, Tensor input) -> ()");
  ops.def("looks(Tensor input) -> Tensor");
  ops.def("narrow(Tensor(a!) out, float factor, int n, Tensor? more=None) -> ()");
  ops.def("fewer(Tensor(a!) out, int n) -> ()");
  ops.def("handback(Tensor(a!) out) -> Tensor(a!)");
  ops.def("strict(Tensor(a!) out, float factor=1.0) -> ()");
  ops.def("unfaked(Tensor(a!) out) -> ()");
  ops.def("fine(Tensor(a!) out, Tensor[] more, str way, float factor=1.0, *, int n=1) -> (Tensor, int)");
"""
FUNCTIONS = """\
void unwritten(torch::stable::Tensor& out, const torch::stable::Tensor& input) {}
torch::stable::Tensor looks(torch::stable::Tensor& input) { return input; }
void narrow(torch::stable::Tensor& out, float factor, int64_t n, std::optional<torch::stable::Tensor> more) {}
void one(torch::stable::Tensor& out) {}
void strict(torch::stable::Tensor out, double factor) {}
namespace {
std::tuple<torch::stable::Tensor, int64_t> fine(const torch::stable::Tensor& out, std::vector<torch::stable::Tensor> more,
                                                std::string way, const double factor, int64_t n) {
  return {out, n};
}
}  // namespace

STABLE_TORCH_LIBRARY_IMPL_EXPAND(TORCH_EXTENSION_NAME, CPU, ops) {
  ops.impl("unwritten", TORCH_BOX(&unwritten));
  ops.impl("looks", TORCH_BOX(&looks));
  ops.impl("narrow", TORCH_BOX(&narrow));
  ops.impl("fewer", TORCH_BOX(&one));
  ops.impl("handback", TORCH_BOX(&one));
  ops.impl("strict", TORCH_BOX(&strict));
  ops.impl("unfaked", TORCH_BOX(&one));
  ops.impl("fine", TORCH_BOX(&fine));
}
"""
FAKES = """

for name in ("unwritten", "looks", "narrow", "fewer", "handback"):
    torch.library.register_fake(add_op_namespace_prefix(name), lambda *args: None)
torch.library.register_fake(add_op_namespace_prefix("fine"), lambda out, more, way, factor=1.0, *, n=1: (out, n))
torch.library.register_fake(add_op_namespace_prefix("strict"), lambda out, factor: None)
"""
SAID = {
    "unwritten": ["returns nothing and declares nothing as written (out in C++)"],
    "looks": ["takes tensors of looks as Tensor&"],
    "narrow": ["declares factor as float, narrow() takes float"],
    "fewer": ["declares 2 arguments, one() takes 1"],
    "handback": ["declares 1 results, one() returns 0", "returns a tensor that it was given"],
    "strict": ["missing a required argument: 'factor', which torch leaves out where it is at its default"],
    "unfaked": ["has no fake kernel"],
    "fine": [],
}


def test_ops_that_are_not_what_they_declare(tmp_path: Path, compile_here: Compile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnostics, "MAX_WARNINGS", 20)
    toml = BUILD_TOML.replace('"2.9"', '"2.10"')
    first = '  ops.def("scale('
    binding = BINDING.replace(first, DECLARED + first).replace("REGISTER_EXTENSION(", FUNCTIONS + "\nREGISTER_EXTENSION(")
    init = INIT + FAKES
    changes = {"build.toml": toml, "torch-ext/torch_binding.cpp": binding, "torch-ext/scale/__init__.py": init}
    project = compile_project_files.write(tmp_path / "scale", changes)
    for cached in (False, True):
        result = compile_here(project, backend="cpu")
        assert (result.status, result.cached) == ("ok", cached), result.markdown()
        for op, words in SAID.items():
            about = [d for d in result.diagnostics if re.search(rf"\b{op}\b", d.message)]
            assert len(about) == len(words), (op, about)
            assert all(any(word in d.message for d in about) for word in words), about
        assert sum(map(len, SAID.values())) == len(result.diagnostics)
        assert all(d.severity in {"warning", "note"} and d.line for d in result.diagnostics)
        (fake,) = [d for d in result.diagnostics if "missing a required" in d.message]
        assert (fake.file, fake.line) == ("torch-ext/scale/__init__.py", line_of(init, 'prefix("strict")'))


LATE = """\
import torch


def scale(input: torch.Tensor, factor: float) -> torch.Tensor:
    from ._ops import ops

    out = torch.empty_like(input)
    ops.scale(out, input, factor)
    return out
"""


def test_a_package_that_loads_its_library_at_the_first_call_is_loaded_too(tmp_path: Path, compile_here: Compile) -> None:
    project = compile_project_files.write(tmp_path / "scale", {"torch-ext/scale/__init__.py": LATE})
    result = compile_here(project, backend="cpu")
    assert result.status == "ok", result.markdown()
    # What is said of an op tells that it was found.
    (warning,) = result.diagnostics
    assert "the op scale has no fake kernel" in warning.message


LISTED = """\
0000000000004960 t torch::stable::detail::boxer<void (torch::stable::Tensor&, double), &(ns::boxed(torch::stable::Tensor&, \
double))>::boxed_fn(unsigned long*, unsigned long, unsigned long)
0000000000004070 t torch::stable::detail::boxer<std::tuple<torch::stable::Tensor, long> (std::vector<long, \
std::allocator<long> >), &(anonymous namespace)::hidden>::boxed_fn(unsigned long*, unsigned long, unsigned long)
0000000000003000 t ns::boxed(torch::stable::Tensor&, double)
0000000000003010 T (anonymous namespace)::full(at::Tensor&, at::Tensor const&, std::optional<at::Tensor> const&, double)
0000000000003011 t full(at::Tensor&, at::Tensor const&, std::optional<at::Tensor> const&, double) [clone .cold]
0000000000003020 t twice(at::Tensor&)
0000000000003030 t twice(at::Tensor&, long)
0000000000003040 t launch(float*, long)
0000000000003050 t torch::stable::Tensor::size(long) const [clone .part.0]
"""


def test_signatures_in_a_list_of_symbols() -> None:
    assert parse(LISTED) == {
        "boxed": ["void", "torch::stable::Tensor&", "double"],
        "hidden": ["std::tuple<torch::stable::Tensor, long>", "std::vector<long, std::allocator<long> >"],
        "full": ["", "at::Tensor&", "at::Tensor const&", "std::optional<at::Tensor> const&", "double"],
    }


def test_types_of_schemas() -> None:
    known = {
        "torch::stable::Tensor const&": "Tensor",
        "at::Tensor&": "Tensor",
        "std::optional<torch::stable::Tensor> const&": "Optional[Tensor]",
        "std::vector<long, std::allocator<long> >": "List[int]",
        "torch::headeronly::HeaderOnlyArrayRef<double>": "List[float]",
        "std::optional<std::vector<long, std::allocator<long> > >": "Optional[List[int]]",
        "std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char> >": "str",
        "std::basic_string_view<char, std::char_traits<char> >": "str",
        "c10::ArrayRef<at::Tensor>": "List[Tensor]",
        "c10::OptionalArrayRef<long>": "",
        "int": "",
        "std::vector<Own, std::allocator<Own> >": "",
    }
    assert {cxx: torch_type(cxx) for cxx in known} == known
