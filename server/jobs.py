"""Jobs: submit, wait, cancel. Each runs on a host in a process of its own and outlives the call that started it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import anyio
import anyio.abc

from kernelwright.server.hosts.base import Host, Outcome
from kernelwright.server.job_store import JobStore, Record
from kernelwright.server.settings import Settings
from kernelwright.server.workspace import Located
from kernelwright.tools.tool import Context, Tool

# Another server's jobs are seen through their files, and so is another process's wish to cancel one of ours.
_LOOK_EVERY_S = 0.25


class Lane:
    """Jobs that share slots, first come first served; a waiting one knows how many are before it."""

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._waiting: list[asyncio.Event] = []

    def __len__(self) -> int:
        return len(self._waiting)

    async def enter(self, on_position: Callable[[int], None]) -> None:
        """Wait for a slot; `on_position` hears the number of jobs ahead each time it changes."""
        if self._free and not self._waiting:
            self._free -= 1
            return
        turn = asyncio.Event()
        self._waiting.append(turn)
        try:
            while self._waiting[0] is not turn or not self._free:
                on_position(self._waiting.index(turn) + 1)
                turn.clear()
                await turn.wait()
            self._free -= 1
        finally:
            self._waiting.remove(turn)
            self._wake()

    def leave(self) -> None:
        """Give the slot back."""
        self._free += 1
        self._wake()

    def _wake(self) -> None:
        for turn in self._waiting:
            turn.set()


@dataclass
class _Live:
    record: Record
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Jobs:
    """The jobs of this server. Use as an async context manager: leaving it kills what still runs."""

    def __init__(self, settings: Settings, host: Host) -> None:
        self.settings = settings
        self.host = host
        self.store = JobStore(settings.jobs_dir)
        self._live: dict[str, _Live] = {}
        # Timed work has the machine's GPU to itself, so a second benchmark waits; compiles run beside it.
        self._lanes = {"run_benchmark": Lane(1)}
        self._other = Lane(settings.compile_slots)
        self._tasks: anyio.abc.TaskGroup | None = None

    async def __aenter__(self) -> Jobs:
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._watch)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._tasks is not None
        with anyio.CancelScope(shield=True):
            await self.stop()
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)

    async def stop(self) -> None:
        """Cancel every job of this server and close its host; all their processes are gone when this returns."""
        live = list(self._live.values())
        for job in live:
            job.scope.cancel()
        for job in live:
            await job.ended.wait()
        await self.host.close()

    def queued(self) -> int:
        """Jobs that wait for a slot."""
        return len(self._other) + sum(len(lane) for lane in self._lanes.values())

    def submit(self, tool: Tool, args: dict[str, Any], located: Located, roots: tuple[Any, ...]) -> Record:
        """Start a job; it runs when its lane has a slot."""
        assert self._tasks is not None
        self.store.prune(self.settings.keep_jobs)
        record = self.store.create(tool.name, tool.command, located.id)
        live = self._live[record.id] = _Live(record)
        context = Context(
            folder=self.store.folder(record.id),
            cache=self.settings.cache_dir,
            host_python=self.settings.host_python,
            project=located.path,
            project_id=located.id,
            job_id=record.id,
            roots=roots,
        )
        self._tasks.start_soon(self._run, live, tool, args, context)
        return record

    async def wait(self, job_id: str, seconds: float, on_change: Callable[[Record], None] | None = None) -> Record:
        """The record once the job has ended or `seconds` have passed; `on_change` sees every step on the way."""
        deadline = time.monotonic() + seconds
        while True:
            record = self.record(job_id)
            if on_change:
                on_change(record)
            left = deadline - time.monotonic()
            if record.finished or left <= 0:
                return record
            live = self._live.get(job_id)
            with contextlib.suppress(TimeoutError):
                if live:
                    await asyncio.wait_for(live.changed.wait(), left)
                else:
                    await asyncio.sleep(min(left, _LOOK_EVERY_S))

    async def cancel(self, job_id: str) -> Record:
        """Stop a job and every process of it; what has ended already stays as it is."""
        record = self.record(job_id)
        if record.finished:
            return record
        live = self._live.get(job_id)
        if live:
            live.scope.cancel()
            await live.ended.wait()
        else:
            self.store.ask_to_cancel(job_id)
        return await self.wait(job_id, 15)

    def record(self, job_id: str) -> Record:
        """The job as it is now, of this server or of another one on this machine."""
        live = self._live.get(job_id)
        return live.record if live else self.store.load(job_id)

    async def _run(self, live: _Live, tool: Tool, args: dict[str, Any], context: Context) -> None:
        record = live.record
        lane = self._lanes.get(tool.name, self._other)
        try:
            with live.scope:
                await lane.enter(lambda ahead: self._update(live, stage="queued", queue_position=ahead))
                try:
                    self._update(live, status="running", stage="starting", queue_position=0, started=time.time())
                    outcome = await self.host.run(tool, args, context, lambda *step: self._step(live, *step))
                    self._finish(live, outcome)
                finally:
                    lane.leave()
        except Exception as error:
            self._finish(live, Outcome(crash=f"{type(error).__name__}: {error}"))
        finally:
            if not record.finished:
                self._update(live, status="cancelled", queue_position=0, ended=time.time())
            live.ended.set()
            self._live.pop(record.id, None)

    def _step(self, live: _Live, stage: str, message: str = "", fraction: float | None = None) -> None:
        percent = "" if fraction is None else f" ({100 * fraction:.0f} %)"
        self._update(live, stage=stage, message=f"{message}{percent}".strip())

    def _finish(self, live: _Live, outcome: Outcome) -> None:
        if outcome.result is not None:
            self.store.save_result(live.record.id, outcome.result)
        if outcome.crash:
            self.store.append_log(live.record.id, outcome.crash)
        status = outcome.result["status"] if outcome.result else "failed"
        self._update(live, status=status, stage="done", message=outcome.crash, error=outcome.error, ended=time.time())

    def _update(self, live: _Live, **changes: Any) -> None:
        for name, value in changes.items():
            setattr(live.record, name, value)
        self.store.save(live.record)
        # A new event for the next step: clearing the old one would steal it from a second waiter.
        changed, live.changed = live.changed, asyncio.Event()
        changed.set()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            for job_id, live in list(self._live.items()):
                if self.store.is_asked_to_cancel(job_id):
                    live.scope.cancel()
