"""scaffold_kernel: what it writes, under which names, and what it refuses."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernels._rust import Build, KernelName

from kernelwright.tools import catalogue
from kernelwright.tools.scaffold_kernel import names
from kernelwright.tools.scaffold_kernel.contract import Scaffold, ScaffoldArgs
from kernelwright.tools.scaffold_kernel.run import run
from kernelwright.tools.tool import Context, ToolError

MakeContext = Callable[..., Context]


def scaffold(make_context: MakeContext, directory: Path, **arguments: object) -> Scaffold:
    context = make_context(directory, project_id=str(directory))
    return run(ScaffoldArgs.model_validate({"op": "rmsnorm", "name": "my-norm"} | arguments), context)


def contents(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


@pytest.mark.parametrize("op", catalogue.ops())
@pytest.mark.parametrize("backends", [["cuda", "cpu"], ["cuda"], ["cpu"]], ids="+".join)
def test_every_op_under_another_name(make_context: MakeContext, tmp_path: Path, op: str, backends: list[str]) -> None:
    directory = tmp_path / "project"
    result = scaffold(make_context, directory, op=op, name="zz-other", org="acme", backends=backends)
    Build.open(directory)
    build = tomllib.loads((directory / "build.toml").read_text())
    assert build["general"]["name"] == "zz-other"
    assert build["general"]["hub"]["repo-id"] == "acme/zz-other"
    assert build["general"]["backends"] == sorted(backends)
    assert set(build["torch"]["stable-abi"]) == set(backends)
    sources = [s for part in (build["torch"], *build["kernel"].values()) for s in part["src"]]
    assert all((directory / s).is_file() for s in sources)
    assert {part["backend"] for part in build["kernel"].values()} == set(backends)
    assert {f.path: f.bytes for f in result.files} == {path: len(data) for path, data in contents(directory).items()}
    assert (directory / "problem.py").read_bytes() == (catalogue.folder(op) / "problem.py").read_bytes()
    assert (directory / "torch-ext/zz_other/__init__.py").is_file()


@pytest.mark.parametrize("op", catalogue.ops())
def test_nothing_of_the_old_name_is_left(make_context: MakeContext, tmp_path: Path, op: str) -> None:
    scaffold(make_context, tmp_path / "project", op=op, name="zz-other", backends=["cpu"])
    old_places = (f"{op}_cuda/", f"{op}_cpu/", f"torch-ext/{op}/", f"# {op.replace('_', '-')}\n", "cuda", "CUDA")
    for path, data in contents(tmp_path / "project").items():
        if path.split("/")[0] in {"AGENTS.md", "CARD.md", "build.toml", "flake.nix"} or path.endswith("torch_binding.cpp"):
            checked = old_places if path in {"build.toml", "torch-ext/torch_binding.cpp"} else old_places[:4]
            text = data.decode()
            if path.endswith("torch_binding.cpp"):
                # The dispatch key stays, so that a tensor of the wrong device is refused by name.
                text = text.replace("TORCH_EXTENSION_NAME, CUDA, ops", "")
            assert not [place for place in checked if place in text], path


def test_capabilities_come_from_archs(make_context: MakeContext, tmp_path: Path) -> None:
    scaffold(make_context, tmp_path / "p", archs=["h100", "sm_80", "H100", "auto"])
    build = tomllib.loads((tmp_path / "p/build.toml").read_text())
    assert build["kernel"]["my_norm_cuda"]["cuda-capabilities"] == ["8.0", "9.0"]


def test_answer_tells_paths_only_where_there_are_some(make_context: MakeContext, tmp_path: Path) -> None:
    assert scaffold(make_context, tmp_path / "p").path == str(tmp_path / "p")
    workspace = run(ScaffoldArgs(op="rmsnorm", name="my-norm"), make_context(tmp_path / "q", project_id="my-norm-1a2b"))
    assert workspace.path == ""
    assert workspace.project == "my-norm-1a2b"
    assert str(tmp_path) not in workspace.model_dump_json() + workspace.markdown()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ({"op": "rmsnrom"}, "unknown_op", "Did you mean rmsnorm"),
        ({"name": "My Norm"}, "bad_argument", "Pass 'my-norm'"),
        ({"name": "1norm"}, "bad_argument", "Pass 'norm'"),
        ({"name": "x"}, "bad_argument", "at least two"),
        ({"name": "class"}, "bad_argument", "keyword of Python"),
        ({"name": "../up"}, "bad_argument", "is no kernel name"),
        ({"name": "a" * 97}, "bad_argument", "at most 96"),
        ({"org": "a/b"}, "bad_argument", "is no user or organisation"),
        ({"archs": ["h1000000"]}, "unknown_arch", "h1000000"),
        ({"archs": ["h100"], "backends": ["cpu"]}, "bad_argument", "Add 'cuda' to backends"),
    ],
)
def test_refuses(make_context: MakeContext, tmp_path: Path, arguments: dict[str, object], code: str, said: str) -> None:
    with pytest.raises(ToolError) as caught:
        scaffold(make_context, tmp_path / "p", **arguments)
    assert caught.value.code == code
    assert said in str(caught.value)
    assert not (tmp_path / "p").exists()


@given(st.text(alphabet="aZ0-_./ é\n", max_size=6))
def test_takes_the_names_that_kernel_builder_takes(name: str) -> None:
    try:
        KernelName(name)
    except ValueError:
        with pytest.raises(ToolError):
            names.check(name, None)
    else:
        assert names.check(name, None).hub == name
