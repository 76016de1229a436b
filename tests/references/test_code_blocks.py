"""Every C++, Python, TOML, YAML and shell block of the guides is compiled, run or parsed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tomllib
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import pytest
from guide_blocks import FENCE, GUIDES, Block, blocks

from kernelwright.tools.compile_kernel.templates import REGISTRATION_H

LANGUAGES = {"cuda", "cpp", "python", "toml", "yaml", "bash", "markdown"}
SHARED_HEADERS = Path(str(files("kernelwright.kernels_src"))) / "rmsnorm" / "torch-ext"


def named(block: Block) -> str:
    return block.place


def test_every_fence_names_a_language_that_is_tested() -> None:
    for path in GUIDES.glob("*.md"):
        text = path.read_text(encoding="utf-8")
        assert text.count("\n```") == 2 * len(FENCE.findall(text)), path.name
        assert {info.split()[0] for info, _ in FENCE.findall(text)} <= LANGUAGES, path.name


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
@pytest.mark.parametrize("block", blocks("cpp"), ids=named)
@pytest.mark.parametrize("define", ["CPU_KERNEL", "CUDA_KERNEL"])
def test_cpp_compiles(block: Block, define: str, tmp_path: Path) -> None:
    (tmp_path / "registration.h").write_text(REGISTRATION_H, encoding="utf-8")
    source = tmp_path / "block.cpp"
    source.write_text(block.text, encoding="utf-8")
    torch = find_spec("torch")
    assert torch is not None and torch.submodule_search_locations
    folders = [
        tmp_path,
        SHARED_HEADERS,
        Path(torch.submodule_search_locations[0]) / "include",
        Path(sysconfig.get_path("include")),
    ]
    argv = ["g++", "-std=c++20", "-fsyntax-only", "-fopenmp", "-Wall", "-Werror=return-type", f"-D{define}"]
    argv += ["-DTORCH_EXTENSION_NAME=_guide", *(f"-I{folder}" for folder in folders), str(source)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def test_python_runs(tmp_path: Path) -> None:
    """All in one process, each in a namespace of its own, since importing torch takes seconds."""
    chosen = [block for block in blocks("python") if _runs(block)]
    assert len(chosen) > 5
    runner = tmp_path / "runner.py"
    names = []
    for block in chosen:
        (tmp_path / f"{block.guide}_{block.line}.txt").write_text(block.text, encoding="utf-8")
        names.append((f"{block.guide}_{block.line}.txt", block.place))
    runner.write_text(
        "import pathlib\n"
        f"for name, place in {names!r}:\n"
        f"    text = pathlib.Path({str(tmp_path)!r}, name).read_text()\n"
        "    exec(compile(text, place, 'exec'), {'__name__': 'guide'})\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-W", "error::SyntaxWarning", str(runner)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_python_passes_the_type_checker(tmp_path: Path) -> None:
    chosen = [block for block in blocks("python") if "check" in block.words]
    assert len(chosen) > 5
    for block in chosen:
        (tmp_path / f"{block.guide.replace('-', '_')}_{block.line}.py").write_text(block.text, encoding="utf-8")
    argv = [sys.executable, "-m", "mypy", "--ignore-missing-imports", "--follow-imports=skip", "--check-untyped-defs"]
    argv += ["--config-file=", f"--cache-dir={tmp_path / 'cache'}", "--explicit-package-bases", str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


@pytest.mark.parametrize("block", blocks("toml"), ids=named)
def test_toml_parses(block: Block, tmp_path: Path) -> None:
    tomllib.loads(block.text)
    if block.file == "build.toml":
        (tmp_path / "build.toml").write_text(block.text, encoding="utf-8")
        from kernels._rust import Build

        Build.open(tmp_path)


@pytest.mark.parametrize("block", blocks("yaml"), ids=named)
def test_yaml_is_a_workflow(block: Block) -> None:
    import yaml

    workflow = yaml.safe_load(block.text)
    for job in workflow["jobs"].values():
        assert all({"uses", "run"} & step.keys() for step in job["steps"])


@pytest.mark.parametrize("block", blocks("bash"), ids=named)
def test_shell_parses(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _runs(block: Block) -> bool:
    """Blocks that only the type checker sees are parts of a package or need what a CPU machine does not install."""
    return "check" not in block.words or not ("import triton" in block.text or "from ._ops" in block.text)
