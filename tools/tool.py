"""What a tool is: one declaration, from which the MCP schema, the command line, the README's table and the tests are made.

A tool is a package beside this file. Its ``contract.py`` holds the arguments (`Args`), the answer (`Result`) and the `TOOL`
that joins them; its ``run.py`` holds ``run(args, context)``, imported at the first call, so that listing tools stays cheap.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, cast, get_args

from pydantic import BaseModel, ConfigDict, Field

ErrorCode = Literal[
    "bad_argument",
    "unknown_arch",
    "unknown_op",
    "not_found",
    "outside_roots",
    "too_large",
    "toolchain_missing",
    "no_gpu",
    "busy",
    "timeout",
    "sandbox_unavailable",
    "hub_denied",
    "conflict",
]
ERROR_CODES: tuple[ErrorCode, ...] = get_args(ErrorCode)

Status = Literal["ok", "failed", "running", "queued", "cancelled", "interrupted"]
Stage = str

WAIT_DEFAULT_S = 50
WAIT_MAX_S = 240


class ToolError(Exception):
    """A call that cannot be carried out as asked: `message` says what was wrong with which value, `hint` what to do."""

    def __init__(self, code: ErrorCode, message: str, hint: str) -> None:
        super().__init__(f"{message} {hint}")
        self.code: ErrorCode = code
        self.message = message
        self.hint = hint

    def as_dict(self) -> dict[str, str]:
        """The error as plain data: `code`, `message`, `hint`."""
        return {"code": self.code, "message": self.message, "hint": self.hint}

    @classmethod
    def from_dict(cls, data: dict[str, str]) -> ToolError:
        """The error that `as_dict` wrote, as it crosses a process or a network."""
        return cls(cast(ErrorCode, data["code"]), data["message"], data["hint"])


class Args(BaseModel):
    """Arguments of a tool; an argument nobody declared is an error, never ignored."""

    model_config = ConfigDict(extra="forbid")


class Result(BaseModel):
    """Answer of a tool. The data and the text must each stand alone: some clients show only the one, some only the other."""

    model_config = ConfigDict(extra="forbid")

    def markdown(self) -> str:
        """The whole answer as short markdown, first line first."""
        raise NotImplementedError(f"{type(self).__name__} must say itself in words")


class JobResult(Result):
    """Answer of a tool that runs as a job. Where `stage` says something there is no result, only `status` and `job_id`."""

    status: Status
    job_id: str = Field("", description="pass to get_job or cancel_job")
    stage: str = Field("", description="of a job without a result: what it did last, or why it ended")
    queue_position: int = Field(0, description="jobs ahead of this one; 0 when it runs or has ended")

    def unfinished(self) -> str:
        """The line for a job that has no result: not done yet, cancelled, interrupted or crashed."""
        if self.status not in {"running", "queued"}:
            return f"{self.status}: {self.stage or 'no result'} (job {self.job_id})"
        place = f", {self.queue_position} ahead of it" if self.queue_position else ""
        return f"{self.status}: {self.stage or 'started'}{place}. Call get_job with job_id={self.job_id!r} to go on waiting."


class Progress(Protocol):
    """Takes the stage a call has reached, a line for a person, and how far along it is (0 to 1, or None when unknown)."""

    def __call__(self, stage: Stage, message: str = "", fraction: float | None = None) -> None: ...


def silent(stage: Stage, message: str = "", fraction: float | None = None) -> None:
    """Progress that nobody listens to."""


class Services(Protocol):
    """What the few tools about the server itself ask of whoever runs them."""

    async def get_job(self, job_id: str, wait_s: int, log_tail: int) -> dict[str, Any]: ...

    async def cancel_job(self, job_id: str) -> dict[str, Any]: ...

    async def list_hosts(self) -> list[dict[str, Any]]: ...


@dataclass(frozen=True)
class Context:
    """What a tool is given beside its arguments.

    `project` is the directory that the argument `project` (or, for a new one, `name`) stands for, checked by the caller.
    `folder` belongs to this call alone: `log` lies there, and reports and plots that are served under ``kernel://jobs/{id}``.
    `warm` is the socket of a process that keeps torch imported, where there is one.
    """

    folder: Path
    cache: Path
    host_python: Path
    project: Path | None = None
    project_id: str = ""
    job_id: str = ""
    progress: Progress = field(default=silent)
    services: Services | None = None
    roots: tuple[Path, ...] = ()
    warm: Path | None = None

    @property
    def log(self) -> Path:
        """The whole log of this call, served as ``kernel://jobs/{id}/log``."""
        return self.folder / "log.txt"

    def uri(self, kind: Literal["log", "report", "plot"]) -> str:
        """Where a client reads this job's log, report or plot."""
        return f"kernel://jobs/{self.job_id}/{kind}"

    def existing_project(self) -> Path:
        """The project directory of a tool that works on one."""
        if self.project is None:
            raise ToolError("bad_argument", "No project was given.", "Pass project: what scaffold_kernel returned.")
        return self.project


