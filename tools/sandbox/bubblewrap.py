"""The first tier: bubblewrap, a mount, PID, network, IPC and user namespace of its own."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from kernelwright.tools.sandbox.box import Box, gpu_devices, readable


def executable() -> str | None:
    """Where `bwrap` lies, if it does."""
    return shutil.which("bwrap")


def wrap(argv: Sequence[str], box: Box, env: Mapping[str, str]) -> list[str]:
    """`argv` as a bubblewrap command."""
    out = [executable() or "bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    out += ["--hostname", "kernelwright", "--proc", "/proc", "--dev", "/dev"]
    # Both tmpfs would otherwise hold half of the host's memory, out of sight of the limit on resident memory.
    size = str(max(64 << 20, box.limits.memory_bytes // 2))
    out += ["--size", size, "--tmpfs", "/tmp", "--size", size, "--tmpfs", "/dev/shm"]
    for path in readable(argv, box):
        out += _bind(path)
    if box.gpu:
        for node in gpu_devices():
            out += ["--dev-bind", str(node), str(node)]
    for path in box.writable:
        out += ["--bind", str(path), str(path)]
    out += ["--chdir", str(box.cwd) if box.cwd else "/tmp", "--clearenv"]
    for name, value in env.items():
        out += ["--setenv", name, value]
    return [*out, "--", *argv]


def _bind(path: Path) -> list[str]:
    if path.is_symlink() and len(path.parts) == 2:
        return ["--symlink", str(path.readlink()), str(path)]
    return ["--ro-bind", str(path), str(path)]
