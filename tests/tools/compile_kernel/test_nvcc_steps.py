"""nvcc's programs run side by side give what nvcc gives: machine code, dependencies, words and exit status."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kernelwright.tools.compile_kernel import nvcc_steps

NVCC = shutil.which("nvcc") or ""
GXX = shutil.which("g++") or ""
pytestmark = pytest.mark.skipif(not NVCC, reason="needs nvcc")
SOURCE = """\
#include "scale.cuh"
namespace {
template <typename T> __global__ void scale(T* x, T factor, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) x[i] = twice(x[i]) * factor;
}
}  // namespace
void launch(float* x, double* y, int n, cudaStream_t stream) {
  scale<<<(n + 255) / 256, 256, 0, stream>>>(x, 2.0f, n);
  scale<<<(n + 255) / 256, 256, 0, stream>>>(y, 2.0, n);
}
"""
HEADER = "#pragma once\ntemplate <typename T> __host__ __device__ T twice(T x) { return x + x; }\n"
ARCHS = ("-gencode=arch=compute_80,code=[sm_80,compute_80]", "-gencode=arch=compute_90a,code=sm_90a")


def compiled(folder: Path, source: str, *flags: str, side_by_side: bool) -> subprocess.CompletedProcess[str]:
    """The outcome of one compile in `folder` into ``object.o``, by nvcc or by its steps."""
    (folder / "keep").mkdir(parents=True)
    (folder / "a b.cu").write_text(source)
    (folder / "scale.cuh").write_text(HEADER)
    argv = [NVCC, "-O3", f"-ccbin={GXX}", "-Xcompiler=-fPIC", "--resource-usage", *flags, "-c", "a b.cu", "-o", "object.o"]
    argv += ["-MD", "-MF", "deps.d", "--keep", f"--keep-dir={folder / 'keep'}"]
    steps = [sys.executable, "-I", "-S", nvcc_steps.__file__] if side_by_side else []
    return subprocess.run([*steps, *argv], cwd=folder, capture_output=True, text=True)


def machine_code(folder: Path) -> list[tuple[str, str]]:
    """PTX and resources of each kernel, without the module id that their names hold."""
    texts = []
    for path in sorted((folder / "keep").glob("*.ptx")):
        texts.append((path.name, re.sub(r"_GLOBAL__N__\w{8}_\d+_\w+?_cu_\w{8}", "", path.read_text())))
    return texts


def prerequisites(depfile: Path) -> set[str]:
    """The files that a Makefile rule names after its colon."""
    words = depfile.read_text().partition(":")[2].replace("\\\n", " ").replace("\\ ", "\0").split()
    return {word.replace("\0", " ") for word in words}


@pytest.mark.parametrize("archs", [ARCHS[1:], ARCHS], ids=["one architecture", "two architectures"])
def test_gives_what_nvcc_gives(tmp_path: Path, archs: tuple[str, ...]) -> None:
    ours = compiled(tmp_path / "ours", SOURCE, *archs, side_by_side=True)
    theirs = compiled(tmp_path / "theirs", SOURCE, *archs, side_by_side=False)
    assert (ours.returncode, theirs.returncode) == (0, 0), ours.stdout + theirs.stderr
    assert machine_code(tmp_path / "ours") == machine_code(tmp_path / "theirs")
    used = re.compile(r"Used \d+ registers.*")
    assert sorted(used.findall(ours.stdout)) == sorted(used.findall(theirs.stdout + theirs.stderr))
    names = [prerequisites(tmp_path / side / "deps.d") for side in ("ours", "theirs")]
    assert names[0] == names[1]
    assert {"a b.cu", "scale.cuh"} <= names[0]


def test_the_object_is_nvccs(tmp_path: Path) -> None:
    for side in ("ours", "theirs"):
        # Without PTX, which is compressed, so that its size depends on the module id.
        assert compiled(tmp_path / side, SOURCE, ARCHS[1], side_by_side=side == "ours").returncode == 0
    assert structure(tmp_path / "ours/object.o") == structure(tmp_path / "theirs/object.o")
    fatbin = next((tmp_path / "ours/keep").glob("*.fatbin")).read_bytes()
    assert fatbin in (tmp_path / "ours/object.o").read_bytes()


LAMBDA = """\
template <typename F> __global__ void apply(F f, float* x) { x[threadIdx.x] = f(x[threadIdx.x]); }
void launch(float* x, float a) { apply<<<1, 32>>>([=] __device__(float v) { return a * v; }, x); }
"""
ASKED = """\
#ifdef __CUDACC_EXTENDED_LAMBDA__
__global__ void asked(float* x) { x[threadIdx.x] = 1; }
#endif
"""
ELSEWHERE = '#line 7 "made.from"\n' + SOURCE
INCLUDED = """\
__global__ void f(float* x) { *x = 1; }
void launch(std::function<void(float*)> then, float* x) { f<<<1, 1>>>(x); then(x); }
"""


@pytest.mark.parametrize(
    ("source", "made_without"),
    [(SOURCE, True), (LAMBDA, False), (ASKED, False), (ELSEWHERE, False), (INCLUDED, False)],
    ids=[
        "neither",
        "a lambda on the device",
        "the macro",
        "a file that is not there",
        "what cuda_runtime.h includes for lambdas",
    ],
)
def test_lambdas_are_permitted_where_it_makes_a_difference(tmp_path: Path, source: str, made_without: bool) -> None:
    for side in ("ours", "theirs"):
        run = compiled(tmp_path / side, source, ARCHS[1], "--expt-extended-lambda", side_by_side=side == "ours")
        assert run.returncode == 0, run.stdout + run.stderr
        assert "error" not in run.stdout
    assert machine_code(tmp_path / "ours") == machine_code(tmp_path / "theirs")
    assert structure(tmp_path / "ours/object.o") == structure(tmp_path / "theirs/object.o")
    preprocessed = next((tmp_path / "ours/keep").glob("*.cpp4.ii")).read_text()
    assert ("include/c++" in preprocessed and '/functional"' not in preprocessed) == made_without
    names = [prerequisites(tmp_path / side / "deps.d") for side in ("ours", "theirs")]
    assert (names[0] < names[1]) if made_without else (names[0] - {"made.from"} == names[1])


def structure(file: Path) -> list[str]:
    """Sections, relocations, symbols and host code of an object, without the module id in names."""
    looks = (["readelf", "-SWrs", file.name], ["objdump", "-d", "--no-show-raw-insn", file.name])
    texts = [subprocess.run(look, cwd=file.parent, capture_output=True, text=True, check=True).stdout for look in looks]
    return [re.sub(r"[0-9a-f]{8}_\d+_\w+?_cu_[0-9a-f]{8}", "ID", text) for text in texts]


@pytest.mark.parametrize("flags", [(), ("--expt-extended-lambda",)], ids=["plain", "lambdas permitted"])
@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("__global__ void f() { undeclared(); }", 'identifier "undeclared" is undefined'),
        ('#include "absent.h"', "absent.h"),
        ("#if defined(__CUDA_ARCH__)\n#error only on the device\n#endif", "only on the device"),
        ('__global__ void f() { asm("nonsense;"); }', "nonsense"),
        (
            "__global__ void f(float* y) { __shared__ float x[100000]; x[threadIdx.x] = *y; *y = x[*(int*)y]; }",
            "too much shared data",
        ),
    ],
)
def test_fails_as_nvcc_fails(tmp_path: Path, source: str, words: str, flags: tuple[str, ...]) -> None:
    ours = compiled(tmp_path / "ours", source, ARCHS[1], *flags, side_by_side=True)
    theirs = compiled(tmp_path / "theirs", source, ARCHS[1], *flags, side_by_side=False)
    assert ours.returncode == theirs.returncode != 0
    assert words in ours.stdout
    complaint = re.compile(r"\berror\b[^\n]*")
    assert complaint.findall(ours.stdout) == complaint.findall(theirs.stdout + theirs.stderr)
    assert not (tmp_path / "ours/object.o").exists()


def test_device_code_that_is_linked_later_is_left_to_nvcc(tmp_path: Path) -> None:
    ours = compiled(tmp_path / "ours", SOURCE, ARCHS[1], "-rdc=true", side_by_side=True)
    assert ours.returncode == 0, ours.stdout + ours.stderr
    assert not list((tmp_path / "ours").glob("*.s"))
    assert (tmp_path / "ours/deps.d").is_file()


def test_an_unknown_step_is_not_guessed_at() -> None:
    with pytest.raises(nvcc_steps.NotUnderstoodError):
        nvcc_steps.steps(['g++ -E "a.cu" -o "a.ii"', 'newtool "a.ii" -o "a.x"'], "/usr/bin/g++", "_id")
    with pytest.raises(nvcc_steps.NotUnderstoodError):
        nvcc_steps.listing("nvcc warning : something\n")
