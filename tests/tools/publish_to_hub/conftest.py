"""A project that was really scaffolded and compiled, once for all tests of publishing; each test gets a copy of its own."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kernelwright.tools.compile_kernel.build import compile_project
from kernelwright.tools.publish_to_hub.contract import PublishArgs, PublishResult
from kernelwright.tools.publish_to_hub.run import run
from kernelwright.tools.scaffold_kernel.contract import ScaffoldArgs
from kernelwright.tools.scaffold_kernel.run import run as scaffold
from kernelwright.tools.tool import Context

Publish = Callable[..., PublishResult]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project `tiny-norm` with its CPU variant built."""
    place = tmp_path_factory.mktemp("published")
    (place / "job").mkdir()
    project = place / "tiny-norm"
    context = Context(place / "job", place / "cache", Path(sys.executable), project=project, project_id="tiny-norm", job_id="b")
    scaffold(ScaffoldArgs(op="rmsnorm", name="tiny-norm"), context)
    result = compile_project(project, backend="cpu", context=context)
    assert result.status == "ok", result.markdown()
    return project


@pytest.fixture
def project(built: Path, tmp_path: Path) -> Path:
    """A copy of the built project that a test may spoil."""
    return Path(shutil.copytree(built, tmp_path / "tiny-norm", symlinks=True))


@pytest.fixture
def variant(project: Path) -> Path:
    """The folder of the built variant in that copy."""
    return next(path for path in (project / "build").iterdir() if path.name.startswith("torch-stable-abi"))


@pytest.fixture
def publish(project: Path, make_context: Callable[..., Context]) -> Publish:
    """`publish(repo_id=…, …)`: the tool's answer for that copy."""

    def call(repo_id: str = "acme/tiny-norm", **more: Any) -> PublishResult:
        return run(PublishArgs(project="tiny-norm", repo_id=repo_id, **more), make_context(project))

    return call
