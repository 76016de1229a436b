"""This machine as a host: each call runs in a worker process of its own."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from kernelwright.server.hosts.base import Outcome
from kernelwright.server.hosts.workers import Workers
from kernelwright.server.settings import Settings
from kernelwright.tools import gpu, sandbox, toolchain, worker
from kernelwright.tools.tool import Context, Progress, Tool, ToolError

if TYPE_CHECKING:
    from kernelwright.tools.compile_kernel.warm import Warm


class LocalHost:
    """Runs calls beside the server, under the server's Python; torch stays in the children of the worker."""

    name = "local"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._workers = Workers()
        self._warm: Warm | None = None
        self._starting = anyio.Lock()

    async def run(self, tool: Tool, args: dict[str, Any], context: Context, progress: Progress) -> Outcome:
        folder = context.folder
        context = replace(context, warm=await self._torch_in_hand(tool))
        (folder / worker.REQUEST).write_text(json.dumps(worker.request(tool, args, context)))
        code = await self._workers.run(tool, folder, progress)
        return _outcome(folder, code)

    async def close(self) -> None:
        """End what was kept in hand for later jobs."""
        with anyio.CancelScope(shield=True):
            self._workers.close()
            if self._warm is not None:
                await anyio.to_thread.run_sync(self._warm.close)

    async def _torch_in_hand(self, tool: Tool) -> Path | None:
        """Where a process answers that has torch imported; the first compile starts it, other jobs use what there is."""
        async with self._starting:
            alive = self._warm is not None and self._warm.alive()
            if not alive and tool.name == "compile_kernel":
                self._warm = await anyio.to_thread.run_sync(self._start_warm)
            return self._warm.address if self._warm and self._warm.alive() else None

    def _start_warm(self) -> Warm | None:
        # What only jobs need is imported with the first of them: the server starts without it.
        from kernelwright.tools.compile_kernel.warm import Warm

        if self._warm is not None:
            self._warm.close()
        try:
            found = toolchain.detect(self._settings.host_python, cache=self._settings.cache_dir)
            return Warm(found, self._settings.cache_dir, self._settings.jobs_dir) if Warm.possible(found) else None
        except (ToolError, OSError, subprocess.SubprocessError):
            # It saves time and nothing else: what is missing here the job finds missing too, and says so.
            return None

    async def describe(self, queued: int) -> dict[str, Any]:
        return await anyio.to_thread.run_sync(self._describe, queued)

    def _describe(self, queued: int) -> dict[str, Any]:
        devices = gpu.devices()
        tools = toolchain.detect(self._settings.host_python)
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


def _outcome(folder: Path, returncode: int | None) -> Outcome:
    try:
        left = json.loads((folder / worker.RESULT).read_text())
    except (OSError, ValueError):
        said = _complaints(folder).splitlines()[-15:]
        return Outcome(crash="\n".join([f"The worker ended with code {returncode} and left no result.", *said]))
    return Outcome(result=left.get("result"), error=left.get("error"))


def _complaints(folder: Path) -> str:
    try:
        return (folder / worker.COMPLAINTS).read_text(errors="replace").strip()
    except OSError:
        return ""
