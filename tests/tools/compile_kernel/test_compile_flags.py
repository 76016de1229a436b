"""Flags: what kernels use passes, what runs programs or opens files does not."""

from __future__ import annotations

import pytest

from kernelwright.tools.compile_kernel.flags import checked_cuda, checked_cxx
from kernelwright.tools.tool import ToolError

USED_CUDA = (
    "--expt-extended-lambda",
    "--expt-relaxed-constexpr",
    "--extended-lambda",
    "--extra-device-vectorization",
    "--ftemplate-backtrace-limit=0",
    "--ptxas-options=--verbose,--warn-on-local-memory-usage",
    "--threads=1",
    "--use_fast_math",
    "-DCTA256",
    "-DCUDA_HAS_FP16=1",
    "-O3",
    "-lineinfo",
    "-U__CUDA_NO_HALF_CONVERSIONS__",
    "-Wno-deprecated-declarations",
    "-Xfatbin=-compress-all",
    "-Xptxas=-v",
    "-diag-suppress=174",
    "-res-usage",
    "-std=c++17",
    "-std=c++20",
    "-maxrregcount=128",
    "-Xcompiler=-fopenmp,-O2",
    "-Xptxas=-O3,--allow-expensive-optimizations=true",
    "-static-global-template-stub=false",
    "-use_fast_math",
    "--fmad=false",
    "--compress-mode=size",
)
USED_CXX = (
    "-DCPU_CAPABILITY=AVX512",
    "-O3",
    "-fopenmp",
    "-g",
    "-lgomp",
    "-mamx-bf16",
    "-mavx2",
    "-mavx512vl",
    "-mf16c",
    "-mfma",
    "-march=native",
    "-std=c++17",
    "-ffast-math",
    "-funroll-loops",
    "-Wall",
    "-Wno-unused-variable",
    "-fno-exceptions",
    "-fvisibility=hidden",
    "-DNAME(x)=x",
)
HOSTILE = (
    "-fplugin=/tmp/evil.so",
    "-fplugin=evil.so",
    "-fplugin-arg-evil-run=1",
    "-include",
    "-include/etc/passwd",
    "-imacros/etc/passwd",
    "@/etc/passwd",
    "@flags",
    "-ccbin=/tmp/evil",
    "--compiler-bindir=/tmp",
    "-wrapper",
    "-wrapper,/tmp/evil",
    "-specs=/tmp/specs",
    "-B/tmp",
    "-Wa,-ahls=/tmp/x",
    "-Wl,-rpath,/tmp",
    "-Wp,-MD,/tmp/x",
    "-Wrapper",
    "-I/etc",
    "-I..",
    "-L/tmp",
    "-l:evil.a",
    "-o",
    "-o/tmp/x",
    "-MF/tmp/x",
    "-save-temps",
    "-fdump-tree-all",
    "-fprofile-use=/etc/passwd",
    "-ftest-coverage",
    "-fmodule-mapper=|/tmp/evil",
    "-fuse-ld=/tmp/evil",
    "-fsanitize-blacklist=/etc/passwd",
    "-x",
    "--sysroot=/",
    "-isystem/etc",
    "-E",
    "-D`id`",
    "-DX=$(id)",
    "-DX=a\nb",
    "-Xlinker=-rpath=/tmp",
    "-run",
    "--keep-dir=/tmp",
    "-dlink",
    "/etc/passwd",
    "evil.cu",
    "",
    "-",
    "--",
)


def test_flags_that_kernels_use_pass() -> None:
    assert checked_cuda(USED_CUDA, "[kernel.x]") == USED_CUDA
    assert checked_cxx(USED_CXX, "[torch]") == USED_CXX


def test_a_value_after_its_flag_is_joined_and_checked() -> None:
    assert checked_cuda(["-Xptxas", "-v", "-maxrregcount", "64"], "x") == ("-Xptxas=-v", "-maxrregcount=64")
    assert checked_cuda(["-Xcompiler -fopenmp"], "x") == ("-Xcompiler=-fopenmp",)
    for flags in (["-Xcompiler", "-fplugin=x.so"], ["-Xcompiler=-O2,-Wl,-rpath"], ["-Xptxas", "-o/tmp/x"], ["-Xptxas"]):
        with pytest.raises(ToolError):
            checked_cuda(flags, "x")


@pytest.mark.parametrize("flag", HOSTILE)
def test_flags_that_read_write_or_run_are_refused(flag: str) -> None:
    for check in (checked_cuda, checked_cxx):
        with pytest.raises(ToolError) as caught:
            check([flag] if flag else ["-O2", flag, "-Xptxas"], "[kernel.x]")
        assert caught.value.code == "bad_argument"
        assert "[kernel.x]" in caught.value.message
        assert caught.value.hint


def test_an_architecture_is_asked_for_elsewhere() -> None:
    with pytest.raises(ToolError) as caught:
        checked_cuda(["-gencode=arch=compute_90,code=sm_90"], "[kernel.x]")
    assert "cuda-capabilities" in caught.value.hint


@pytest.mark.parametrize(
    ("flag", "hint"), [("-rdc=true", "define what several sources call in a header"), ("-lblas", "put code into src")]
)
def test_what_would_be_linked_is_told_where_it_belongs(flag: str, hint: str) -> None:
    with pytest.raises(ToolError) as caught:
        checked_cuda([flag], "[kernel.x]")
    assert hint in caught.value.hint
