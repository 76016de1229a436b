"""This machine as a host: what it lacks is an answer of the job, never a failure of the host."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kernelwright.server.hosts.local import LocalHost
from kernelwright.server.settings import Settings
from kernelwright.tools import TOOLS, catalogue
from kernelwright.tools.tool import Context

COMPILE = next(tool for tool in TOOLS if tool.name == "compile_kernel")
pytestmark = pytest.mark.anyio


async def test_what_a_host_lacks_is_the_jobs_to_say(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path / "state", cache_dir=tmp_path / "cache", host_python=tmp_path / "absent")
    host = LocalHost(settings)
    folder = tmp_path / "job"
    folder.mkdir()
    project = tmp_path / "rmsnorm"
    shutil.copytree(catalogue.folder("rmsnorm"), project)
    context = Context(folder=folder, cache=settings.cache_dir, host_python=settings.host_python, project=project)
    try:
        outcome = await host.run(COMPILE, {"project": str(project)}, context, lambda *_: None)
    finally:
        await host.close()
    assert outcome.error is not None, outcome
    assert outcome.error["code"] == "toolchain_missing"
    assert "absent" in outcome.error["message"]
