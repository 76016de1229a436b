"""The second tier, for hosts that forbid user namespaces: Landlock, seccomp and, as root, a user id of its own."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from kernelwright.tools.sandbox import confine
from kernelwright.tools.sandbox.box import Box, gpu_devices, readable
from kernelwright.tools.sandbox.supervise import TMP_MARK

# Above what distributions give to people and services, below what user namespaces map.
FIRST_UID, UIDS = 60_100, 400


def wrap(argv: Sequence[str], box: Box, env: Mapping[str, str]) -> list[str]:
    """`argv` behind the script that gives up every right first. The environment is the supervisor's to set."""
    paths = readable(argv, box)
    options = {
        "read_only": [str(p) for p in paths],
        "writable": [*(str(p) for p in box.writable), TMP_MARK],
        "devices": [str(p) for p in gpu_devices()] if box.gpu else [],
        "uid": _own_uid(paths, box),
        "gpu": box.gpu,
        "processes": box.limits.processes,
        "cwd": str(box.cwd) if box.cwd else TMP_MARK,
        "tmp": TMP_MARK,
    }
    return [sys.executable, "-I", "-S", confine.__file__, json.dumps(options), "--", *argv]


def _own_uid(paths: Sequence[Path], box: Box) -> int | None:
    # A stranger to the file system can neither use what only root may read nor write into a folder of the user's.
    if os.geteuid() != 0 or box.writable or not all(map(_open_to_all, (*paths, Path(sys.executable)))):
        return None
    return FIRST_UID + secrets.randbelow(UIDS)


def _open_to_all(path: Path) -> bool:
    real = path.resolve()
    if not real.exists():
        return True
    return bool(real.stat().st_mode & 0o004) and all(parent.stat().st_mode & 0o001 for parent in real.parents)
