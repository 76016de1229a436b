"""The full C++ ABI: the ops have the namespace that the package looks for, and an edit of a kernel leaves the binding alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import compile_project_files
import pytest
from compile_project_files import BUILD_TOML, CPU
from conftest import Compile
from test_compile_project import compiled_sources

from kernelwright.tools import toolchain
from kernelwright.tools.compile_kernel import targets
from kernelwright.tools.compile_kernel.target import Mode
from kernelwright.tools.compile_kernel.variant import Builder
from kernelwright.tools.project import Project

BINDING = """\
#include <torch/library.h>

#include "registration.h"

void scale_launch(float* out, const float* in, float factor, int64_t n, void* stream);

void scale(at::Tensor& out, const at::Tensor& input, double factor) {
  scale_launch(out.data_ptr<float>(), input.data_ptr<float>(), static_cast<float>(factor), input.numel(), nullptr);
}

TORCH_LIBRARY_EXPAND(TORCH_EXTENSION_NAME, ops) {
  ops.def("scale(Tensor(a!) out, Tensor input, float factor) -> ()");
}

TORCH_LIBRARY_IMPL_EXPAND(TORCH_EXTENSION_NAME, CPU, ops) {
  ops.impl("scale", &scale);
}

REGISTER_EXTENSION(TORCH_EXTENSION_NAME)
"""
LOAD = """
import sys, torch
from pathlib import Path
from kernels import get_local_kernel
kernel = get_local_kernel(Path(sys.argv[1]), backend="cpu")
x = torch.arange(1000, dtype=torch.float32)
assert torch.equal(kernel.scale(x, 3.0), x * 3 + 1)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    toml = BUILD_TOML.replace('[torch.stable-abi]\ncuda = "2.9"\ncpu = "2.9"\n', "")
    assert toml != BUILD_TOML
    return compile_project_files.write(tmp_path / "scale", {"build.toml": toml, "torch-ext/torch_binding.cpp": BINDING})


def edit(project: Path) -> None:
    """Another kernel, the same binding."""
    (project / "scale_cpu" / "scale.cpp").write_text(CPU.replace("in[i] * factor;", "in[i] * factor + 1;"))


def test_ops_are_found_and_an_edited_kernel_leaves_the_binding(project: Path, tmp_path: Path, compile_here: Compile) -> None:
    # __init__.py registers a fake kernel, which fails unless the op is where it should be.
    first = compile_here(project, backend="cpu")
    assert (first.status, first.diagnostics) == ("ok", []), first.markdown()
    assert compiled_sources(tmp_path) == ["scale_cpu/scale.cpp", "torch-ext/torch_binding.cpp"]
    edit(project)
    edited = compile_here(project, backend="cpu")
    assert (edited.status, edited.diagnostics) == ("ok", []), edited.markdown()
    assert compiled_sources(tmp_path) == ["scale_cpu/scale.cpp"]
    subprocess.run([sys.executable, "-c", LOAD, str(project)], check=True, capture_output=True, cwd=tmp_path)


def test_what_is_published_is_told_apart_by_all_of_its_sources(project: Path, tmp_path: Path) -> None:
    found = toolchain.detect(Path(sys.executable))

    def names() -> list[str]:
        opened = Project.open(project)
        builder = Builder(opened, tmp_path / "cache", tmp_path / "folder", lambda *_: None)
        modes: list[Mode] = ["dev", "release"]
        return [builder._planned(targets.choose(opened, found, "cpu", [], mode).targets[0])[1] for mode in modes]

    dev, release = names()
    edit(project)
    dev_edited, release_edited = names()
    assert dev == dev_edited
    assert len({dev, release, release_edited}) == 3
