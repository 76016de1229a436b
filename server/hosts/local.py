"""This machine as a host: each call runs in a worker process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from kernelwright.server.hosts.base import Outcome
from kernelwright.tools import gpu, sandbox, toolchain, worker
from kernelwright.tools.processes import kill_tree
from kernelwright.tools.tool import Context, Progress, Tool

# What only the server may know, and what only the tool that uploads needs.
_SERVER_SECRETS = ("KERNELWRIGHT_TOKEN", "KERNELWRIGHT_TOKEN_FILE")
_HUB_SECRETS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH")
_MAX_LINE = 1 << 20


class LocalHost:
    """Runs calls beside the server, under the server's Python; torch stays in the children of the worker."""

    name = "local"

    def __init__(self, host_python: Path) -> None:
        self.host_python = host_python

    async def run(self, tool: Tool, args: dict[str, Any], context: Context, progress: Progress) -> Outcome:
        folder = context.folder
        (folder / worker.REQUEST).write_text(json.dumps(worker.request(tool, args, context)))
        complaints = folder / "stderr.txt"
        with complaints.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "kernelwright.tools.worker", str(folder), str(os.getpid())),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                env=_environment(tool),
                cwd=folder,
                limit=_MAX_LINE,
                start_new_session=True,
            )
            try:
                await _follow(process, progress)
                await process.wait()
            finally:
                if process.returncode is None:
                    with anyio.CancelScope(shield=True):
                        await anyio.to_thread.run_sync(kill_tree, process.pid)
                        await process.wait()
        return _outcome(folder, complaints, process.returncode)

    async def describe(self, queued: int) -> dict[str, Any]:
        return await anyio.to_thread.run_sync(self._describe, queued)

    def _describe(self, queued: int) -> dict[str, Any]:
        devices = gpu.devices()
        tools = toolchain.detect(self.host_python)
        backends = [*(["cpu"] if tools.gxx and tools.torch else []), *(["cuda"] if devices and tools.nvcc else [])]
        return {
            "name": self.name,
            "kind": "local",
            "state": "ready" if backends else "degraded",
            "gpus": [
                {
                    "name": device.name,
                    "arch": f"sm_{device.compute_capability.replace('.', '')}",
                    "memory_gb": round(device.memory_bytes / 2**30, 1),
                    "busy": bool(gpu.state(device.uuid).get("utilization_pct")),
                }
                for device in devices
            ],
            "toolchain": {
                "nvcc": tools.nvcc.version if tools.nvcc else None,
                "g++": tools.gxx.version if tools.gxx else None,
                "ninja": tools.ninja.version if tools.ninja else None,
                "torch": tools.torch.version if tools.torch else None,
                "sandbox": sandbox.available_tier(),
            },
            "backends": backends,
            "queued": queued,
        }


def _environment(tool: Tool) -> dict[str, str]:
    hidden = set(_SERVER_SECRETS) | (set() if tool.hints.open_world else set(_HUB_SECRETS))
    return {k: v for k, v in os.environ.items() if k not in hidden}


async def _follow(process: asyncio.subprocess.Process, progress: Progress) -> None:
    assert process.stdout is not None
    async for line in process.stdout:
        try:
            step = json.loads(line)
            progress(step["stage"], step["message"], step["fraction"])
        except (ValueError, KeyError, TypeError):
            # A library that prints must not end the job; its words are in the log's last lines.
            progress("running", line.decode(errors="replace").strip())


def _outcome(folder: Path, complaints: Path, returncode: int | None) -> Outcome:
    try:
        left = json.loads((folder / worker.RESULT).read_text())
    except (OSError, ValueError):
        said = complaints.read_text(errors="replace").strip().splitlines()[-15:]
        return Outcome(crash="\n".join([f"The worker ended with code {returncode} and left no result.", *said]))
    return Outcome(result=left.get("result"), error=left.get("error"))
