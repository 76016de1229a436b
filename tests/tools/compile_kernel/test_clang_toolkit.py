"""cu126 without an nvcc of CUDA 12: what is missing is named, and what is built holds what it promises."""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from pathlib import Path

import compile_project_files
import pytest
from compile_project_files import BUILD_TOML, CUDA
from conftest import Compile
from kernels import backends, variants
from packaging.version import Version
from test_clang_steps import unpacked

from kernelwright.tools.compile_kernel import clang_toolkit, elf, targets
from kernelwright.tools.compile_kernel.clang_toolkit import Parts
from kernelwright.tools.project import Project
from kernelwright.tools.tool import ToolError
from kernelwright.tools.toolchain import Tool, detect

CPU, CU126, CU130 = (f"torch-stable-abi29-{name}-x86_64-linux" for name in ("cpu", "cu126", "cu130"))


@pytest.fixture
def wheels(compile_cache: Path) -> Path:
    """The session's cache, with the wheels of CUDA 12.6 that this host has."""
    real = detect(Path(sys.executable))
    parts = clang_toolkit.find(real)
    if real.nvcc is None:
        pytest.skip("cu126 goes untested: no nvcc, whose cu130 it is compared with; install NVIDIA's CUDA 13 toolkit")
    if not parts.complete:
        pytest.skip(f"cu126 goes untested: no clang or wheels of CUDA 12.6; install them: {clang_toolkit.command(parts, real)}")
    there = compile_cache / "cuda-12.6"
    if not there.exists():
        there.symlink_to(parts.wheels["cuda_nvcc"][0].parent.parent)
    return compile_cache


