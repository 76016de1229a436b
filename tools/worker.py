"""One tool call in a process of its own, which `zygote` forks.

Reads ``FOLDER/request.json`` ({tool, args, context}), writes a line of JSON to standard output at each step of progress, and
leaves ``FOLDER/result.json``: ``{"result": {...}}``, or ``{"error": {code, message, hint}}``, its complaints in ``stderr.txt``.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from kernelwright.tools import TOOLS
from kernelwright.tools.tool import Context, Tool, ToolError

REQUEST = "request.json"
RESULT = "result.json"
COMPLAINTS = "stderr.txt"


def request(tool: Tool, args: dict[str, Any], context: Context) -> dict[str, Any]:
    """What a worker needs to know of a call, as JSON data."""
    return {
        "tool": tool.name,
        "args": args,
        "context": {
            "folder": str(context.folder),
            "cache": str(context.cache),
            "host_python": str(context.host_python),
            "project": str(context.project) if context.project else None,
            "project_id": context.project_id,
            "job_id": context.job_id,
            "roots": [str(root) for root in context.roots],
            "warm": str(context.warm) if context.warm else None,
        },
    }


def report(stage: str, message: str = "", fraction: float | None = None) -> None:
    """Progress as a line of JSON on standard output."""
    sys.stdout.write(json.dumps({"stage": stage, "message": message, "fraction": fraction}) + "\n")
    sys.stdout.flush()


def run(folder: Path) -> dict[str, Any]:
    """Carry out the call that `folder` describes; the data of ``result.json``."""
    asked = json.loads((folder / REQUEST).read_text())
    tool = next(tool for tool in TOOLS if tool.name == asked["tool"])
    given = asked["context"]
    context = Context(
        folder=Path(given["folder"]),
        cache=Path(given["cache"]),
        host_python=Path(given["host_python"]),
        project=Path(given["project"]) if given["project"] else None,
        project_id=given["project_id"],
        job_id=given["job_id"],
        progress=report,
        roots=tuple(Path(root) for root in given["roots"]),
        warm=Path(given["warm"]) if given["warm"] else None,
    )
    try:
        answer = tool.run(tool.args.model_validate(asked["args"]), context)
    except ToolError as error:
        return {"error": error.as_dict()}
    return {"result": answer.model_dump(mode="json") | {"job_id": context.job_id}}


def main(folder: Path) -> int:
    """Carry out the call in `folder`; the exit status, 0 unless it crashed."""
    os.chdir(folder)
    os.dup2(os.open(COMPLAINTS, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 2)
    try:
        outcome = run(folder)
    except BaseException:
        traceback.print_exc()
        return 1
    temporary = folder / f"{RESULT}.{os.getpid()}"
    temporary.write_text(json.dumps(outcome))
    temporary.replace(folder / RESULT)
    return 0
