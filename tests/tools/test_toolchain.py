"""The toolchain: what is found, what is said when it is not, and that a second look costs nothing."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from kernelwright.tools import toolchain as toolchains
from kernelwright.tools.tool import ToolError
from kernelwright.tools.toolchain import detect, version_numbers


@pytest.fixture
def here(tmp_path: Path) -> toolchains.Toolchain:
    return detect(Path(sys.executable), cache=tmp_path)


def test_this_host_has_a_compiler_and_torch(here: toolchains.Toolchain) -> None:
    import torch

    assert here.need_gxx().numbers >= (9, 0)
    assert here.need_ninja().version
    assert here.need_torch().version == torch.__version__
    assert here.need_torch().cuda == torch.version.cuda
    assert (here.need_torch().include_dirs[0] / "torch" / "csrc" / "stable" / "library.h").is_file()
    assert (here.python.include / "Python.h").is_file()
    assert here.module("torch") == here.need_torch().folder
    assert here.module("no_such_module") is None


def test_nvcc_is_the_real_one(here: toolchains.Toolchain) -> None:
    nvcc = here.need_nvcc()
    assert nvcc.numbers >= (12, 0)
    assert here.cuda_home is not None
    assert (here.cuda_home / "include" / "cuda_runtime.h").is_file()


def test_a_second_look_starts_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = detect(Path(sys.executable), cache=tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr(toolchains.subprocess, "run", refuse)
    assert detect(Path(sys.executable), cache=tmp_path) == first


def test_a_broken_memory_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / "toolchain.json").write_text("{not json")
    assert detect(Path(sys.executable), cache=tmp_path).gxx is not None


def test_a_python_without_torch_is_said_by_name(tmp_path: Path) -> None:
    bare = tmp_path / "bare" / "bin"
    bare.mkdir(parents=True)
    script = bare / "python"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    script.chmod(0o755)
    found = detect(script, cache=tmp_path)
    assert found.torch is None
    with pytest.raises(ToolError, match="torch is not installed") as caught:
        found.need_torch()
    assert caught.value.code == "toolchain_missing"
    assert str(script) in caught.value.message


@pytest.mark.parametrize("content", [None, "#!/bin/sh\nexit 3\n", "#!/bin/sh\necho no json\n"])
def test_an_interpreter_that_does_not_run_is_an_error(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "python"
    if content:
        path.write_text(content)
        path.chmod(0o755)
    with pytest.raises(ToolError, match="does not run") as caught:
        detect(path, cache=tmp_path)
    assert caught.value.code == "toolchain_missing"


def test_without_compilers_each_says_what_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_HOME", raising=False)
    monkeypatch.setattr(toolchains, "_cuda_bins", lambda python: [])
    monkeypatch.setattr(toolchains.sys, "prefix", str(tmp_path))
    found = detect(Path(sys.executable), cache=tmp_path)
    assert found.nvcc is None
    assert found.gxx is None
    with pytest.raises(ToolError, match=r"No g\+\+") as caught:
        found.need_gxx()
    assert "apt-get" in caught.value.hint
    with pytest.raises(ToolError, match="No nvcc") as caught:
        found.need_nvcc()
    assert "nvidia-cuda-nvcc==13.0.*" in caught.value.hint
    assert "nvidia-nvvm" in caught.value.hint


def fake_toolkit(root: Path, version: str) -> Path:
    (root / "bin").mkdir(parents=True)
    (root / "include").mkdir()
    (root / "include" / "cuda_runtime.h").touch()
    nvcc = root / "bin" / "nvcc"
    nvcc.write_text(f"#!/bin/sh\necho 'Cuda compilation tools, release {version[:4]}, V{version}'\n")
    nvcc.chmod(0o755)
    return root


def test_cuda_home_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_HOME", str(fake_toolkit(tmp_path / "cuda-12.6", "12.6.85")))
    found = detect(Path(sys.executable), cache=tmp_path)
    assert found.need_nvcc().version == "12.6.85"
    assert found.cuda_home == tmp_path / "cuda-12.6"


def test_an_older_cuda_is_found_for_its_variant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = detect(Path(sys.executable), cache=tmp_path)
    older = fake_toolkit(tmp_path / "cuda-12.4", "12.4.99")
    too_new = fake_toolkit(tmp_path / "cuda-12.8", "12.8.61")
    monkeypatch.setattr(toolchains, "_cuda_bins", lambda python: [older / "bin", too_new / "bin"])
    found = toolchains.other_cuda(here, 12, (12, 6))
    assert found is not None
    assert found.need_nvcc().version == "12.4.99"
    assert toolchains.other_cuda(here, 11, (11, 8)) is None


def test_wheels_serve_where_there_is_no_toolkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = detect(Path(sys.executable), cache=tmp_path)
    site = tmp_path / "site-packages"
    fake_toolkit(site / "nvidia" / "cu13", "13.0.88")
    monkeypatch.setattr(toolchains, "_python", lambda *_: toolchains.replace(here.python, paths=(site,)))
    monkeypatch.delenv("CUDA_HOME", raising=False)
    monkeypatch.setenv("PATH", os.environ["PATH"].replace("/usr/local/bin", ""))
    assert site / "nvidia" / "cu13" / "bin" in toolchains._cuda_bins(toolchains._python(Path("x"), None))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "numbers"), [("13.0", (13, 0)), ("2.13.0+cpu", (2, 13)), ("12", (12, 0)), ("cuda-12.6", (12, 6)), ("", (0, 0))]
)
def test_versions(text: str, numbers: tuple[int, int]) -> None:
    assert version_numbers(text) == numbers