@pytest.fixture
def clang_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH on which there is a clang++-19 and nothing else."""
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "clang++-19").write_text("#!/bin/sh\n")
    (folder / "clang++-19").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return folder


def laid_down(place: Path, *names: str, version: str = "12.6.85") -> None:
    """Something like the wheels `names` of NVIDIA in the folder `place`."""
    for name in names:
        (place / f"nvidia_{name}_cu12-{version}.dist-info").mkdir(parents=True)
        for part in ("include/crt", "bin", "lib", "nvvm/libdevice"):
            (place / "nvidia" / name / part).mkdir(parents=True)
        (place / "nvidia" / name / "include" / "crt" / f"{name}.h").write_text(name)
        (place / "nvidia" / name / "bin" / "ptxas").write_text("#!/bin/sh\n")


def test_one_command_names_all_that_is_missing(tmp_path: Path, clang_alone: Path) -> None:
    toolchain = detect(Path(sys.executable), cache=tmp_path / "cache")
    own = tmp_path / "cache" / "cuda-12.6"
    laid_down(own, "cuda_nvcc", "cuda_runtime")
    laid_down(own, "cuda_cccl", version="12.8.90")
    parts = clang_toolkit.find(toolchain)
    assert not parts.complete
    command = clang_toolkit.command(parts, toolchain)
    assert command.startswith(f"{sys.executable} -m pip install ")
    assert f"--target {own} " in command
    assert re.findall(r"'(nvidia[\w-]+)==12\.6\.\*'", command) == list(clang_toolkit._WHEELS.values())
    (clang_alone / "clang++-19").unlink()
    both = clang_toolkit.command(clang_toolkit.find(toolchain), toolchain)
    assert both == f"apt-get install -y clang-19 && {command}"


@pytest.mark.usefixtures("clang_alone")
def test_the_toolkit_is_laid_out_once_and_leaves_the_wheels_as_they_are(tmp_path: Path) -> None:
    toolchain = detect(Path(sys.executable), cache=tmp_path / "cache")
    own = tmp_path / "cache" / "cuda-12.6"
    laid_down(own, "cuda_nvcc", "cuda_runtime", "cuda_cccl")
    parts = clang_toolkit.find(toolchain)
    assert parts.complete
    first = clang_toolkit.lay_out(parts, toolchain)
    assert first == clang_toolkit.lay_out(parts, toolchain)
    assert first.nvcc is not None
    assert first.nvcc.numbers == (12, 6)
    home = first.cuda_home
    assert home is not None
    assert {path.name for path in (home / "include" / "crt").iterdir()} == {"cuda_nvcc.h", "cuda_runtime.h", "cuda_cccl.h"}
    assert os.access(home / "bin" / "ptxas", os.X_OK)
    assert not os.access(own / "nvidia" / "cuda_nvcc" / "bin" / "ptxas", os.X_OK)
    other = clang_toolkit.lay_out(
        Parts(parts.clang, {**parts.wheels, "cuda_nvcc": (own / "nvidia/cuda_nvcc", "12.6.99")}), first
    )
    assert other.cuda_home != home
    assert len(list(home.parent.iterdir())) == 2


def test_a_release_holds_cu126_with_code_for_each_architecture(tmp_path: Path, wheels: Path, compile_here: Compile) -> None:
    project = compile_project_files.write(tmp_path / "scale")
    result = compile_here(project, cache=wheels, mode="release")
    assert result.status == "ok", result.markdown()
    assert set(result.variants) == {CPU, CU126, CU130}
    assert result.skipped == []
    (library,) = (project / "build" / CU126).glob("*.abi3.so")
    needed = elf.read(library)
    assert {"libtorch.so", "libtorch_cuda.so", "libcudart.so.12"} <= set(needed.needed)
    assert {"__cudaRegisterFatBinary", "cudaLaunchKernel"} <= set(needed.undefined)
    content = library.read_bytes()
    images = unpacked(content[content.index(bytes.fromhex("50ed55ba01001000")) :])
    assert [number for number, kind, _ in images if kind == 2] == [70, 75, 80, 86, 89, 90]
    assert [number for number, kind, _ in images if kind == 1] == [90]
    kernel = re.search(rb"\.entry (\w*scale_kernel\w*)\(", next(data for _, kind, data in images if kind == 1))
    assert kernel is not None
    # What the host code registers is what the machine code is called: without it, a launch finds no kernel.
    assert all(b".text." + kernel[1] in data for _, kind, data in images if kind == 2)
    code_free = content.replace(b"".join(data for *_, data in images), b"")
    assert b"\0" + kernel[1] + b"\0" in code_free
    chosen_by_applications(project)


def capped(tmp_path: Path) -> Path:
    """A project for CUDA 12 alone."""
    toml = BUILD_TOML.replace("\n[torch]\n", '\n[general.cuda]\nmaxver = "12.9"\n\n[torch]\n')
    return compile_project_files.write(tmp_path / "scale", {"build.toml": toml})


@pytest.mark.usefixtures("import_skipped")
def test_a_project_for_cuda_12_is_built_beside_a_newer_nvcc(tmp_path: Path, wheels: Path, compile_here: Compile) -> None:
    result = compile_here(capped(tmp_path), cache=wheels, backend="cuda", archs=["sm_80"])
    assert (result.status, result.variants) == ("ok", [CU126]), result.markdown()
    (note,) = result.diagnostics
    assert note.severity == "note"
    assert "clang++" in note.message
    assert "12.6" in note.message


@pytest.mark.usefixtures("clang_alone")
def test_a_project_for_cuda_12_is_told_what_would_make_it_possible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toolchain = dataclasses.replace(
        detect(Path(sys.executable), cache=tmp_path / "cache"), nvcc=Tool(Path("nvcc"), "13.0"), gxx=Tool(Path("g++"), "12.2")
    )
    monkeypatch.setattr(targets, "other_cuda", lambda *_: None)
    with pytest.raises(ToolError) as caught:
        targets.choose(Project.open(capped(tmp_path)), toolchain, "cuda", ["sm_80"], "dev")
    assert caught.value.code == "toolchain_missing"
    assert "12.9" in caught.value.message
    assert clang_toolkit.command(clang_toolkit.find(toolchain), toolchain) in caught.value.hint


@pytest.mark.usefixtures("clang_alone")
def test_where_torch_has_cuda_12_and_there_is_no_nvcc_clang_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "other_cuda", lambda *_: None)
    laid_down(tmp_path / "cache" / "cuda-12.6", "cuda_nvcc", "cuda_runtime", "cuda_cccl")
    found = detect(Path(sys.executable), cache=tmp_path / "cache")
    project = Project.open(compile_project_files.write(tmp_path / "scale"))
    for cuda, served in (("12.8", True), ("13.0", False)):
        torch = dataclasses.replace(found.need_torch(), cuda=cuda)
        bare = dataclasses.replace(
            found, nvcc=None, torch=torch, gxx=Tool(Path("g++"), "12.2"), ninja=Tool(Path("ninja"), "1.11")
        )
        if served:
            (target,) = targets.choose(project, bare, "cuda", ["sm_80"], "dev").targets
            assert target.variant == CU126
        else:
            with pytest.raises(ToolError, match="No nvcc"):
                targets.choose(project, bare, "cuda", ["sm_80"], "dev")


def chosen_by_applications(project: Path) -> None:
    """`kernels` itself picks the variant of the CUDA that torch was built for, and never one that torch cannot load."""
    built = variants.get_variants_local(project / "build")
    for backend, expected in (
        (backends.CPU(), CPU),
        *((backends.CUDA(version=Version(cuda)), CU126) for cuda in ("12.6", "12.8", "12.9")),
        *((backends.CUDA(version=Version(cuda)), CU130) for cuda in ("13.0", "13.2")),
        (backends.CUDA(version=Version("12.4")), None),
    ):
        found, _ = variants._resolve_variant_for_system(
            variants=built,
            selected_backend=backend,
            cpu="x86_64",
            os="linux",
            torch_version=Version("2.11"),
            torch_cxx11_abi=True,
            tvm_ffi_version=None,
            macos_version=None,
        )
        assert [variant.variant_str for variant in found][:1] == ([expected] if expected else []), backend


@pytest.mark.usefixtures("import_skipped")
def test_what_clang_refuses_is_named_and_the_rest_is_built(tmp_path: Path, wheels: Path, compile_here: Compile) -> None:
    source = "#ifndef __NVCC__\n#error only nvcc takes this\n#endif\n" + CUDA
    project = compile_project_files.write(tmp_path / "scale", {"scale_cuda/scale.cu": source})
    result = compile_here(project, cache=wheels, backend="cuda", mode="release", archs=["sm_90a"])
    assert result.status == "ok", result.markdown()
    assert result.variants == [CU130]
    (reason,) = result.skipped
    assert "scale_cuda/scale.cu:2" in reason
    assert "only nvcc takes this" in reason


@pytest.mark.usefixtures("import_skipped")
def test_architectures_go_to_the_compiler_that_knows_them(tmp_path: Path, wheels: Path, compile_here: Compile) -> None:
    project = compile_project_files.write(tmp_path / "scale")
    result = compile_here(project, cache=wheels, backend="cuda", mode="release", archs=["sm_70", "sm_90a", "sm_100"])
    assert result.status == "ok", result.markdown()
    assert {kernel.arch for kernel in result.kernels} == {"sm_70", "sm_90a", "sm_100"}
    assert sum("sm_70" in reason for reason in result.skipped) == 1
    assert sum("sm_100" in reason for reason in result.skipped) == 1
    only = compile_here(project, cache=wheels, backend="cuda", mode="release", archs=["sm_100"])
    assert only.variants == [CU130]
