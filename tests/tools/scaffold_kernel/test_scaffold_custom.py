"""A kernel of one's own: a project around the caller's reference that builds, loads, and is found wrong until it is written."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernelwright.tools import catalogue
from kernelwright.tools.compile_kernel.build import compile_project
from kernelwright.tools.scaffold_kernel import custom
from kernelwright.tools.scaffold_kernel.contract import ScaffoldArgs
from kernelwright.tools.scaffold_kernel.reference import STUB, parse
from kernelwright.tools.scaffold_kernel.run import run
from kernelwright.tools.tool import Context, ToolError

MakeContext = Callable[..., Context]

SILU = """\
import torch


def reference(x, out, alpha=1.5, power: int = 2, flip=True):
    return torch.sigmoid(x * alpha) * out
"""
WHOLE = """\
import torch
entry = "rotate"
def inputs(shape, dtype, device, generator):
    return (torch.randn(*shape, generator=generator, device=device).to(dtype),)
def reference(values, amount=1):
    return values.roll(amount, -1)
shapes = [(4, 4)]
dtypes = ["float32"]
def cost(shape, dtype):
    return 1, 1
"""


def scaffold(make_context: MakeContext, directory: Path, **arguments: object) -> Path:
    arguments = {"op": "custom", "name": "my-custom-op", **arguments}
    run(ScaffoldArgs(**arguments), make_context(project=directory))  # type: ignore[arg-type]
    return directory


def test_the_stubs_pieces_are_all_in_the_skeleton() -> None:
    texts = "".join((catalogue.folder("custom") / path).read_text() for path in catalogue.files("custom"))
    assert not [piece for piece in custom._pieces(STUB) if piece not in texts]


def test_every_file_bears_the_projects_name(make_context: MakeContext, tmp_path: Path) -> None:
    project = scaffold(make_context, tmp_path / "p", reference=SILU, org="me")
    paths = [path.relative_to(project).as_posix() for path in project.rglob("*") if path.is_file()]
    assert {"my_custom_op_cuda/my_custom_op.cu", "my_custom_op_cpu/my_custom_op.cpp", "tests/test_my_custom_op.py"} <= set(
        paths
    )
    own = re.compile(r"(?<!my_)(?<!my-)\bcustom\b|(?<!my_)custom_")
    assert not [path for path in paths if own.search(path) or own.search((project / path).read_text())]
    build = tomllib.loads((project / "build.toml").read_text())
    assert build["general"]["name"] == "my-custom-op"
    assert build["general"]["hub"]["repo-id"] == "me/my-custom-op"
    sources = [source for kernel in build["kernel"].values() for source in kernel["src"]]
    assert all((project / source).is_file() for source in [*sources, *build["torch"]["src"]])


def test_the_reference_stands_in_problem_py(make_context: MakeContext, tmp_path: Path) -> None:
    project = scaffold(make_context, tmp_path / "p", reference=SILU)
    text = (project / "problem.py").read_text()
    assert SILU.strip() in text
    assert 'entry = "my_custom_op"' in text
    assert "range(2)" in text
    ast.parse(text)


def test_a_whole_problem_py_is_taken_as_it_is(make_context: MakeContext, tmp_path: Path) -> None:
    project = scaffold(make_context, tmp_path / "p", reference=WHOLE)
    assert (project / "problem.py").read_text() == WHOLE
    api = (project / "torch-ext/my_custom_op/__init__.py").read_text()
    assert "def rotate(values: torch.Tensor, amount: int = 1) -> torch.Tensor:" in api


@pytest.mark.parametrize("source", [None, SILU, WHOLE], ids=["stub", "reference", "problem"])
def test_it_compiles_and_loads_for_both_backends(make_context: MakeContext, tmp_path: Path, source: str | None) -> None:
    project = scaffold(make_context, tmp_path / "p", reference=source)
    result = compile_project(project, backend="all", archs=["sm_75"], context=make_context())
    assert result.status == "ok", result.markdown()
    assert not result.diagnostics, result.markdown()


def test_one_backend_alone(make_context: MakeContext, tmp_path: Path) -> None:
    project = scaffold(make_context, tmp_path / "p", reference=SILU, backends=["cpu"])
    assert not (project / "my_custom_op_cuda").exists()
    assert "launch" not in (project / "torch-ext/torch_binding.cpp").read_text()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def reference(x:\n", "not Python"),
        ("def f(x): return x", "it defines f"),
        ("x = 1", "no function reference"),
        ("x = " + "-" * 90_000 + "1", "nested too deeply"),
        ("x = y" + ".x" * 40_000, "nested too deeply"),
        ("def reference(*x): return x", "keyword-only"),
        ("def reference(x=1): return x", "takes no tensor"),
        ("def reference(x, mode='fast'): return x", "default of mode"),
        ("def reference(x, weight=None): return x", "default of weight"),
        ("def reference(größe): return größe", "ASCII"),
        (WHOLE.replace('"rotate"', '"ro tate"'), "no name of a function"),
        (WHOLE.replace('"rotate"', '"class"'), "no name of a function"),
    ],
)
def test_what_cannot_be_read_is_refused_with_an_example(
    make_context: MakeContext, tmp_path: Path, source: str, words: str
) -> None:
    with pytest.raises(ToolError, match=words) as caught:
        scaffold(make_context, tmp_path / "p", reference=source)
    assert caught.value.code == "bad_argument"
    assert "def reference" in caught.value.hint
    assert not (tmp_path / "p").exists()


def test_an_operation_of_the_catalogue_takes_no_reference(make_context: MakeContext, tmp_path: Path) -> None:
    with pytest.raises(ToolError) as caught:
        scaffold(make_context, tmp_path / "p", op="rmsnorm", reference=SILU)
    assert caught.value.code == "bad_argument"


def test_the_reference_is_not_run(make_context: MakeContext, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    scaffold(make_context, tmp_path / "p", reference=f"open({str(marker)!r}, 'w')\ndef reference(x): return x\n")
    assert not marker.exists()


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse(text)
    except ToolError as error:
        assert error.code == "bad_argument"
