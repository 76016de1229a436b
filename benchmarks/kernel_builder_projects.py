"""Which existing kernel-builder projects compile here, unmodified: a table of them, with the reason where one does not.

    python benchmarks/kernel_builder_projects.py --source NAME[@REVISION]=FOLDER --out benchmarks/results/compile-projects

FOLDER holds one project a subfolder, for example a checkout's examples/kernels. Every backend that a project declares for cuda,
cpu or noarch is built in dev mode for one architecture, or for one that it declares if it has no code for that; a project that
takes longer than --limit seconds is ended and says how far it came. What compiles is imported in the sandbox, and its ops are
counted under the name by which the package itself looks for them; --host-python is the interpreter whose torch it is built for,
and with a torch for CUDA the packages for CUDA are imported too. With --preprocess N up to N sources of each project, spread
over it, only go through the preprocessor, which tells within seconds whether their headers are to be had: for projects whose
compile takes hours. Rows that are in --out already stay there unless the same backend of their project is built again. With
--merge FILE the rows of another run's JSON, on another machine for example, take their place in --out as they are.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import projects_table
from projects_table import Row

from kernelwright.tools.compile_kernel import checker, diagnostics, generated, plan, targets
from kernelwright.tools.compile_kernel.build import compile_project
from kernelwright.tools.compile_kernel.contract import CompileResult
from kernelwright.tools.compile_kernel.sources import Sources
from kernelwright.tools.compile_kernel.target import Target
from kernelwright.tools.project import Project
from kernelwright.tools.tool import Context, ToolError, summarise
from kernelwright.tools.toolchain import Toolchain, detect

# The refusal of a project that is for other GPUs alone: `auto` takes one of those where this host has none of its own.
FOR_OTHERS = "has nothing to compile for"

# What a compile says that took longer than any may, however much was compiled by then.
TIMED_OUT = "the compile was ended at its limit of time"

# What is told of a package that compiles.
TOLD = ("compiled for", "in the hard-coded namespace", "python-depends names")

# A source that is in every build and that no project lists.
OWN = "old_systems.cpp"


@dataclass
class Report:
    """What came of a build."""

    outcome: str
    detail: str
    ops: str = "-"


def main() -> None:
    """Build every project of every source, and write the table as JSON and as markdown."""
    arguments = _arguments()
    for other in arguments.merge:
        _keep(projects_table.read(other)[1], arguments)
    for named in arguments.source:
        name, _, folder = named.partition("=")
        for project in sorted(Path(folder).iterdir()):
            if (project / "build.toml").is_file() and (not arguments.only or project.name in arguments.only):
                rows = _project(name, project, arguments)
                for row in rows:
                    told = f"{row.source} {row.project} {row.backend}: {row.outcome} {row.ops} {row.seconds} s {row.detail}"
                    print(told, flush=True)
                found = detect(arguments.host_python, cache=arguments.cache)
                _keep(rows, arguments, projects_table.host(found, arguments.arch))


def _keep(rows: list[Row], arguments: argparse.Namespace, here: dict[str, Any] | None = None) -> None:
    """Put `rows` into the table; `here` is the host if they were made now, else the table goes on to tell of its own."""
    told, earlier = projects_table.read(arguments.out.with_suffix(".json"))
    projects_table.write(projects_table.merged(earlier, rows), here or told, arguments.out)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", action="append", default=[], metavar="NAME[@REVISION]=FOLDER")
    parser.add_argument("--merge", action="append", default=[], type=Path, metavar="FILE")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "kernelwright-projects")
    parser.add_argument("--host-python", type=Path, default=Path(sys.executable))
    parser.add_argument("--arch", default="9.0a")
    parser.add_argument("--limit", type=float, default=900.0)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--backends", nargs="*", default=["cuda", "cpu"], choices=["cuda", "cpu"])
    parser.add_argument("--preprocess", type=int, metavar="N")
    parser.add_argument("--note", default="", help="what the rows of this run should say besides")
    return parser.parse_args()


def _project(named: str, folder: Path, arguments: argparse.Namespace) -> list[Row]:
    source, _, revision = named.partition("@")
    torch = detect(arguments.host_python, cache=arguments.cache).torch
    run = {"date": time.strftime("%Y-%m-%d"), "torch": torch.version if torch else "", "revision": revision}
    try:
        project = Project.open(folder)
    except ToolError as error:
        return [Row(source, folder.name, "", "", "cannot", 0.0, f"{error.message} {error.hint}", **run)]
    framework = project.build.binding.framework
    able = [b for b in project.backends if b in {"cuda", "cpu"}]
    asked = [b for b in able if b in arguments.backends]
    if not able:
        reason = f"declares only {', '.join(project.backends)}"
        return [Row(source, folder.name, "-", framework, "cannot", 0.0, reason, **run)]
    rows: list[Row] = []
    for backend in asked:
        report, seconds = _build(folder, backend, arguments)
        report.detail = "; ".join(filter(None, [report.detail, arguments.note]))
        rows.append(Row(source, folder.name, backend, framework, report.outcome, seconds, report.detail, report.ops, **run))
    return rows


def _build(folder: Path, backend: str, arguments: argparse.Namespace) -> tuple[Report, float]:
    started = time.perf_counter()
    # The folder is made here: a build that is ended leaves all its work in it.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        here, there = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.Process(target=_compile, args=(folder, Path(scratch), backend, arguments, there))
        process.start()
        there.close()
        report = _followed(here, started + arguments.limit, Path(scratch))
        if report.outcome == "unfinished" and TIMED_OUT not in report.detail:
            process.terminate()
            report.detail = f"not done after {arguments.limit:.0f} s on this machine: {report.detail}"
        process.join()
        return report, round(time.perf_counter() - started, 1)


def _followed(pipe: Connection, end: float, scratch: Path) -> Report:
    """What the build sends last, or how far it came by the time `end`."""
    total, missing, ended = 0, 0, 0
    try:
        while pipe.poll(max(0.0, end - time.perf_counter())):
            said = pipe.recv()
            if isinstance(said, Report) and TIMED_OUT in said.detail:
                # What a project has in the cache besides Kernelwright's own source, and what was compiled since.
                made = max(0, total - missing - 1) + ended
                return Report("unfinished", f"{TIMED_OUT}: {made} of its {total - 1} sources compiled")
            if isinstance(said, Report):
                return said
            if begins := re.match(r"(\d+) of (\d+) sources", said):
                missing, total = int(begins[1]), int(begins[2])
            elif re.match(rf"\d+/\d+ (?!name |stub |link$|{OWN})", said):
                ended += 1
    except EOFError:
        return Report("fails", "the build ended without a result")
    if not total:
        return Report("unfinished", "nothing compiled")
    held, made = _objects(scratch / "job" / "compile" / "work", total - missing)
    failed = f", {ended - made} failed" if ended > made else ""
    return Report("unfinished", f"{held + made} of its {total - 1} sources compiled{failed}")


def _objects(work: Path, cached: int) -> tuple[int, int]:
    """How many of the project's own sources had an object in the cache, and how many have one since."""
    ninja = work / "build.ninja"
    fresh = not ninja.is_file() or OWN in ninja.read_text(encoding="utf-8")
    made = [unit for unit in work.glob("units/*/object.o") if OWN not in unit.with_name("deps.d").read_text(encoding="utf-8")]
    return cached - (0 if fresh else 1), len(made)


