"""Ending processes for certain: a worker dies with whoever started it, and takes everything it started along."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent, process `parent`, ends; ends at once if that has happened."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, so that `kill_tree` finds it."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants(pid: int) -> list[int]:
    """Process ids below `pid` now, nearest first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                # The command's name may hold spaces and brackets: the fields start after the last one.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = list(children.get(pid, []))
    for child in found:
        found += children.get(child, [])
    return found


def is_running(pid: int, started: int | None = None) -> bool:
    """Whether process `pid` lives; with `started` (its `start_time`), whether it is still the same one."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] != "Z" and (started is None or int(fields[19]) == started)


def start_time(pid: int) -> int:
    """Clock ticks from boot to the start of process `pid`, which tells it from a later one of the same number."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def kill_tree(pid: int, *, patience_s: float = 5.0) -> None:
    """Kill `pid` and everything below it, also what is started while this goes on; returns once they are gone."""
    deadline = time.monotonic() + patience_s
    # Stopped first: a process that cannot run cannot start another one between the look and the kill.
    tree = [pid]
    while True:
        for process in tree:
            _signal(process, signal.SIGSTOP)
        below = [pid, *descendants(pid)]
        if set(below) <= set(tree):
            break
        tree = list(dict.fromkeys([*tree, *below]))
    for process in tree:
        _signal(process, signal.SIGKILL)
    while any(is_running(process) for process in tree) and time.monotonic() < deadline:
        time.sleep(0.01)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
