"""What a host is to the jobs: somewhere a tool call can be carried out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from kernelwright.tools.tool import Context, Progress, Tool


@dataclass(frozen=True)
class Outcome:
    """How a call ended: a result, a ToolError as data, or a crash with the last lines of what it said."""

    result: dict[str, Any] | None = None
    error: dict[str, str] | None = None
    crash: str = ""


class Host(Protocol):
    """Carries out tool calls; cancelling `run` ends every process of the call before it returns, `close` all others."""

    name: str

    async def run(self, tool: Tool, args: dict[str, Any], context: Context, progress: Progress) -> Outcome: ...

    async def describe(self, queued: int) -> dict[str, Any]: ...

    async def close(self) -> None: ...