def _compile(folder: Path, scratch: Path, backend: str, arguments: argparse.Namespace, pipe: Connection) -> None:
    copy = scratch / folder.name
    shutil.copytree(folder, copy, symlinks=True)

    def progress(stage: str, message: str = "", fraction: float | None = None) -> None:
        if stage == "compiling":
            pipe.send(message)

    context = Context(folder=scratch / "job", cache=arguments.cache, host_python=arguments.host_python, progress=progress)
    try:
        arch, most = arguments.arch, arguments.preprocess
        pipe.send(_preprocessed(copy, backend, arch, most, context) if most else _outcome(copy, backend, arch, context))
    except ToolError as error:
        pipe.send(Report("cannot", summarise(f"{error.message} {error.hint}".replace(str(scratch), "…"), 400)))


def _outcome(folder: Path, backend: str, arch: str, context: Context) -> Report:
    try:
        result = compile_project(folder, backend=backend, archs=[arch], context=context)
    except ToolError as error:
        if FOR_OTHERS not in error.message:
            raise
        result = compile_project(folder, backend=backend, archs=["auto"], context=context)
    if result.status == "ok":
        notes = [d.message for d in result.diagnostics if any(words in d.message for words in TOLD)]
        return _with_ops(folder, backend, arch, result, [*result.skipped, *notes], context)
    first = next((d for d in result.diagnostics if d.severity == "error"), None)
    told = f"{first.file}:{first.line}: {first.message} {first.hint}" if first else "no reason"
    # What a host could have and this one has not is no fault of the project.
    return Report("cannot" if first and "not on this host" in first.hint else "fails", summarise(told, 400))