@dataclass(frozen=True)
class Hints:
    """The four annotations of MCP, which clients ask before they allow a call without a person."""

    read_only: bool
    destructive: bool
    idempotent: bool
    open_world: bool


READS = Hints(read_only=True, destructive=False, idempotent=True, open_world=False)
WRITES = Hints(read_only=False, destructive=False, idempotent=True, open_world=False)
PUBLISHES = Hints(read_only=False, destructive=True, idempotent=False, open_world=True)

Runner = Callable[[Any, Context], Any]


@dataclass(frozen=True)
class Tool:
    """The declaration of one tool.

    `runs` says where: `here` answers at once inside the server, `job` in a worker process of its own, `server` asks
    `Context.services`. `project` says what the argument names: an `existing` project, a `new` one, or `none`.
    """

    name: str
    title: str
    description: str
    command: str
    positional: tuple[str, ...]
    args: type[Args]
    result: type[Result]
    hints: Hints
    runs: Literal["here", "job", "server"]
    project: Literal["none", "existing", "new"] = "none"

    registry: ClassVar[str] = "kernelwright.tools"

    @property
    def run(self) -> Runner:
        """`run(args, context)` of this tool's package; its imports happen now, not when tools are listed."""
        module = importlib.import_module(f"{self.registry}.{self.name}.run")
        return cast(Runner, module.run)

    def input_schema(self) -> dict[str, Any]:
        """JSON schema of the arguments, without the titles that clients drop."""
        return cast(dict[str, Any], _compact(self.args.model_json_schema()))

    def output_schema(self) -> dict[str, Any]:
        """JSON schema of the structured result."""
        return cast(dict[str, Any], _compact(self.result.model_json_schema(mode="serialization"), keep_docs=False))


def _compact(node: Any, *, keep_docs: bool = True, inside_properties: bool = False) -> Any:
    if isinstance(node, dict):
        dropped = set() if inside_properties else {"title"} | (set() if keep_docs else {"description", "default"})
        kept = {k: v for k, v in node.items() if k not in dropped}
        # A nullable argument is one a caller may leave out: the type without null reads shorter and means the same.
        options = kept.get("anyOf")
        if keep_docs and isinstance(options, list) and {"type": "null"} in options and len(options) == 2:
            kept.pop("anyOf")
            kept.pop("default", None)
            kept = next(o for o in options if o != {"type": "null"}) | kept
        return {
            k: _compact(v, keep_docs=keep_docs, inside_properties=k in {"properties", "$defs"} and not inside_properties)
            for k, v in kept.items()
        }
    if isinstance(node, list):
        return [_compact(item, keep_docs=keep_docs) for item in node]
    return node


def wait_field() -> Any:
    """The argument `wait_s`, which every tool that runs as a job has."""
    return Field(WAIT_DEFAULT_S, ge=0, le=WAIT_MAX_S, description=f"seconds to wait, 0-{WAIT_MAX_S}; then get_job goes on")


def summarise(text: str, limit: int = 300) -> str:
    """A line of at most `limit` characters of what may be a long text."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
