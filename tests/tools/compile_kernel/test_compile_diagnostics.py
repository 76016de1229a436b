"""Compilers' words, as they were recorded, become places and causes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernelwright.tools.compile_kernel.contract import Diagnostic
from kernelwright.tools.compile_kernel.diagnostics import MAX_MESSAGE, ordered, parse
from kernelwright.tools.compile_kernel.hints import hint
from kernelwright.tools.compile_kernel.sources import Sources

KERNEL = """\
#include "sum.cuh"

__global__ void loop(float* x) {
  asm volatile("wgmma.fence.sync.aligned;");
  x[0] = sum<float>(x);
}
"""


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    (tmp_path / "cuda").mkdir()
    (tmp_path / "cuda" / "loop.cu").write_text(KERNEL)
    (tmp_path / "cuda" / "sum.cuh").write_text("template <class T>\n__device__ T sum(T* x) { return x->y; }\n")
    (tmp_path / "bind.cpp").write_text("#include <torch/extension.h>\nvoid launch(float*);\nint bad = launch;\n")
    return Sources(tmp_path)


def first(log: str, sources: Sources, unit: str = "cuda/loop.cu") -> Diagnostic:
    return ordered(parse(log, sources, unit))[0]


def test_gxx_with_line_column_and_source(sources: Sources) -> None:
    found = first("bind.cpp:3:11: error: invalid conversion from 'void (*)(float*)' to 'int' [-fpermissive]\n", sources)
    assert (found.file, found.line, found.column, found.source) == ("bind.cpp", 3, 11, "int bad = launch;")


def test_nvcc_marks_its_column_below_the_source(sources: Sources) -> None:
    log = 'cuda/loop.cu(5): error: identifier "summ" is undefined\n    x[0] = summ<float>(x);\n           ^\n'
    found = first(log, sources)
    assert (found.file, found.line, found.column, found.severity) == ("cuda/loop.cu", 5, 10, "error")


def test_an_error_inside_a_header_of_torch_is_placed_where_the_project_includes_it(sources: Sources) -> None:
    log = (
        "In file included from bind.cpp:1:\n"
        '/torch/include/torch/extension.h:13:2: error: #error "This file should not be included when either '
        'TORCH_STABLE_ONLY or TORCH_TARGET_VERSION is defined."\n'
    )
    found = first(log, sources, "bind.cpp")
    assert (found.file, found.line) == ("bind.cpp", 1)
    assert "extension.h:13" in found.message
    assert "torch/csrc/stable" in found.hint


def test_a_template_error_is_placed_where_the_project_instantiates_it(sources: Sources) -> None:
    log = (
        "/usr/include/c++/12/bits/x.h: In instantiation of 'void f(T) [with T = int]':\n"
        "bind.cpp:3:11:   required from here\n"
        "/usr/include/c++/12/bits/x.h:10:3: error: no match for 'operator<'\n"
    )
    found = first(log, sources, "bind.cpp")
    assert (found.file, found.line) == ("bind.cpp", 3)


def test_an_error_in_a_header_of_the_compiler_is_placed_where_the_project_calls_it(sources: Sources) -> None:
    log = (
        "/usr/lib/gcc/x/avx512fintrin.h: In function 'f._omp_fn.0':\n"
        "/usr/lib/gcc/x/avx512fintrin.h:248:1: error: inlining failed in call to 'f': target specific option mismatch\n"
        "  248 | _mm512_set1_ps (float __A)\n"
        "      | ^~~~~~~~~~~~~~\n"
        "bind.cpp:3:11: note: called from here\n"
    )
    found = first(log, sources, "bind.cpp")
    assert (found.file, found.line) == ("bind.cpp", 3)
    assert "cxx-flags" in found.hint


@pytest.mark.parametrize(
    ("included", "folder"), [("warp.cuh", "deep/reduce"), ("reduce/warp.cuh", "deep"), ("deep/reduce/warp.cuh", ".")]
)
def test_a_header_that_lies_elsewhere_in_the_project_is_shown(sources: Sources, included: str, folder: str) -> None:
    for place in ("deep/reduce", "build/old/deep/reduce"):
        (sources.root / place).mkdir(parents=True)
        (sources.root / place / "warp.cuh").touch()
    found = first(f"cuda/loop.cu:1:10: fatal error: {included}: No such file or directory\n", sources)
    assert found.hint.startswith(f'It is deep/reduce/warp.cuh: add "{folder}" to include')


def test_a_hint_is_about_the_words_not_about_what_else_stands_in_the_line() -> None:
    line = (
        "torch::Tensor scaled(const torch::Tensor& x, std::vector<int64_t> sizes) { TORCH_CHECK(x.dim() == 2); __syncthreads();"
    )
    assert "semicolon" in hint("expected ';' before 'TORCH_CHECK'", line, "bind.cu")
    assert hint("unknown words", line, "bind.cu") == ""
    assert "STD_TORCH_CHECK" in hint("'TORCH_CHECK' was not declared in this scope", line, "bind.cpp")
    assert "torch::stable::Tensor" in hint("'Tensor' in namespace 'torch' does not name a type", line, "bind.cpp")


def test_ptxas_knows_no_lines_but_the_instruction_is_found(sources: Sources) -> None:
    log = (
        "ptxas /tmp/x.ptx, line 25; error   : Instruction 'wgmma.fence' cannot be compiled for architecture 'sm_90'\n"
        "ptxas fatal   : Ptx assembly aborted due to errors\n"
    )
    found = ordered(parse(log, sources, "cuda/loop.cu"))
    assert len(found) == 1
    assert (found[0].file, found[0].line) == ("cuda/loop.cu", 4)
    assert "9.0a" in found[0].hint


def test_ptxas_names_the_kernel(sources: Sources) -> None:
    log = "ptxas error   : Entry function '_Z4loopPf' uses too much shared data (0x40000 bytes, 0x38c00 max)\n"
    found = first(log, sources)
    assert (found.file, found.line) == ("cuda/loop.cu", 3)
    assert "dynamic" in found.hint.lower()


@pytest.mark.parametrize(
    ("message", "wheel"),
    [
        ("fatal error: curand_kernel.h: No such file or directory", "nvidia-curand "),
        ("error: 'cublasLtMatmul' was not declared in this scope", "nvidia-cublas "),
        ("fatal error: nvrtc.h: No such file or directory", "nvidia-cuda-nvrtc "),
        ("error: 'cudnnHandle_t' does not name a type", "nvidia-cudnn-cu13 "),
    ],
)
def test_a_missing_library_of_cuda_is_named_with_its_wheel(sources: Sources, message: str, wheel: str) -> None:
    assert wheel in first(f"bind.cpp:1:10: {message}\n", sources, "bind.cpp").hint


def test_a_name_that_only_resembles_a_library_is_none_of_its(sources: Sources) -> None:
    found = first("bind.cpp:1:10: error: 'my_curand' was not declared in this scope\n", sources, "bind.cpp")
    assert "nvidia" not in found.hint


def test_the_linker_over_two_lines(sources: Sources) -> None:
    log = (
        "/usr/bin/ld: /w/renamed/1.o: in function `launch(float*)':\n"
        "b.cpp:(.text+0x0): multiple definition of `launch(float*)'; /w/renamed/0.o:a.cpp:(.text+0x0): first defined here\n"
        "collect2: error: ld returned 1 exit status\n"
    )
    found = first(log, sources, "")
    assert (found.file, found.line) == ("bind.cpp", 2)


def test_the_same_error_of_two_architectures_is_one(sources: Sources) -> None:
    line = "ptxas error   : Entry function '_Z4loopPf' uses too much shared data for sm_{}\n"
    assert len(ordered(parse(line.format("80") + line.format("90a"), sources, "cuda/loop.cu"))) == 1


def test_errors_come_first_and_a_flood_is_short(sources: Sources) -> None:
    log = "bind.cpp:1:1: warning: unused\n" + "".join(f"bind.cpp:{n}:1: error: bad {'x' * 5000} {n}\n" for n in range(1, 400))
    found = ordered(parse(log, sources, "bind.cpp"))
    assert found[0].severity == "error"
    assert found[0].line == 1
    assert len(found) < 10
    assert all(len(d.message) <= MAX_MESSAGE for d in found)
    assert sum(len(d.model_dump_json()) for d in found) < 4000


def test_the_same_hint_is_given_once(sources: Sources) -> None:
    log = "bind.cpp:2:1: error: 'a' was not declared in this scope\nbind.cpp:3:1: error: 'b' was not declared in this scope\n"
    found = ordered(parse(log, sources, "bind.cpp"))
    assert [bool(d.hint) for d in found] == [True, False]


def test_lines_outside_the_project_are_not_shown(sources: Sources, tmp_path: Path) -> None:
    secret = tmp_path.parent / "secret.txt"
    secret.write_text("password")
    for name in (str(secret), "../secret.txt"):
        found = first(f"{name}:1:1: error: stray text\n", sources)
        assert found.file == ""
        assert found.source == ""


def test_invalid_utf8_is_shown_as_such(sources: Sources) -> None:
    (sources.root / "bytes.cpp").write_bytes(b"int \xff\xfe = 1;\n")
    found = first("bytes.cpp:1:5: error: stray '\\377' in program\n", sources)
    assert found.source.startswith("int \ufffd")
    assert "UTF-8" in found.hint


def test_the_cuda_hint_is_for_cpp_files_only() -> None:
    assert ".cu" in hint("'__global__' does not name a type", "__global__ void f() {}", "a.cpp")
    assert "nvcc only" not in hint('identifier "f" is undefined', "f<<<1, 2>>>();", "a.cu")


def test_only_what_ops_lacks_is_blamed_on_the_declarations() -> None:
    failed = "import of the built package failed: AttributeError: "
    assert "ops.def" in hint(failed + "'_OpNamespace' '_relu_cpu_1234567' object has no attribute 'rely'")
    assert "ops.def" not in hint(failed + "module 'cutlass.cute.core' has no attribute 'ThrMma'")


def test_device_code_of_another_source_is_told_to_move_into_a_header(sources: Sources) -> None:
    found = first("ptxas fatal   : Unresolved extern function '_Z4loopPf'\n", sources)
    assert (found.file, found.line) == ("cuda/loop.cu", 3)
    assert "in a header" in found.hint
    copied = "cuda/loop.cu(3): warning #20044-D: extern declaration of the entity t is treated as a static definition\n"
    assert "a copy of its own" in first(copied, sources).hint


@given(st.text(max_size=300))
def test_any_words_are_parsed_without_an_error_of_our_own(tmp_path_factory: pytest.TempPathFactory, log: str) -> None:
    parse(log, Sources(tmp_path_factory.getbasetemp()), "x.cu")