def _with_ops(folder: Path, backend: str, arch: str, result: CompileResult, notes: list[str], context: Context) -> Report:
    """What compiles, with the ops that are found under the name that the package's own `_ops.py` gives."""
    ok = Report("compiles", summarise("; ".join(notes), 400))
    project, found = Project.open(folder), detect(context.host_python, cache=context.cache)
    if any("import check" in note for note in notes) or project.build.binding.framework == "tvm-ffi":
        return ok
    variant = folder / "build" / result.variant
    named = re.search(r"torch\.ops\.(\w+)", (variant / "_ops.py").read_text(encoding="utf-8"))
    if named is None:
        return Report("fails", "its _ops.py names no ops")
    target = _target(project, found, backend, arch)
    library = next(variant.glob("*.so"), None)
    with checker.Checker(folder, target, generated.folder(context.cache)) as asked:
        loaded = asked.ask(checker.order(variant, named[1], library, target))
    if library and not loaded.ops:
        return Report("fails", f"it loads, and no op is found under {named[1]}", "0")
    ok.ops = str(len(loaded.ops))
    return ok


def _target(project: Project, found: Toolchain, backend: str, arch: str) -> Target:
    try:
        return targets.choose(project, found, backend, [arch], "dev").targets[0]
    except ToolError as error:
        if FOR_OTHERS not in error.message:
            raise
        return targets.choose(project, found, backend, ["auto"], "dev").targets[0]


def _plan(project: Project, found: Toolchain, backend: str, arch: str, context: Context) -> plan.Plan:
    try:
        return plan.make(project, _target(project, found, backend, arch), generated.folder(context.cache))
    except ToolError as error:
        if FOR_OTHERS not in error.message:
            raise
        return plan.make(project, _target(project, found, backend, "auto"), generated.folder(context.cache))


def _preprocessed(folder: Path, backend: str, arch: str, most: int, context: Context) -> Report:
    project, found = Project.open(folder), detect(context.host_python, cache=context.cache)
    units = [unit for unit in _plan(project, found, backend, arch, context).units if not unit.generated]
    looked = units[:: max(1, -(-len(units) // most))]
    for unit in looked:
        options = [flag for flag in unit.arguments if flag != "--resource-usage" and not flag.startswith("--threads")]
        argv = [str(unit.compiler), *options, "-E", unit.source, "-o", "/dev/null"]
        run = subprocess.run(argv, cwd=folder, capture_output=True, text=True)
        errors = [d for d in diagnostics.parse(run.stderr, Sources(folder), unit.source) if d.severity == "error"]
        if errors:
            told = f"{unit.source}: {errors[0].message} {errors[0].hint}"
            return Report("cannot" if "not on this host" in errors[0].hint else "fails", summarise(told, 400))
    return Report("preprocessed", f"{len(looked)} of its {len(units)} sources")


if __name__ == "__main__":
    main()
