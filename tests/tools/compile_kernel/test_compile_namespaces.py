"""Ops that are not in the namespace of their build are found and named; ops that other packages bring are not the project's."""

from __future__ import annotations

from pathlib import Path

import compile_project_files
import pytest
from compile_project_files import BINDING, BUILD_TOML, INIT, line_of
from conftest import Compile

from kernelwright.tools.compile_kernel import namespaces
from kernelwright.tools.compile_kernel.sources import Sources
from kernelwright.tools.project import Project

NOARCH = BUILD_TOML[: BUILD_TOML.index("[torch]")] + "[torch-noarch]\n"
OP = """\
import torch
{more}

@torch.library.custom_op({name}, mutates_args=())
def scale(x: torch.Tensor, factor: float) -> torch.Tensor:
    return x * factor


@scale.register_fake
def _(x: torch.Tensor, factor: float) -> torch.Tensor:
    return torch.empty_like(x)
"""
LIBRARY = """\
import torch

NAMESPACE = "theirs"
_library = torch.library.Library(NAMESPACE, "FRAGMENT")
_library.define("twice(Tensor x) -> Tensor")
"""


def noarch(folder: Path, init: str) -> Path:
    return compile_project_files.write(folder, {"build.toml": NOARCH, "torch-ext/scale/__init__.py": init})


@pytest.mark.parametrize(
    ("init", "said"),
    [
        (OP.format(name='"theirs::scale"', more=""), "the op scale is registered in the hard-coded namespace theirs"),
        (LIBRARY, "the op twice is registered in the hard-coded namespace theirs"),
    ],
)
def test_a_noarch_package_with_a_namespace_of_its_own_choice_is_warned(
    init: str, said: str, tmp_path: Path, compile_here: Compile
) -> None:
    project = noarch(tmp_path / "scale", init)
    for cached in (False, True):
        result = compile_here(project, backend="cpu")
        assert (result.status, result.cached) == ("ok", cached), result.markdown()
        (warning,) = result.diagnostics
        assert (warning.severity, warning.file) == ("warning", "torch-ext/scale/__init__.py")
        assert warning.line == line_of(init, '"theirs')
        assert warning.message.startswith(said)
        assert "add_op_namespace_prefix" in warning.hint


def test_a_noarch_package_that_takes_the_namespace_of_the_build_is_not(tmp_path: Path, compile_here: Compile) -> None:
    more = "from ._ops import add_op_namespace_prefix\n"
    init = OP.format(name='add_op_namespace_prefix("scale")', more=more)
    result = compile_here(noarch(tmp_path / "scale", init), backend="cpu")
    assert (result.status, result.diagnostics) == ("ok", []), result.markdown()


def test_ops_that_another_package_registers_are_not_the_projects(tmp_path: Path) -> None:
    project = Project.open(noarch(tmp_path / "scale", "import others  # not \"theirs\", nor 'them::scale'\n"))
    sources = Sources(project.path)
    assert namespaces.hard_coded(["others::scale", "others::more.out"], project, sources) == []
    (found,) = namespaces.hard_coded(["them::scale.default", "them::more"], project, sources)
    assert (found.line, found.severity) == (1, "warning")


def test_a_library_beside_the_packages_own_is_found_in_the_binding(tmp_path: Path, compile_here: Compile) -> None:
    extra = 'STABLE_TORCH_LIBRARY(theirs, more) {\n  more.def("twice(Tensor x) -> Tensor");\n}\n\n'
    binding = BINDING.replace("REGISTER_EXTENSION(", extra + "REGISTER_EXTENSION(")
    changes = {"torch-ext/torch_binding.cpp": binding, "torch-ext/scale/__init__.py": INIT}
    result = compile_here(compile_project_files.write(tmp_path / "scale", changes), backend="cpu")
    assert result.status == "ok", result.markdown()
    (warning,) = result.diagnostics
    assert (warning.file, warning.line) == ("torch-ext/torch_binding.cpp", line_of(binding, "(theirs, more)"))
    assert "the op twice" in warning.message
    assert "TORCH_EXTENSION_NAME" in warning.hint
