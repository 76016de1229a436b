"""mode="release": every variant that this host can build, each portable, and the command for the one that it cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import compile_project_files
import pytest
from compile_project_files import CPU
from conftest import Compile

from kernelwright.tools.compile_kernel import abi, elf
from kernelwright.tools.toolchain import detect

LOAD = """
import torch
from kernels import get_kernel
kernel = get_kernel("someone/scale", version=1, backend="cpu")
x = torch.arange(10, dtype=torch.float32)
assert torch.equal(kernel.scale(x, 3.0), x * 3)
"""


def test_a_release_holds_every_variant_and_names_the_missing_one(tmp_path: Path, compile_here: Compile) -> None:
    project = compile_project_files.write(tmp_path / "scale")
    result = compile_here(project, mode="release")
    assert result.status == "ok", result.markdown()
    assert {"torch-stable-abi29-cpu-x86_64-linux", "torch-stable-abi29-cu130-x86_64-linux"} <= set(result.variants)
    cu126 = "torch-stable-abi29-cu126-x86_64-linux" in result.variants
    assert cu126 or any(reason.startswith("cu126:") and "install" in reason for reason in result.skipped)
    assert {kernel.arch for kernel in result.kernels} >= {"sm_75", "sm_80", "sm_90", "sm_120"}
    for variant in result.variants:
        (library,) = (project / "build" / variant).glob("*.abi3.so")
        needed = elf.read(library).needed
        assert "libtorch.so" in needed
        assert ("libtorch_cuda.so" in needed) == ("-cu1" in variant)
        assert ("libcudart.so.13" in needed, "libcudart.so.12" in needed) == ("cu130" in variant, "cu126" in variant)
        assert max_version(library, "GLIBC") <= (2, 28)
        assert max_version(library, "GLIBCXX") <= (3, 4, 24)
    # As an application loads a local build in place of the Hub's.
    env = {**os.environ, "LOCAL_KERNELS": f"someone/scale={project}", "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-c", LOAD], check=True, capture_output=True, env=env, cwd=tmp_path)


def max_version(library: Path, family: str) -> tuple[int, ...]:
    """The newest version of `family` that the library wants."""
    versions = [v for v in elf.read(library).undefined.values() if v.startswith(family + "_")]
    return max((tuple(int(n) for n in v.split("_")[1].split(".")) for v in versions), default=(0,))


@pytest.mark.usefixtures("import_skipped")
def test_a_release_that_needs_a_newer_system_fails_and_says_what_needs_it(tmp_path: Path, compile_here: Compile) -> None:
    newer = '#include <dlfcn.h>\nextern "C" void* lookup(const char* name) { return dlsym(nullptr, name); }\n'
    project = compile_project_files.write(tmp_path / "scale", {"scale_cpu/scale.cpp": newer + CPU})
    dev = compile_here(project, backend="cpu")
    assert dev.status == "ok"
    assert dev.abi is not None
    if dev.abi.ok:
        pytest.skip("this host's own glibc is old enough")
    assert any("dlsym needs GLIBC_2.34" in problem for problem in dev.abi.problems)
    result = compile_here(project, backend="cpu", mode="release")
    assert result.status == "failed"
    assert "dlsym" in result.diagnostics[0].message
    assert result.diagnostics[0].hint


def test_python_symbols_outside_the_stable_abi_are_found(tmp_path: Path) -> None:
    source, library = tmp_path / "x.cpp", tmp_path / "x.abi3.so"
    source.write_text('extern "C" void _PyObject_GC_Malloc(int);\nextern "C" void PyInit_x() { _PyObject_GC_Malloc(1); }\n')
    subprocess.run(["g++", "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    found = abi.check(library, torch_include=None, stable_abi="", python=True)
    assert not found.ok
    assert any("_PyObject_GC_Malloc" in problem for problem in found.problems)


def test_a_shim_newer_than_the_promise_is_found(tmp_path: Path) -> None:
    include = detect(Path(sys.executable)).need_torch().include_dirs[0]
    known = abi.shims(include)
    newest = max(known, key=lambda name: known[name])
    assert known[newest] > (2, 9)
    source, library = tmp_path / "x.cpp", tmp_path / "x.so"
    body = f'extern "C" void {newest}();\nextern "C" void f() {{ {newest}(); }}\n'
    body += "namespace at { void g(); }\nvoid h() { at::g(); }\n"
    source.write_text(body)
    subprocess.run(["g++", "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    found = abi.check(library, torch_include=include, stable_abi="2.9", python=False)
    assert found.torch_floor == ".".join(map(str, known[newest]))
    assert any(newest in problem for problem in found.problems)
    assert any("not of torch's stable ABI" in problem for problem in found.problems)


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"\x7fELF\x02\x01" + b"\xff" * 100, b"MZ" + b"\0" * 100])
def test_what_is_no_library_is_said_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.so"
    path.write_bytes(content)
    with pytest.raises(elf.NotElfError):
        elf.read(path)


def test_the_reader_agrees_with_binutils() -> None:
    library = detect(Path(sys.executable)).need_torch().lib / "libc10.so"
    out = subprocess.run(["nm", "-D", "--undefined-only", str(library)], check=True, capture_output=True, text=True)
    theirs = {line.split()[-1].partition("@")[0] for line in out.stdout.splitlines()}
    assert set(elf.read(library).undefined) == theirs
