"""Worker processes: each is forked for one call by a process that has its imports behind it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from kernelwright.tools.processes import kill_tree
from kernelwright.tools.tool import Progress, Tool

# What only the server may know, and what only the tool that uploads needs.
_SERVER_SECRETS = ("KERNELWRIGHT_TOKEN", "KERNELWRIGHT_TOKEN_FILE")
_HUB_SECRETS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH")
_MAX_LINE = 1 << 20


class Workers:
    """The processes of one server; those for tools that reach the network see the user's tokens, the others do not."""

    def __init__(self) -> None:
        self._zygotes: dict[bool, _Zygote] = {}

    async def run(self, tool: Tool, folder: Path, progress: Progress) -> int | None:
        """Carry out the call in `folder` (see `kernelwright.tools.worker`); its exit status, None if that was lost.

        Where this is cancelled, or the status is lost, the worker and everything it started is gone.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            self._zygote(secrets=tool.hints.open_world).order(folder, theirs)
        reader, writer = await asyncio.open_connection(sock=ours, limit=_MAX_LINE)
        pid, code = None, None
        try:
            pid = await _pid(reader)
            async for line in reader:
                data = _parsed(line)
                if "exit" in data:
                    code = int(data["exit"])
                    break
                if {"stage", "message", "fraction"} <= data.keys():
                    progress(data["stage"], data["message"], data["fraction"])
                else:
                    # A library that prints must not end the job; its words are in the log's last lines.
                    progress("running", line.decode(errors="replace").strip())
        finally:
            if code is None:
                with anyio.CancelScope(shield=True):
                    # A call can be cancelled before it has a process, which then comes all the same.
                    pid = pid or await _pid(reader)
                    if pid:
                        await anyio.to_thread.run_sync(kill_tree, pid)
            writer.close()
        return code

    def _zygote(self, *, secrets: bool) -> _Zygote:
        held = self._zygotes.get(secrets)
        if held is None or not held.alive():
            held = self._zygotes[secrets] = _Zygote(secrets=secrets)
        return held

    def close(self) -> None:
        """End the processes that fork workers, and so all that is left of those."""
        for zygote in self._zygotes.values():
            zygote.close()


class _Zygote:
    def __init__(self, *, secrets: bool) -> None:
        hidden = set(_SERVER_SECRETS) | (set() if secrets else set(_HUB_SECRETS))
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "kernelwright.tools.zygote", str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={name: value for name, value in os.environ.items() if name not in hidden},
                start_new_session=True,
                pass_fds=(theirs.fileno(),),
            )

    def alive(self) -> bool:
        return self._process.poll() is None

    def order(self, folder: Path, answers: socket.socket) -> None:
        # One that has just died shows in a call that ends without a status.
        with suppress(ConnectionError):
            socket.send_fds(self._control, [os.fsencode(folder)], [answers.fileno()])

    def close(self) -> None:
        self._control.close()
        self._process.kill()
        self._process.wait()


async def _pid(reader: asyncio.StreamReader) -> int:
    """The worker's process id, 0 if there will be none."""
    return int(_parsed(await reader.readline()).get("pid", 0))


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        data = json.loads(line)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}
