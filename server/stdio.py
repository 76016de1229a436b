"""The server on standard input and output, beside the agent."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import anyio
from mcp.server.stdio import stdio_server

from kernelwright.server.app import build, opened
from kernelwright.server.jobs import Jobs
from kernelwright.server.settings import Settings
from kernelwright.server.workspace import Directories


async def serve(settings: Settings) -> None:
    """Serve one client until its end of input, SIGTERM or SIGINT; every process of every job is gone afterwards."""
    workspaces = Directories((Path.cwd(), *settings.roots))
    async with opened(settings, workspaces) as calls, anyio.create_task_group() as tasks:
        tasks.start_soon(_end_on_signal, calls.jobs)
        server = build(calls)
        async with stdio_server() as (reader, writer):
            await server.run(reader, writer, server.create_initialization_options())
        tasks.cancel_scope.cancel()


async def _end_on_signal(jobs: Jobs) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            await jobs.stop()
            # A thread of the SDK sits in a read of standard input that nothing can interrupt.
            os._exit(0)
