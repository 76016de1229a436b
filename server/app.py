"""The MCP server, built out of `tools.TOOLS`, the resources and the prompts."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server

from kernelwright.server.calls import Calls
from kernelwright.server.hosts.local import LocalHost
from kernelwright.server.instructions import INSTRUCTIONS
from kernelwright.server.job_store import Record
from kernelwright.server.jobs import Jobs
from kernelwright.server.prompts import Prompts
from kernelwright.server.resources import Resources
from kernelwright.server.settings import Settings
from kernelwright.server.skills_over_mcp import add_skills
from kernelwright.server.workspace import Workspaces
from kernelwright.tools import TOOLS
from kernelwright.tools.tool import Tool, ToolError

HEARTBEAT_S = 5.0
ERROR_SCHEMA = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("code", "message", "hint")},
    "required": ["code", "message", "hint"],
}
_BY_NAME = {tool.name: tool for tool in TOOLS}
RequestContext = ServerRequestContext[Any, Any]


def describe(tool: Tool) -> types.Tool:
    """The tool as MCP lists it."""
    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=tool.input_schema(),
        output_schema=answer_schema(tool),
        annotations=types.ToolAnnotations(
            title=tool.title,
            read_only_hint=tool.hints.read_only,
            destructive_hint=tool.hints.destructive,
            idempotent_hint=tool.hints.idempotent,
            open_world_hint=tool.hints.open_world,
        ),
    )


def answer_schema(tool: Tool) -> dict[str, Any]:
    """What the structured content may hold: the tool's result, or the error in its place.

    Clients made with the TypeScript SDK hold errors to the schema too, and show one that does not match as a broken server.
    """
    schema = tool.output_schema()
    needed = schema.pop("required", [])
    schema["properties"] = {"error": ERROR_SCHEMA} | schema["properties"]
    return schema | {"anyOf": [{"required": needed}, {"required": ["error"]}]}


class Handlers:
    """What the server does with each request."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.resources = Resources(calls)
        self.prompts = Prompts()

    async def list_tools(self, _: RequestContext, __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[describe(tool) for tool in TOOLS])

    async def call_tool(self, context: RequestContext, params: types.CallToolRequestParams) -> types.CallToolResult:
        try:
            tool = _BY_NAME.get(params.name)
            if tool is None:
                raise ToolError("not_found", f"There is no tool {params.name!r}.", f"Tools: {', '.join(_BY_NAME)}.")
            result = await self._call_with_progress(context, tool, params.arguments or {})
        except ToolError as error:
            return failure(error)
        return types.CallToolResult(
            content=[types.TextContent(text=result.markdown())], structured_content=result.model_dump(mode="json")
        )

    async def _call_with_progress(self, context: RequestContext, tool: Tool, arguments: dict[str, Any]) -> Any:
        began = time.monotonic()
        latest: list[Record] = []
        changed = asyncio.Event()

        def remember(record: Record) -> None:
            latest[:] = [record]
            changed.set()

        async def tell() -> None:
            while True:
                try:
                    await asyncio.wait_for(changed.wait(), HEARTBEAT_S)
                except TimeoutError:
                    if not latest:
                        continue
                changed.clear()
                await context.session.report_progress(time.monotonic() - began, None, progress_line(latest[0]))

        teller = asyncio.create_task(tell())
        try:
            return await self.calls.call(tool, arguments, remember)
        finally:
            teller.cancel()


def progress_line(record: Record) -> str:
    """A job's progress for a person."""
    if record.queue_position:
        return f"queued, {record.queue_position} ahead"
    return f"{record.stage}: {record.message}" if record.message else record.stage


def failure(error: ToolError) -> types.CallToolResult:
    """A ToolError as an answer; the text holds all that the data holds."""
    text = f"{error.code}: {error.message}\nhint: {error.hint}"
    return types.CallToolResult(
        content=[types.TextContent(text=text)], structured_content={"error": error.as_dict()}, is_error=True
    )


def build(calls: Calls) -> Server[Any]:
    """The server over these tools."""
    handlers = Handlers(calls)
    server: Server[Any] = Server(
        "kernelwright",
        version=version("kernelwright"),
        title="Kernelwright",
        description="Write, compile, check, time and publish GPU kernels",
        instructions=INSTRUCTIONS,
        on_list_tools=handlers.list_tools,
        on_call_tool=handlers.call_tool,
        on_list_resources=handlers.resources.list_resources,
        on_list_resource_templates=handlers.resources.list_templates,
        on_read_resource=handlers.resources.read,
        on_list_prompts=handlers.prompts.list_prompts,
        on_get_prompt=handlers.prompts.get,
        on_completion=handlers.resources.complete,
    )
    add_skills(server)
    return server


@asynccontextmanager
async def opened(settings: Settings, workspaces: Workspaces) -> AsyncIterator[Calls]:
    """The tools of this machine, with their jobs; every process of theirs is gone when this ends."""
    async with Jobs(settings, LocalHost(settings)) as jobs:
        yield Calls(settings, workspaces, jobs)


def dump(data: Any) -> str:
    """Data as the JSON that the command line prints."""
    return json.dumps(data, indent=2, ensure_ascii=False)
