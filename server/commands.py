"""Every tool as a command, generated from its declaration."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import anyio
import typer
from pydantic.fields import FieldInfo
from rich.console import Console
from rich.markdown import Markdown
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from kernelwright.server.app import dump, opened, progress_line
from kernelwright.server.calls import Calls
from kernelwright.server.job_store import Record
from kernelwright.server.settings import Settings
from kernelwright.server.workspace import Directories
from kernelwright.tools import TOOLS
from kernelwright.tools.tool import WAIT_MAX_S, JobResult, Result, Tool, ToolError

# What only an agent needs: a person edits files in place and waits for the end.
_NOT_FOR_PEOPLE = {"files", "wait_s"}
EXIT_OK, EXIT_FAILED, EXIT_ERROR, EXIT_INTERRUPTED = 0, 1, 2, 130

stdout = Console()
stderr = Console(stderr=True)


def add_tool_commands(app: typer.Typer) -> None:
    """Add a command for each tool, with an option for each argument."""
    for tool in TOOLS:
        app.command(tool.command, help=tool.description, rich_help_panel="Tools")(_command(tool))


def _command(tool: Tool) -> Callable[..., None]:
    def run(**given: Any) -> None:
        as_json = given.pop("json")
        arguments = {name: _value(name, value) for name, value in given.items() if value not in (None, [], ())}
        raise typer.Exit(call(tool, arguments, as_json=as_json))

    parameters = [
        _parameter(tool, name, field) for name, field in tool.args.model_fields.items() if name not in _NOT_FOR_PEOPLE
    ]
    json_option = typer.Option("--json", help="Print the result as JSON.")
    parameters.append(
        inspect.Parameter("json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, json_option])
    )
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__name__ = tool.command
    return run


def _parameter(tool: Tool, name: str, field: FieldInfo) -> inspect.Parameter:
    words = field.description or ""
    kind = inspect.Parameter.KEYWORD_ONLY
    if name in tool.positional:
        required = field.is_required()
        annotation = str if required else str | None
        default = inspect.Parameter.empty if required else None
        return inspect.Parameter(name, kind, default=default, annotation=Annotated[annotation, typer.Argument(help=words)])
    flag = f"--{name.replace('_', '-')}"
    plain = _plain(field.annotation)
    if plain is bool:
        return inspect.Parameter(name, kind, default=False, annotation=Annotated[bool, typer.Option(flag, help=words)])
    if get_origin(plain) is list:
        words = f"{words} (repeat for several)" if name != "shapes" else "as 128x4096 (repeat for several)"
        return inspect.Parameter(
            name, kind, default=None, annotation=Annotated[list[str] | None, typer.Option(flag, help=words)]
        )
    shown = f"{words} ({', '.join(get_args(plain))})" if get_origin(plain) is Literal else words
    value_type = int if plain is int else str
    return inspect.Parameter(
        name, kind, default=None, annotation=Annotated[value_type | None, typer.Option(flag, help=shown.strip())]
    )


def _plain(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, types.UnionType):
        options = [option for option in get_args(annotation) if option is not type(None)]
        return next((o for o in options if get_origin(o) is list), options[0])
    return annotation


def _value(name: str, value: Any) -> Any:
    if name == "shapes":
        try:
            return [[int(size) for size in text.split("x")] for text in value]
        except ValueError:
            return value
    return "all" if name == "variants" and value == ["all"] else value


def call(tool: Tool, arguments: dict[str, Any], *, as_json: bool) -> int:
    """Call a tool as a command does: live progress on standard error, the result on standard output; the exit code."""
    try:
        result = anyio.run(_to_the_end, tool, arguments, as_json)
    except ToolError as error:
        if as_json:
            stdout.print_json(dump({"error": error.as_dict()}))
        else:
            complain(error)
        return EXIT_ERROR
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    show(result, as_json=as_json)
    return EXIT_OK if succeeded(result) else EXIT_FAILED


def show(result: Result, *, as_json: bool) -> None:
    """The result on standard output."""
    if as_json:
        stdout.print_json(dump(result.model_dump(mode="json")))
    else:
        stdout.print(Markdown(result.markdown()))


def complain(error: ToolError) -> None:
    """The error on standard error: what was wrong, and what to do."""
    stderr.print(f"[bold red]{error.code}[/]: {escape(error.message)}", highlight=False, soft_wrap=True)
    stderr.print(f"[bold]hint[/]: {escape(error.hint)}", highlight=False, soft_wrap=True)


def succeeded(result: Result) -> bool:
    """Whether the kernel did what was asked: it compiles, its verdict is ok, its checks hold."""
    if not isinstance(result, JobResult):
        return True
    return result.status in {"ok", "running", "queued", "cancelled"} and getattr(result, "verdict", None) in {None, "ok"}


async def _to_the_end(tool: Tool, arguments: dict[str, Any], quiet: bool) -> Result:
    settings = Settings()
    # A person names any directory; the roots bound what an agent may name.
    async with opened(settings, Directories((Path.cwd(), Path("/")))) as calls:
        if tool.runs != "job":
            return await calls.call(tool, arguments)
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, console=stderr, transient=True, disable=quiet) as progress:
            task = progress.add_task(tool.command)
            return await _wait(calls, tool, arguments, lambda record: progress.update(task, description=progress_line(record)))


async def _wait(calls: Calls, tool: Tool, arguments: dict[str, Any], on_record: Callable[[Record], None]) -> Result:
    result = await calls.call(tool, arguments | {"wait_s": WAIT_MAX_S}, on_record)
    while isinstance(result, JobResult) and result.status in {"running", "queued"}:
        result = calls.answer(tool, await calls.jobs.wait(result.job_id, WAIT_MAX_S, on_record))
    return result
