"""Entering a box: the command that does it, and running one to its end."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from functools import cache
from typing import IO

from kernelwright.tools.sandbox import bubblewrap, landlock, supervise
from kernelwright.tools.sandbox.box import Box, Completed, Tier, environment
from kernelwright.tools.tool import ToolError


@cache
def available_tier() -> Tier:
    """The strongest tier that works here, tried out once for each process."""
    for tier in ("bubblewrap", "landlock"):
        if _works(tier):
            return tier
    return "none"


def _works(tier: Tier) -> bool:
    if tier == "bubblewrap" and bubblewrap.executable() is None:
        return False
    try:
        argv = command(["/bin/sh", "-c", "test -r /proc/self/status"], Box(tier=tier))
        return subprocess.run(argv, capture_output=True, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired, ToolError):
        return False


def command(argv: Sequence[str], box: Box) -> list[str]:
    """The command that runs `argv` in `box`, for the caller to start; its limits hold by themselves.

    The first process is a supervisor: SIGTERM to it, or the death of whoever started it, ends the whole tree; it exits with
    the child's status, 128 + N after signal N, or a key of `KILLED`. Inherited file descriptors reach `argv`.
    """
    tier = box.tier or available_tier()
    tmp = "/tmp" if tier == "bubblewrap" else supervise.TMP_MARK
    env = environment(argv, box, tmp)
    if tier == "bubblewrap":
        inner = bubblewrap.wrap(argv, box, env)
    elif tier == "landlock":
        inner = landlock.wrap(argv, box, env)
    else:
        inner = list(argv)
    limits = box.limits
    options = {
        "wall_s": limits.wall_s,
        "memory_bytes": limits.memory_bytes,
        "processes": limits.processes,
        "file_bytes": limits.file_bytes,
        # Drivers of GPUs reserve hundreds of GB of address space, so there only what is resident can be limited.
        "address_bytes": None if box.gpu else 4 * limits.memory_bytes,
        "private_tmp": tier != "bubblewrap",
        "env": env,
        "cwd": str(box.cwd) if box.cwd and tier == "none" else None,
    }
    return [sys.executable, "-I", "-S", supervise.__file__, json.dumps(options), "--", *inner]


def run(argv: Sequence[str], box: Box, *, stdin: bytes | None = None) -> Completed:
    """Run `argv` in `box` to its end. Output beyond the limit is read and dropped, and `truncated` says so."""
    started = time.monotonic()
    process = subprocess.Popen(
        command(argv, box),
        stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    readers = [_Reader(process.stdout, box.limits.output_bytes), _Reader(process.stderr, box.limits.output_bytes)]
    try:
        if process.stdin is not None:
            _feed(process.stdin, stdin or b"")
        code = process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    for reader in readers:
        reader.join()
    return Completed(
        returncode=128 - code if 128 < code < 200 else code,
        stdout=bytes(readers[0].kept),
        stderr=bytes(readers[1].kept),
        timed_out=supervise.KILLED.get(code) == "time",
        truncated=any(reader.dropped for reader in readers),
        seconds=time.monotonic() - started,
    )


def _feed(pipe: IO[bytes], data: bytes) -> None:
    def write() -> None:
        try:
            pipe.write(data)
            pipe.close()
        except BrokenPipeError:
            pass

    threading.Thread(target=write, daemon=True).start()


class _Reader(threading.Thread):
    """Keeps the first `limit` bytes of a pipe and drains the rest, so that a flood neither blocks nor fills memory."""

    def __init__(self, pipe: IO[bytes], limit: int) -> None:
        super().__init__(daemon=True)
        self.pipe, self.limit, self.kept, self.dropped = pipe, limit, bytearray(), 0
        self.start()

    def run(self) -> None:
        while chunk := self.pipe.read1(1 << 16):  # type: ignore[attr-defined]
            room = max(0, self.limit - len(self.kept))
            self.kept += chunk[:room]
            self.dropped += len(chunk) - len(chunk[:room])
