"""Workers are forked for one call each, tell how they ended, and see no token that they do not need."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from kernelwright.server.hosts.workers import Workers
from kernelwright.tools import TOOLS, worker
from kernelwright.tools.processes import descendants, is_running
from kernelwright.tools.tool import Context

COMPILE = next(tool for tool in TOOLS if tool.name == "compile_kernel")
pytestmark = pytest.mark.anyio
PUBLISH = next(tool for tool in TOOLS if tool.name == "publish_to_hub")


def below(others: set[int]) -> list[int]:
    """Processes that were started since there were `others`."""
    return [pid for pid in descendants(os.getpid()) if pid not in others]


@asynccontextmanager
async def opened() -> AsyncIterator[Workers]:
    workers = Workers()
    try:
        yield workers
    finally:
        workers.close()


def request(folder: Path, project: Path) -> Path:
    """A call of compile_kernel for the folder `project`, which need not be one."""
    folder.mkdir(parents=True)
    context = Context(folder=folder, cache=folder / "cache", host_python=Path(sys.executable), project=project)
    (folder / worker.REQUEST).write_text(json.dumps(worker.request(COMPILE, {"project": str(project)}, context)))
    return folder


async def test_a_call_leaves_its_result_and_its_status(tmp_path: Path) -> None:
    async with opened() as workers:
        steps: list[Any] = []
        for number in range(3):
            folder = request(tmp_path / f"job{number}", tmp_path)
            assert await workers.run(COMPILE, folder, lambda *step: steps.append(step)) == 0
            left = json.loads((folder / worker.RESULT).read_text())
            assert left["error"]["code"] == "not_found"
            assert "build.toml" in left["error"]["message"]
        assert ("reading", "build.toml", None) in steps


async def test_calls_run_beside_each_other_in_processes_of_their_own(tmp_path: Path) -> None:
    async with opened() as workers:
        folders = [request(tmp_path / f"job{number}", tmp_path) for number in range(8)]
        codes = await asyncio.gather(*(workers.run(COMPILE, folder, lambda *_: None) for folder in folders))
        assert codes == [0] * 8
        assert all((folder / worker.RESULT).is_file() for folder in folders)


async def test_a_crash_is_told_with_its_words(tmp_path: Path) -> None:
    async with opened() as workers:
        folder = tmp_path / "job"
        folder.mkdir()
        (folder / worker.REQUEST).write_text("{}")
        assert await workers.run(COMPILE, folder, lambda *_: None) == 1
        assert "KeyError" in (folder / worker.COMPLAINTS).read_text()


async def test_a_killed_worker_is_told_by_its_signal(tmp_path: Path) -> None:
    async with opened() as workers:
        folder = request(tmp_path / "job", tmp_path)
        (folder / worker.REQUEST).unlink()
        os.mkfifo(folder / worker.REQUEST)
        running = asyncio.create_task(workers.run(COMPILE, folder, lambda *_: None))
        pid = await _worker(folder)
        os.kill(pid, signal.SIGKILL)
        assert await running == -signal.SIGKILL


async def test_cancelling_kills_the_worker_and_the_next_call_is_right(tmp_path: Path) -> None:
    async with opened() as workers:
        folder = request(tmp_path / "job", tmp_path)
        (folder / worker.REQUEST).unlink()
        os.mkfifo(folder / worker.REQUEST)
        running = asyncio.create_task(workers.run(COMPILE, folder, lambda *_: None))
        pid = await _worker(folder)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert not is_running(pid)
        assert await workers.run(COMPILE, request(tmp_path / "next", tmp_path), lambda *_: None) == 0


async def test_a_call_cancelled_before_it_has_a_process_leaves_none(tmp_path: Path) -> None:
    others = set(descendants(os.getpid()))
    async with opened() as workers:
        folder = request(tmp_path / "job", tmp_path)
        (folder / worker.REQUEST).unlink()
        os.mkfifo(folder / worker.REQUEST)
        running = asyncio.create_task(workers.run(COMPILE, folder, lambda *_: None))
        # As far as the order, which is given before the first wait.
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert len(below(others)) == 1


async def test_only_the_tool_that_uploads_sees_the_hub_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("KERNELWRIGHT_TOKEN", "server_secret")
    others = set(descendants(os.getpid()))
    async with opened() as workers:
        for number, tool in enumerate((COMPILE, PUBLISH, replace(COMPILE, name="other"))):
            await workers.run(tool, request(tmp_path / str(number), tmp_path), lambda *_: None)
        environments = [Path(f"/proc/{pid}/environ").read_bytes() for pid in below(others)]
        forking = [text for text in environments if b"PATH=" in text]
        assert sum(b"hf_secret" in text for text in forking) == 1
        assert len(forking) == 2
        assert not any(b"server_secret" in text for text in forking)


async def test_a_dead_parent_of_workers_is_replaced(tmp_path: Path) -> None:
    others = set(descendants(os.getpid()))
    async with opened() as workers:
        assert await workers.run(COMPILE, request(tmp_path / "one", tmp_path), lambda *_: None) == 0
        (parent,) = below(others)
        os.kill(parent, signal.SIGKILL)
        while is_running(parent):
            await asyncio.sleep(0.01)
        assert await workers.run(COMPILE, request(tmp_path / "two", tmp_path), lambda *_: None) == 0


async def _worker(folder: Path) -> int:
    """The process that works in `folder`, once there is one."""
    with anyio.fail_after(30):
        while True:
            for pid in descendants(os.getpid()):
                with suppress(OSError):
                    if Path(f"/proc/{pid}/cwd").resolve() == folder:
                        return pid
            await asyncio.sleep(0.01)
