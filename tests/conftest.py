"""What every test may use: a context for calling a tool without a server."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kernelwright.tools.tool import Context

MakeContext = Callable[..., Context]


@pytest.fixture
def make_context(tmp_path: Path) -> MakeContext:
    """`make_context(project)`: a Context whose folder, cache and log live below `tmp_path`."""

    def make(project: Path | None = None, **more: object) -> Context:
        folder = tmp_path / "job"
        folder.mkdir(exist_ok=True)
        values: dict[str, object] = {
            "folder": folder,
            "cache": tmp_path / "cache",
            "host_python": Path(sys.executable),
            "project": project,
            "project_id": project.name if project else "",
            "job_id": "test-job",
            "roots": (tmp_path,),
        }
        return Context(**(values | more))  # type: ignore[arg-type]

    return make
