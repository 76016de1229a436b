"""Carrying out one tool call: arguments checked, project found, run here or as a job, waited for, put into words."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.to_thread
from pydantic import ValidationError

from kernelwright.server.job_store import Record
from kernelwright.server.jobs import Jobs
from kernelwright.server.settings import Settings
from kernelwright.server.workspace import Located, Workspaces
from kernelwright.tools import TOOLS
from kernelwright.tools.files import write_files
from kernelwright.tools.tool import Args, Context, Result, Tool, ToolError, summarise

NOWHERE = Located(Path(), "")
OnRecord = Callable[[Record], None]


class Calls:
    """The tools, ready to be called by a server or a command line."""

    def __init__(self, settings: Settings, workspaces: Workspaces, jobs: Jobs) -> None:
        self.settings = settings
        self.workspaces = workspaces
        self.jobs = jobs

    async def call(self, tool: Tool, arguments: dict[str, Any], on_record: OnRecord | None = None) -> Result:
        """The tool's answer. Cancelling this cancels the job it started. Raises ToolError."""
        args = validate(tool, arguments)
        if tool.runs == "server":
            return cast(Result, await tool.run(args, self.context(NOWHERE, Path())))
        if tool.runs == "here":
            return await self._run_here(tool, args)
        return await self._run_as_job(tool, args, on_record)

    async def _run_here(self, tool: Tool, args: Args) -> Result:
        located = NOWHERE
        if tool.project == "new":
            given = args.model_dump()
            located = self.workspaces.new(given["name"], given["directory"])
        with tempfile.TemporaryDirectory(prefix="kernelwright-") as folder:
            return cast(Result, await anyio.to_thread.run_sync(tool.run, args, self.context(located, Path(folder))))

    async def _run_as_job(self, tool: Tool, args: Args, on_record: OnRecord | None) -> Result:
        given = args.model_dump(mode="json")
        if given.get("host", "auto") not in {"auto", self.jobs.host.name}:
            raise ToolError("not_found", f"There is no host {given['host']!r}.", "list_hosts names them; auto takes the best.")
        files = given.pop("files", None)
        located = self.workspaces.existing(given["project"], create=bool(files))
        if files:
            await anyio.to_thread.run_sync(write_files, located.path, files)
        record = self.jobs.submit(tool, given, located, self.workspaces.roots)
        try:
            record = await self.jobs.wait(record.id, given["wait_s"], on_record)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self.jobs.cancel(record.id)
            raise
        return self.answer(tool, record)

    def answer(self, tool: Tool, record: Record) -> Result:
        """What the tool answers when its job is as `record` says. Raises the ToolError it ended with."""
        if record.error:
            raise ToolError.from_dict(record.error)
        data = self.jobs.store.result(record.id) if record.finished else None
        if data is not None:
            return tool.result.model_validate(data)
        state = {"status": record.status, "job_id": record.id, "stage": summarise(record.message or record.stage, 1500)}
        return tool.result.model_validate(state | {"queue_position": record.queue_position})

    def context(self, located: Located = NOWHERE, folder: Path = Path()) -> Context:
        return Context(
            folder=folder,
            cache=self.settings.cache_dir,
            host_python=self.settings.host_python,
            project=located.path if located.id else None,
            project_id=located.id,
            services=self,
            roots=self.workspaces.roots,
        )

    async def get_job(self, job_id: str, wait_s: int, log_tail: int) -> dict[str, Any]:
        """The state of a job after waiting for its end, as `get_job` answers it."""
        return self._describe(await self.jobs.wait(job_id, wait_s), log_tail)

    async def cancel_job(self, job_id: str) -> dict[str, Any]:
        """The state of a job after cancelling it."""
        return self._describe(await self.jobs.cancel(job_id), 10)

    async def list_hosts(self) -> list[dict[str, Any]]:
        """Every host with its GPUs, tools and queue."""
        return [await self.jobs.host.describe(self.jobs.queued())]

    def _describe(self, record: Record, log_tail: int) -> dict[str, Any]:
        result = self.jobs.store.result(record.id) if record.finished else None
        tool = next(tool for tool in TOOLS if tool.name == record.tool)
        return {
            "job_id": record.id,
            "tool": record.tool,
            "status": record.status,
            "stage": summarise(f"{record.stage}: {record.message}" if record.message else record.stage),
            "queue_position": record.queue_position,
            "seconds": round(record.seconds, 2),
            "result": result,
            "result_text": tool.result.model_validate(result).markdown() if result else "",
            "error": record.error,
            "log_tail": [] if result else self.jobs.store.tail(record.id, log_tail),
        }


def validate(tool: Tool, arguments: dict[str, Any]) -> Args:
    """The arguments as the tool's `Args`; a ToolError that names each wrong one and what was expected."""
    try:
        return tool.args.model_validate(arguments)
    except ValidationError as error:
        wrong = [
            f"{'.'.join(map(str, e['loc'])) or 'arguments'}: {e['msg']}, got {summarise(repr(e['input']), 80)}"
            for e in error.errors()
        ]
        names = ", ".join(tool.args.model_fields) or "none"
        raise ToolError("bad_argument", "; ".join(wrong[:5]) + ".", f"{tool.name} takes: {names}.") from error
