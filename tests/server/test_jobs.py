"""Jobs: queued in order, waited for, cancelled with every process, and told apart after a crash."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from endless import NEVER_ENDS

from kernelwright.server.calls import Calls
from kernelwright.server.hosts.base import Outcome
from kernelwright.server.job_store import JobStore
from kernelwright.server.jobs import Jobs, Lane
from kernelwright.server.settings import Settings
from kernelwright.server.workspace import Located
from kernelwright.tools import COMPILE_KERNEL, RUN_BENCHMARK
from kernelwright.tools.processes import descendants
from kernelwright.tools.tool import Context, Progress, Tool, ToolError

pytestmark = pytest.mark.anyio


class ScriptedHost:
    """A host whose calls end when the test says so."""

    name = "local"

    def __init__(self) -> None:
        self.started: list[str] = []
        self.may_end: dict[str, asyncio.Event] = {}

    async def run(self, tool: Tool, args: dict[str, Any], context: Context, progress: Progress) -> Outcome:
        name = str(args["project"])
        self.started.append(name)
        progress("working", name, 0.5)
        await self.may_end.setdefault(name, asyncio.Event()).wait()
        return Outcome(result={"status": "ok", "job_id": context.job_id})

    async def describe(self, queued: int) -> dict[str, Any]:
        return {"queued": queued}

    async def close(self) -> None:
        return None


async def test_benchmarks_wait_for_each_other_in_order(settings: Settings) -> None:
    host = ScriptedHost()
    async with Jobs(settings, host) as jobs:
        records = [jobs.submit(RUN_BENCHMARK, {"project": n}, Located(Path(), n), ()) for n in ("a", "b", "c")]
        await jobs.wait(records[0].id, 0.05)
        assert [jobs.record(r.id).queue_position for r in records] == [0, 1, 2]
        assert host.started == ["a"]
        host.may_end["a"].set()
        assert (await jobs.wait(records[0].id, 10)).status == "ok"
        assert [jobs.record(r.id).queue_position for r in records[1:]] == [0, 1]
        await jobs.cancel(records[1].id)
        await jobs.wait(records[2].id, 0.05)
        assert host.started == ["a", "b", "c"]
        assert jobs.record(records[1].id).status == "cancelled"


async def test_compiles_run_beside_a_benchmark(settings: Settings) -> None:
    host = ScriptedHost()
    async with Jobs(settings, host) as jobs:
        jobs.submit(RUN_BENCHMARK, {"project": "timed"}, Located(Path(), "timed"), ())
        compile_job = jobs.submit(COMPILE_KERNEL, {"project": "built"}, Located(Path(), "built"), ())
        await jobs.wait(compile_job.id, 0.05)
        assert set(host.started) == {"timed", "built"}


async def test_cancelling_what_waits_leaves_the_lane_usable() -> None:
    lane = Lane(1)
    await lane.enter(lambda _: None)
    waiting = asyncio.create_task(lane.enter(lambda _: None))
    await asyncio.sleep(0)
    assert len(lane) == 1
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert len(lane) == 0
    lane.leave()
    await asyncio.wait_for(lane.enter(lambda _: None), 1)


async def test_wait_returns_while_the_job_goes_on(settings: Settings) -> None:
    host = ScriptedHost()
    async with Jobs(settings, host) as jobs:
        record = jobs.submit(COMPILE_KERNEL, {"project": "slow"}, Located(Path(), "slow"), ())
        seen: list[str] = []
        assert (await jobs.wait(record.id, 0.05, lambda r: seen.append(r.stage))).status == "running"
        assert "working" in seen
        host.may_end["slow"].set()
        assert (await jobs.wait(record.id, 10)).status == "ok"


async def test_cancelling_kills_every_process_of_a_real_compile(calls: Calls, root: Path) -> None:
    await _never_ending_project(calls, root)
    running = await calls.call(COMPILE_KERNEL, {"project": "endless", "backend": "cpu", "wait_s": 0})
    await _compiler_runs()
    job = await calls.cancel_job(running.job_id)  # type: ignore[attr-defined]
    assert job["status"] == "cancelled"
    assert _compilers() == []


async def test_cancelling_the_call_cancels_the_job(calls: Calls, root: Path) -> None:
    await _never_ending_project(calls, root)
    call = asyncio.create_task(calls.call(COMPILE_KERNEL, {"project": "endless", "backend": "cpu", "wait_s": 240}))
    await _compiler_runs()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert _compilers() == []
    records = [calls.jobs.store.load(folder.name) for folder in calls.jobs.store.root.iterdir()]
    assert [record.status for record in records] == ["cancelled"]


async def test_a_job_of_a_killed_server_is_interrupted_and_keeps_its_log(settings: Settings) -> None:
    script = (
        "import os, sys; from pathlib import Path; from kernelwright.server.job_store import JobStore\n"
        "store = JobStore(Path(sys.argv[1])); record = store.create('compile_kernel', 'compile', 'p')\n"
        "record.status = 'running'; store.save(record); store.append_log(record.id, 'half way')\n"
        "print(record.id, flush=True); os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(settings.jobs_dir)], capture_output=True, text=True, check=False)
    job_id = done.stdout.strip()
    async with Jobs(settings, ScriptedHost()) as jobs:
        record = await jobs.wait(job_id, 5)
        assert (record.status, record.finished) == ("interrupted", True)
        assert jobs.store.tail(job_id, 5) == ["half way"]
        assert json.loads((settings.jobs_dir / job_id / "job.json").read_text())["status"] == "interrupted"


async def test_another_process_can_cancel(settings: Settings) -> None:
    host = ScriptedHost()
    async with Jobs(settings, host) as jobs:
        record = jobs.submit(COMPILE_KERNEL, {"project": "p"}, Located(Path(), "p"), ())
        await jobs.wait(record.id, 0.05)
        other = JobStore(settings.jobs_dir)
        other.ask_to_cancel(record.id)
        assert (await jobs.wait(record.id, 10)).status == "cancelled"
        assert other.load(record.id).status == "cancelled"


def test_old_jobs_are_removed_and_live_ones_kept(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    records = [store.create("compile_kernel", "compile", "p") for _ in range(4)]
    for age, record in enumerate(records):
        os.utime(tmp_path / record.id, (age, age))
    records[1].status = records[2].status = "ok"
    store.save(records[1])
    store.save(records[2])
    for age, record in enumerate(records):
        os.utime(tmp_path / record.id, (age, age))
    store.prune(keep=2)
    assert [(tmp_path / record.id).exists() for record in records] == [True, False, True, True]


@pytest.mark.parametrize("job_id", ["", "..", "compile-zz", "compile-000000000000", "/etc", "compile-0123456789ab/../x"])
def test_unknown_job_ids_are_refused(tmp_path: Path, job_id: str) -> None:
    with pytest.raises(ToolError) as refused:
        JobStore(tmp_path).load(job_id)
    assert refused.value.code == "not_found"


async def _never_ending_project(calls: Calls, root: Path) -> None:
    from kernelwright.tools import SCAFFOLD_KERNEL

    await calls.call(SCAFFOLD_KERNEL, {"op": "rmsnorm", "name": "endless"})
    source = next((root / "endless").glob("*_cpu/rmsnorm.cpp"))
    source.write_text(NEVER_ENDS + source.read_text())


def _compilers() -> list[str]:
    names = []
    for pid in descendants(os.getpid()):
        try:
            names.append(Path(f"/proc/{pid}/comm").read_text().strip())
        except OSError:
            continue
    return [name for name in names if name in {"cc1plus", "g++", "ninja"}]


async def _compiler_runs() -> None:
    with anyio.fail_after(60):
        while "cc1plus" not in _compilers():
            await anyio.sleep(0.05)
