"""Every op, scaffolded under another name, compiles for the CPU and passes the tests it was given."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kernelwright.tools import catalogue
from kernelwright.tools.compile_kernel.build import compile_project
from kernelwright.tools.scaffold_kernel.contract import ScaffoldArgs
from kernelwright.tools.scaffold_kernel.run import run
from kernelwright.tools.tool import Context


@pytest.mark.parametrize("op", catalogue.ops())
def test_compiles_and_passes_its_tests(make_context: Callable[..., Context], tmp_path: Path, op: str) -> None:
    project = tmp_path / "project"
    context = make_context(project)
    run(ScaffoldArgs(op=op, name="zz-other", org="acme"), context)
    result = compile_project(project, backend="cpu", context=context)
    assert result.status == "ok", result.markdown()
    # What torch.compile does with an op takes most of the time: once is enough, where nothing is mutated and where it is.
    chosen = [] if op in {"rmsnorm", "add_rmsnorm"} else ["-k", "not compiles_whole and not opcheck"]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *chosen, "tests"]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "CUDA_VISIBLE_DEVICES": ""}
    tests = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    assert tests.returncode == 0, tests.stdout[-3000:]
    assert " passed" in tests.stdout
