"""The commands for people: serve, demo, doctor, setup, and one per tool."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, NoReturn

import anyio
import typer
from rich.syntax import Syntax

from kernelwright.server import clients, doctor, skill
from kernelwright.server.app import dump
from kernelwright.server.commands import EXIT_ERROR, EXIT_FAILED, add_tool_commands, complain, show, stderr, stdout, succeeded
from kernelwright.server.settings import Settings
from kernelwright.tools.tool import Context, ToolError

HELP = """\
Write, compile, check, time and publish GPU kernels, for coding agents over MCP and for people.

Start with [bold]kernelwright demo[/bold] (the whole way on this machine), [bold]kernelwright doctor[/bold] (what it lacks) \
and [bold]kernelwright setup codex[/bold], [bold]claude[/bold], [bold]cursor[/bold] … (tell your agent about it).

Exit codes: 0 done; 1 the kernel failed (does not compile, verdict not ok, a check failed); 2 the call could not be carried \
out, the message says why and what to do; 130 interrupted.
"""
app = typer.Typer(help=HELP, rich_markup_mode="rich", no_args_is_help=False, add_completion=False)
setup = typer.Typer(help="Tell a client about Kernelwright: in its configuration, or by a skill.", no_args_is_help=True)
app.add_typer(setup, name="setup")
add_tool_commands(app)

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Roots = Annotated[list[Path] | None, typer.Option("--root", help="Directory that may hold projects (repeat for several).")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be written; write nothing.")]
Url = Annotated[str | None, typer.Option(help="A Kernelwright over HTTP instead, e.g. http://gpu-host:8765/mcp.")]


@app.callback(invoke_without_command=True)
def default(context: typer.Context, show_version: Annotated[bool, typer.Option("--version")] = False) -> None:
    if show_version:
        stdout.print(version("kernelwright"), highlight=False)
        raise typer.Exit
    if context.invoked_subcommand is None:
        _serve(None, [], None)


@app.command()
def serve(
    http: Annotated[str | None, typer.Option(help="Serve streamable HTTP on HOST:PORT, e.g. 127.0.0.1:8765.")] = None,
    root: Roots = None,
    token_file: Annotated[Path | None, typer.Option(help="File with the bearer token (or KERNELWRIGHT_TOKEN).")] = None,
) -> None:
    """Serve MCP on standard input and output, or over HTTP on the machine that has the GPU."""
    _serve(http, root or [], token_file)


def _serve(http: str | None, roots: list[Path], token_file: Path | None) -> None:
    settings = Settings()
    settings.roots += roots
    settings.token_file = token_file or settings.token_file
    try:
        if http:
            from kernelwright.server.http import serve as serve_http

            anyio.run(serve_http, settings, http)
        else:
            from kernelwright.server.stdio import serve as serve_stdio

            if sys.stdin.isatty():
                stderr.print("Kernelwright waits for an MCP client on standard input; kernelwright --help tells more.")
            anyio.run(serve_stdio, settings)
    except ToolError as error:
        _fail(error)


@app.command()
def demo(
    as_json: AsJson = False, keep: Annotated[Path | None, typer.Option(help="Keep the project in this directory.")] = None
) -> None:
    """Take a kernel the whole way, through a real MCP connection: guide, scaffold, compile, benchmark, package, load."""
    from kernelwright.server.demo import run

    raise typer.Exit(0 if run(as_json=as_json, keep=keep) else EXIT_FAILED)


@app.command()
def replay(
    report: Annotated[Path, typer.Argument(help="The report.json of a benchmark, or the id of its job.")],
    project: Annotated[Path, typer.Argument(help="The project it was made from.")],
    as_json: AsJson = False,
) -> None:
    """Do a benchmark again from its report: the same sources, the same problem, the same seeds."""
    from kernelwright.tools.run_benchmark.replay import replay as run

    settings = Settings()
    of_job = settings.jobs_dir / report / "report.json"
    with tempfile.TemporaryDirectory(prefix="kernelwright-") as folder:
        context = Context(
            folder=Path(folder),
            cache=settings.cache_dir,
            host_python=settings.host_python,
            project=project.resolve(),
            project_id=str(project),
            job_id="replay",
            progress=lambda stage, message="", fraction=None: stderr.print(f"{stage} {message}", highlight=False, markup=False),
        )
        try:
            result = run(of_job if of_job.is_file() else report, context)
        except ToolError as error:
            _fail(error)
    show(result, as_json=as_json)
    raise typer.Exit(0 if succeeded(result) else EXIT_FAILED)


@app.command("doctor")
def doctor_command(as_json: AsJson = False) -> None:
    """What this machine has and lacks, with the command that mends each lack."""
    findings = doctor.examine(Settings())
    data = doctor.as_data(findings)
    if as_json:
        stdout.print_json(dump(data))
    else:
        doctor.print_table(findings, stdout)
    raise typer.Exit(0 if data["ok"] else EXIT_FAILED)


def _setup_command(name: str, client: clients.Client) -> Callable[..., None]:
    def run(
        root: Roots = None,
        url: Url = None,
        project: Annotated[bool, typer.Option("--project", help="For the current directory alone.")] = False,
        as_skill: Annotated[
            bool, typer.Option("--skill", help="The guides as a skill instead, which needs no server.")
        ] = False,
        dest: Annotated[Path | None, typer.Option(help="With --skill: the folder of skills to write to.")] = None,
        dry_run: DryRun = False,
    ) -> None:
        try:
            if as_skill:
                if root or url or project:
                    raise ToolError("bad_argument", "A skill starts no server.", "With --skill, give only --dest or --dry-run.")
                _write_skill(dest or skill.skill_home(name), dry_run)
            elif dest:
                raise ToolError("bad_argument", f"--dest {dest} is for a skill only.", "Add --skill.")
            else:
                _write(client.change(clients.Wish(tuple(root or ()), url, project)), dry_run, client.language)
        except ToolError as error:
            _fail(error)

    return run


for _name, _client in clients.CLIENTS.items():
    _words = f"{_client.title}: {_client.user_file}, or with --project ./{_client.project_file}"
    setup.command(_name, help=_words)(_setup_command(_name, _client))


def _write_skill(destination: Path, dry_run: bool) -> None:
    if dry_run:
        stdout.print(f"Would write to {destination / skill.NAME}:", highlight=False, markup=False, soft_wrap=True)
        for path in skill.skill_files():
            stdout.print(f"  {path}", highlight=False, markup=False, soft_wrap=True)
        return
    written = skill.write_skill(destination)
    stdout.print(f"Wrote {len(written)} files to {destination / skill.NAME}", highlight=False, markup=False, soft_wrap=True)


def _write(change: clients.Change, dry_run: bool, language: str) -> None:
    if dry_run:
        stdout.print(f"Would write to {change.path}:", highlight=False, markup=False, soft_wrap=True)
        stdout.print(Syntax(change.snippet, language, background_color="default", word_wrap=True))
        return
    clients.apply(change)
    stdout.print(f"Wrote {change.path}", highlight=False, markup=False, soft_wrap=True)


def _fail(error: ToolError) -> NoReturn:
    complain(error)
    raise typer.Exit(EXIT_ERROR)
