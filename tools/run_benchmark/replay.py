"""Doing a benchmark again from its report: the same sources, the same problem, the same seeds."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from kernelwright.tools.project import Project
from kernelwright.tools.run_benchmark.contract import BenchmarkArgs, BenchmarkResult
from kernelwright.tools.run_benchmark.report import FORMAT
from kernelwright.tools.tool import Context, ToolError


def replay(report: Path, context: Context) -> BenchmarkResult:
    """Repeat the job that `report` (a report.json) tells of, on the project of `context`, drawing what it drew.

    Raises ToolError: `not_found` and `bad_argument` for what is no report, `conflict` where sources or problem.py changed.
    """
    from kernelwright.tools.run_benchmark.run import run

    data = _read(report)
    project = Project.open(context.existing_project())
    result = data["result"]
    problem = hashlib.sha256(project.problem.read_bytes()).hexdigest() if project.problem.is_file() else ""
    now = {"sources": project.source_sha256, "problem.py": problem}
    then = {"sources": result["source_sha256"], "problem.py": (result["reference"] or {}).get("sha256", "")}
    for what, sha256 in then.items():
        if sha256 != now[what]:
            raise ToolError(
                "conflict",
                f"The project's {what} are not those of the report: sha256 {now[what][:16]}, then {sha256[:16]}.",
                "Check out what the report was made from, or run a new benchmark.",
            )
    args = BenchmarkArgs(**data["asked"])
    return run(args, context, seed=int(data["judge"]["method"]["seed"]))


def _read(report: Path) -> dict[str, Any]:
    try:
        data = json.loads(report.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ToolError("not_found", f"There is no report {report.name!r}.", "Name the report.json of a job.") from None
    except ValueError:
        data = None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ToolError("bad_argument", f"{report.name} is no report of a benchmark.", "Name the report.json of a job.")
    return data
