"""Runs the judge under the user's Python and hands on what it says."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, cast

from kernelwright.tools.run_benchmark.request import JUDGE, STEADY
from kernelwright.tools.sandbox import Box
from kernelwright.tools.sandbox.box import environment
from kernelwright.tools.tool import Context, ErrorCode, ToolError

TAIL = 2000


def judge(request: dict[str, Any], context: Context) -> dict[str, Any]:
    """The judge's result; raises ToolError for what it refuses. Its own output goes to the log."""
    asked = context.folder / "request.json"
    asked.write_text(json.dumps(request), encoding="utf-8")
    argv = [str(context.host_python), "-B", str(JUDGE / "start.py"), "opening", str(asked)]
    box = Box(gpu=request["device"] == "cuda", env=STEADY)
    with context.log.open("ab") as log:
        process = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, env=environment(argv, box, "/tmp")
        )
        try:
            said = _listen(process, context)
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait()
    if said is None:
        raise RuntimeError(f"the judge ended with status {process.returncode}: {_tail(context.log)}")
    if said["event"] == "error":
        raise ToolError(cast(ErrorCode, said["code"]), said["message"], said["hint"])
    return said


def _listen(process: subprocess.Popen[bytes], context: Context) -> dict[str, Any] | None:
    assert process.stdout is not None
    last = None
    for line in process.stdout:
        said: dict[str, Any] = json.loads(line)
        if said["event"] == "progress":
            context.progress(said["stage"], said["message"], said["fraction"])
        else:
            last = said
    process.wait()
    return last


def _tail(log: Path) -> str:
    return log.read_bytes()[-TAIL:].decode(errors="replace").strip()
