"""Every op of the catalogue as a user gets it, built once for all tests of this folder."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kernelwright.tools.compile_kernel.build import compile_project
from kernelwright.tools.scaffold_kernel.contract import ScaffoldArgs
from kernelwright.tools.scaffold_kernel.run import run
from kernelwright.tools.tool import Context

Scaffolded = Callable[[str], Path]


@pytest.fixture(scope="session")
def scaffolded(tmp_path_factory: pytest.TempPathFactory) -> Scaffolded:
    """`scaffolded(op)`: the op's project under another name and organisation, with its CPU variant built."""
    root = tmp_path_factory.mktemp("catalogue")
    done: dict[str, Path] = {}

    def project(op: str) -> Path:
        if op not in done:
            path = root / op
            context = context_of(path, root)
            run(ScaffoldArgs(op=op, name="zz-other", org="acme"), context)
            result = compile_project(path, backend="cpu", context=context)
            assert result.status == "ok", result.markdown()
            done[op] = path
        return done[op]

    return project


def context_of(project: Path, root: Path) -> Context:
    """A context for tools that work on `project` below `root`, with one cache for all."""
    folder = root / "job"
    folder.mkdir(exist_ok=True)
    return Context(folder=folder, cache=root / "cache", host_python=Path(sys.executable), project=project, roots=(root,))
