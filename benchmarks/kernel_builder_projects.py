"""Which existing kernel-builder projects compile here, unmodified: a table of them, with the reason where one does not.

    python benchmarks/kernel_builder_projects.py --source NAME=FOLDER [--source …] --out benchmarks/results/compile-projects

FOLDER holds one project a subfolder, for example a checkout's examples/kernels. Every backend that a project declares for cuda,
cpu or noarch is built in dev mode for one architecture, or for one that it declares if it has no code for that; a project that
takes longer than --limit seconds is ended and says how far it came. With --preprocess N up to N sources of each project, spread
over it, only go through the preprocessor, which tells within seconds whether their headers are to be had: for projects whose
compile takes hours.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from kernelwright.tools.compile_kernel import diagnostics, generated, plan, targets
from kernelwright.tools.compile_kernel.build import compile_project
from kernelwright.tools.project import Project
from kernelwright.tools.tool import Context, ToolError, summarise
from kernelwright.tools.toolchain import Toolchain, detect

# Cannot: something is missing here. Preprocessed: nothing is missing, and nothing more was tried.
OUTCOMES = ("compiles", "fails", "cannot", "unfinished", "preprocessed")

# The refusal of a project that is for other GPUs alone: `auto` takes one of those where this host has none of its own.
FOR_OTHERS = "has nothing to compile for"


@dataclass
class Row:
    """One backend of one project: `outcome` is one of `OUTCOMES`, `seconds` what it took on a machine with other work to do."""

    source: str
    project: str
    backend: str
    framework: str
    outcome: str
    seconds: float
    detail: str


def main() -> None:
    """Build every project of every source, and write the table as JSON and as markdown."""
    arguments = _arguments()
    rows: list[Row] = []
    for named in arguments.source:
        name, _, folder = named.partition("=")
        for project in sorted(Path(folder).iterdir()):
            if (project / "build.toml").is_file() and (not arguments.only or project.name in arguments.only):
                for row in _project(name, project, arguments):
                    print(f"{row.source} {row.project} {row.backend}: {row.outcome} {row.seconds} s {row.detail}", flush=True)
                    rows.append(row)
                _write(rows, arguments)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", action="append", required=True, metavar="NAME=FOLDER")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "kernelwright-projects")
    parser.add_argument("--arch", default="9.0a")
    parser.add_argument("--limit", type=float, default=900.0)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--preprocess", type=int, metavar="N")
    return parser.parse_args()


def _project(source: str, folder: Path, arguments: argparse.Namespace) -> list[Row]:
    try:
        project = Project.open(folder)
    except ToolError as error:
        return [Row(source, folder.name, "", "", "cannot", 0.0, f"{error.message} {error.hint}")]
    framework = project.build.binding.framework
    able = [b for b in project.backends if b in {"cuda", "cpu"}]
    if not able:
        reason = f"declares only {', '.join(project.backends)}"
        return [Row(source, folder.name, "-", framework, "cannot", 0.0, reason)]
    return [_build(source, folder, backend, framework, arguments) for backend in able]


def _build(source: str, folder: Path, backend: str, framework: str, arguments: argparse.Namespace) -> Row:
    started = time.perf_counter()
    here, there = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.Process(target=_compile, args=(folder, backend, arguments, there))
    process.start()
    there.close()
    outcome, detail = _followed(here, started + arguments.limit)
    if outcome == "unfinished":
        detail = f"not done after {arguments.limit:.0f} s on this machine: {detail}"
        process.terminate()
    process.join()
    return Row(source, folder.name, backend, framework, outcome, round(time.perf_counter() - started, 1), detail)


def _followed(pipe: Connection, end: float) -> tuple[str, str]:
    """The outcome that the build sends last, or `unfinished` with the last step that it told of."""
    step = "nothing compiled"
    try:
        while pipe.poll(max(0.0, end - time.perf_counter())):
            outcome, detail = pipe.recv()
            if outcome != "step":
                return outcome, detail
            step = detail
    except EOFError:
        return "fails", "the build ended without a result"
    return "unfinished", step


def _compile(folder: Path, backend: str, arguments: argparse.Namespace, pipe: Connection) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / folder.name
        shutil.copytree(folder, copy, symlinks=True)

        def progress(stage: str, message: str, fraction: float | None = None) -> None:
            done, _, rest = message.partition("/")
            if stage == "compiling" and rest:
                pipe.send(("step", f"{done} of {rest.split(' ')[0]} steps"))

        context = Context(
            folder=Path(scratch) / "job", cache=arguments.cache, host_python=Path(sys.executable), progress=progress
        )
        try:
            arch, most = arguments.arch, arguments.preprocess
            pipe.send(_preprocessed(copy, backend, arch, most, context) if most else _outcome(copy, backend, arch, context))
        except ToolError as error:
            pipe.send(("cannot", summarise(f"{error.message} {error.hint}".replace(scratch, "…"), 400)))


def _outcome(project: Path, backend: str, arch: str, context: Context) -> tuple[str, str]:
    try:
        result = compile_project(project, backend=backend, archs=[arch], context=context)
    except ToolError as error:
        if FOR_OTHERS not in error.message:
            raise
        result = compile_project(project, backend=backend, archs=["auto"], context=context)
    if result.status == "ok":
        notes = [d.message for d in result.diagnostics if d.severity == "note" and "compiled for" in d.message]
        return "compiles", summarise("; ".join([*result.skipped, *notes]), 400)
    first = next((d for d in result.diagnostics if d.severity == "error"), None)
    told = f"{first.file}:{first.line}: {first.message} {first.hint}" if first else "no reason"
    # What a host could have and this one has not is no fault of the project.
    return "cannot" if first and "not on this host" in first.hint else "fails", summarise(told, 400)


def _plan(project: Project, found: Toolchain, backend: str, arch: str, context: Context) -> plan.Plan:
    def planned(arch: str) -> plan.Plan:
        target = targets.choose(project, found, backend, [arch], "dev").targets[0]
        return plan.make(project, target, generated.folder(context.cache))

    try:
        return planned(arch)
    except ToolError as error:
        if FOR_OTHERS not in error.message:
            raise
        return planned("auto")


def _preprocessed(folder: Path, backend: str, arch: str, most: int, context: Context) -> tuple[str, str]:
    project, found = Project.open(folder), detect(context.host_python, cache=context.cache)
    units = [unit for unit in _plan(project, found, backend, arch, context).units if not unit.generated]
    looked = units[:: max(1, -(-len(units) // most))]
    for unit in looked:
        options = [flag for flag in unit.arguments if flag != "--resource-usage" and not flag.startswith("--threads")]
        argv = [str(unit.compiler), *options, "-E", unit.source, "-o", "/dev/null"]
        run = subprocess.run(argv, cwd=folder, capture_output=True, text=True)
        errors = [d for d in diagnostics.parse(run.stderr, diagnostics.Sources(folder), unit.source) if d.severity == "error"]
        if errors:
            told = f"{unit.source}: {errors[0].message} {errors[0].hint}"
            return "cannot" if "not on this host" in errors[0].hint else "fails", summarise(told, 400)
    return "preprocessed", f"{len(looked)} of its {len(units)} sources"


def _with_earlier(rows: list[Row], path: Path) -> list[Row]:
    """The rows of an earlier run into the same file, where this one has none for the same project."""
    now = {(row.source, row.project) for row in rows}
    earlier = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []
    kept = [Row(**row) for row in earlier if (row["source"], row["project"]) not in now]
    return sorted([*kept, *rows], key=lambda row: (row.source, row.project, row.backend))


def _write(rows: list[Row], arguments: argparse.Namespace) -> None:
    found = detect(Path(sys.executable), cache=arguments.cache)
    here = {
        "date": time.strftime("%Y-%m-%d"),
        "nvcc": found.nvcc.version if found.nvcc else None,
        "gxx": found.gxx.version if found.gxx else None,
        "torch": found.torch.version if found.torch else None,
        "arch": arguments.arch,
        "limit_s": arguments.limit,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    rows = _with_earlier(rows, arguments.out.with_suffix(".json"))
    data = {"host": here, "rows": [asdict(row) for row in rows]}
    arguments.out.with_suffix(".json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    counts = {o: sum(row.outcome == o for row in rows) for o in OUTCOMES}
    head = f"{here['date']}, nvcc {here['nvcc']}, g++ {here['gxx']}, torch {here['torch']}, for {arguments.arch}."
    head += (
        " A project that is not in the table was not tried. Cannot: it has nothing for cuda or cpu, or needs what is not here. "
        "Preprocessed: the headers of those sources that are counted are found, and nothing more was "
        "tried. Seconds are those of a machine with other work to do; objects that an earlier run had made were not made again."
    )
    lines = ["# kernel-builder projects, unmodified", "", head, ", ".join(f"{v} {k}" for k, v in counts.items()) + ".", ""]
    lines += ["| source | project | backend | framework | outcome | s | detail |", "| --- " * 7 + "|"]
    for row in rows:
        cells = [row.source, row.project, row.backend, row.framework, row.outcome, str(row.seconds)]
        lines.append("| " + " | ".join([*cells, row.detail.replace("|", "\\|")]) + " |")
    arguments.out.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
