"""Which existing kernel-builder projects compile here, unmodified: a table of them, with the reason where one does not.

    python benchmarks/kernel_builder_projects.py --source NAME=FOLDER [--source …] --out benchmarks/results/compile-projects

FOLDER holds one project a subfolder, for example a checkout's examples/kernels. Every backend that a project declares for cuda,
cpu or noarch is built in dev mode for one architecture; a project that takes longer than --limit seconds is ended and says so.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kernelwright.tools.compile_kernel.build import compile_project
from kernelwright.tools.project import Project
from kernelwright.tools.tool import Context, ToolError, summarise
from kernelwright.tools.toolchain import detect


@dataclass
class Row:
    """One backend of one project: `outcome` is compiles, fails, cannot (something is missing here) or unfinished."""

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
    queue: multiprocessing.Queue[tuple[str, str]] = multiprocessing.Queue()
    process = multiprocessing.Process(target=_compile, args=(folder, backend, arguments, queue))
    process.start()
    try:
        outcome, detail = queue.get(timeout=arguments.limit)
    except Exception:
        outcome, detail = "unfinished", f"not done after {arguments.limit:.0f} s on this machine"
        process.terminate()
    process.join()
    return Row(source, folder.name, backend, framework, outcome, round(time.perf_counter() - started, 1), detail)


def _compile(folder: Path, backend: str, arguments: argparse.Namespace, queue: Any) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / folder.name
        shutil.copytree(folder, copy, symlinks=True)
        context = Context(folder=Path(scratch) / "job", cache=arguments.cache, host_python=Path(sys.executable))
        try:
            result = compile_project(copy, backend=backend, archs=[arguments.arch], context=context)
        except ToolError as error:
            queue.put(("cannot", summarise(f"{error.message} {error.hint}".replace(scratch, "…"))))
            return
        errors = [d for d in result.diagnostics if d.severity == "error"]
        if result.status == "ok":
            queue.put(("compiles", summarise("; ".join(result.skipped))))
        else:
            first = errors[0] if errors else None
            place = f"{first.file}:{first.line}: {first.message} {first.hint}" if first else "no reason"
            queue.put(("fails", summarise(place)))


def _with_earlier(rows: list[Row], path: Path) -> list[Row]:
    """The rows of an earlier run into the same file, where this one has none for the same project."""
    now = {(row.source, row.project) for row in rows}
    earlier = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []
    kept = [Row(**row) for row in earlier if (row["source"], row["project"]) not in now]
    return sorted([*kept, *rows], key=lambda row: (row.source, row.project, row.backend))


def _write(rows: list[Row], arguments: argparse.Namespace) -> None:
    found = detect(Path(sys.executable), cache=arguments.cache)
    here = {
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
    counts = {o: sum(row.outcome == o for row in rows) for o in ("compiles", "fails", "cannot", "unfinished")}
    head = f"nvcc {here['nvcc']}, g++ {here['gxx']}, torch {here['torch']}, for {arguments.arch}."
    head += (
        " A project that is not in the table was not tried. Cannot: it has nothing for cuda or cpu, or needs what is not here."
    )
    lines = ["# kernel-builder projects, unmodified", "", head, ", ".join(f"{v} {k}" for k, v in counts.items()) + ".", ""]
    lines += ["| source | project | backend | framework | outcome | s | detail |", "| --- " * 7 + "|"]
    for row in rows:
        cells = [row.source, row.project, row.backend, row.framework, row.outcome, str(row.seconds)]
        lines.append("| " + " | ".join([*cells, row.detail.replace("|", "\\|")]) + " |")
    arguments.out.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
