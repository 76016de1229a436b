"""What torch, the loader and a dying process say of a package that does not load, as errors at lines of the project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import compile_project_files
import pytest
from compile_project_files import BINDING, CPU, CUDA, line_of

from kernelwright.tools.compile_kernel import failed_import
from kernelwright.tools.compile_kernel.checker import Loaded
from kernelwright.tools.compile_kernel.contract import Diagnostic
from kernelwright.tools.compile_kernel.sources import Sources
from kernelwright.tools.project import Project

BIND = "torch-ext/torch_binding.cpp"
# As torch 2.13 says it of a package with the full ABI, whose registration ends the process.
MISMATCH = """\
terminate called after throwing an instance of 'c10::Error'
  what():  Inferred operator schema for a C++ kernel function doesn't match the expected function schema.
  operator: _scale_cpu_b76ae3b::scale
  expected schema: _scale_cpu_b76ae3b::scale(Tensor x, int factor) -> Tensor
    registered at torch-ext/torch_binding.cpp:4
  inferred schema: (Tensor _0, float _1) -> Tensor _0
    registered at torch-ext/torch_binding.cpp:4
  reason: Type mismatch in argument 2: int vs float.
Exception raised from checkSchema at /pytorch/aten/src/ATen/core/dispatch/OperatorEntry.cpp:98 (most recent call first):
"""
TWICE = """\
  what():  Tried to register an operator (_scale_cpu_cffe312::scale(Tensor x) -> Tensor) with the same name and overload name \
multiple times. Each overload's schema should only be registered with a single call to def(). Duplicate registration: …
"""
CRASH = {"kind": "crash", "message": "the import ended the process: died of SIGABRT"}


def diagnosed(
    folder: Path, problem: dict[str, Any], log: str = "", changes: dict[str, str] | None = None, backend: str = "cpu"
) -> Diagnostic:
    """The one error about a package that did not load."""
    project = Project.open(compile_project_files.write(folder / "scale", changes))
    loaded = Loaded(ok=False, problem=problem, log=log)
    (found,) = failed_import.diagnosed(loaded, project, backend, folder / "staged", Sources(project.path))
    return found


def test_a_schema_that_its_function_does_not_have_is_shown_beside_it(tmp_path: Path) -> None:
    found = diagnosed(tmp_path, CRASH, MISMATCH)
    assert (found.file, found.line) == (BIND, line_of(BINDING, 'ops.impl("scale"'))
    assert "declared as scale(Tensor x, int factor) -> Tensor, its function is (Tensor, float) -> Tensor" in found.message
    assert "argument 2: int vs float" in found.message
    assert "float is C++'s double" in found.hint


@pytest.mark.parametrize("problem", [CRASH, {"kind": "RuntimeError", "message": TWICE}])
def test_an_op_that_is_declared_twice_is_shown_at_the_second_place(problem: dict[str, str], tmp_path: Path) -> None:
    again = '  ops.def("scale(Tensor x) -> Tensor");\n}\n\n#if defined(CUDA_KERNEL)\nSTABLE_TORCH_LIBRARY_IMPL'
    binding = BINDING.replace("}\n\n#if defined(CUDA_KERNEL)\nSTABLE_TORCH_LIBRARY_IMPL", again)
    found = diagnosed(tmp_path, problem, TWICE, {BIND: binding})
    assert (found.file, found.line) == (BIND, line_of(binding, "(Tensor x)"))
    assert "the op scale is declared twice" in found.message
    assert "scale.other" in found.hint


def test_declarations_that_an_if_chooses_between_are_one(tmp_path: Path) -> None:
    chosen = '#if defined(CUDA_KERNEL)\n  ops.def("other(Tensor x) -> ()");\n#else\n  ops.def("other(int x) -> ()");\n#endif\n'
    binding = BINDING.replace('  ops.def("scale(', chosen + '  ops.def("scale(')
    log = "what():  aoti_torch_library_def(lib_, schema) API call failed at torch/include/library.h, line 99\n"
    assert "twice" not in diagnosed(tmp_path, CRASH, log, {BIND: binding}).message


ELSEWHERE = (
    f"Only scale_cuda/scale.cu:{line_of(CUDA, 'void scale_launch')} defines scale_launch(), for cuda: "
    "list a source for cpu too, or keep what calls it inside #if defined(CUDA_KERNEL)."
)
UNDEFINED = {"kind": "undefined", "message": "undefined symbols", "symbols": ["_Z12scale_launchPfPKffl"]}


@pytest.mark.parametrize(
    ("changes", "backend", "words"),
    [
        ({}, "cpu", f"scale_cpu/scale.cpp:{line_of(CPU, 'void scale_launch')} defines scale_launch() with another signature"),
        ({"scale_cpu/scale.cpp": "// nothing\n"}, "cpu", ELSEWHERE),
        (
            {"scale_cpu/scale.cpp": "// nothing\n", "scale_cuda/scale.cu": "void scale_launch(float*);\n"},
            "cpu",
            "Nothing defines it: is the source with scale_launch() listed under src",
        ),
    ],
)
def test_a_function_that_is_missing_is_looked_for_in_the_sources(
    changes: dict[str, str], backend: str, words: str, tmp_path: Path
) -> None:
    found = diagnosed(tmp_path, UNDEFINED, "", changes, backend)
    assert (found.file, found.line) == (BIND, line_of(BINDING, "void scale_launch("))
    assert found.hint.startswith(words)


def test_a_function_of_the_driver_is_to_be_asked_for_at_run_time(tmp_path: Path) -> None:
    cuda = CUDA.replace("  unsigned blocks", "  cuTensorMapEncodeTiled(nullptr);\n  unsigned blocks")
    undefined = {"kind": "undefined", "message": "undefined symbols", "symbols": ["cuTensorMapEncodeTiled"]}
    found = diagnosed(tmp_path, undefined, "", {"scale_cuda/scale.cu": cuda}, "cuda")
    assert (found.file, found.line) == ("scale_cuda/scale.cu", line_of(cuda, "cuTensorMapEncodeTiled"))
    assert 'cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled"' in found.hint
