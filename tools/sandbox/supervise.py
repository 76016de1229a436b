"""Runs one command to its end within limits; when it ends, nothing it started goes on.

Started by path, with the standard library alone, in whatever Python is at hand: ``supervise.py OPTIONS -- COMMAND``.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from typing import Any

KILLED = {201: "memory", 202: "processes", 203: "time", 204: "cancelled"}
TMP_MARK = "@TMP@"
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
POLL_S = 0.25
WATCHED = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
PAGE = os.sysconf("SC_PAGE_SIZE")


def describe_exit(code: int) -> str:
    """A supervisor's exit status in words: a limit, a signal or a plain status."""
    if code in KILLED:
        return {"memory": "used more memory than allowed", "processes": "started more processes than allowed"}.get(
            KILLED[code], "ran out of time" if KILLED[code] == "time" else "was cancelled"
        )
    number = -code if code < 0 else code - 128
    if 0 < number < 65:
        try:
            return f"died of {signal.Signals(number).name}"
        except ValueError:
            return f"died of signal {number}"
    return f"exited with status {code}"


def descendants(root: int, limit: int | None = None) -> list[int]:
    """Every living process below `root`; stops looking once there are more than `limit`."""
    children: dict[int, list[int]] = {}
    for pid in (int(entry) for entry in os.listdir("/proc") if entry.isdigit()):  # noqa: PTH208
        parent = _parent(pid)
        if parent is not None:
            children.setdefault(parent, []).append(pid)
    found: list[int] = []
    todo = [root]
    while todo and (limit is None or len(found) <= limit):
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def _parent(pid: int) -> int | None:
    stat = _read(f"/proc/{pid}/stat")
    if not stat:
        return None
    # The name in parentheses may hold anything, parentheses and spaces included.
    state, parent = stat[stat.rindex(b")") + 2 :].split(b" ", 2)[:2]
    return None if state in (b"Z", b"X") else int(parent)


def resident_bytes(pids: list[int]) -> int:
    """Resident memory of these processes, shared pages counted for each."""
    total = 0
    for pid in pids:
        pages = _read(f"/proc/{pid}/statm").split()
        total += int(pages[1]) * PAGE if pages else 0
    return total


def _read(path: str) -> bytes:
    # Called for every process of the host several times a second, so without the cost of file objects.
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.read(fd, 4096)
    except OSError:
        return b""
    finally:
        os.close(fd)


def kill_below(root: int) -> None:
    """Kill everything below `root` until nothing is left; a fork bomb is stopped before it is killed."""
    for _ in range(200):
        pids = descendants(root)
        if not pids:
            return
        for pid in pids:
            _signal(pid, signal.SIGSTOP)
        for pid in pids:
            _signal(pid, signal.SIGKILL)
        _reap()
        time.sleep(0.005)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _reap() -> dict[int, int]:
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = status


def _start(argv: list[str], options: dict[str, Any], env: dict[str, str]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _limit(resource.RLIMIT_FSIZE, options["file_bytes"])
        if options["address_bytes"]:
            _limit(resource.RLIMIT_AS, options["address_bytes"])
        if options["cwd"]:
            os.chdir(options["cwd"])
        os.execvpe(argv[0], argv, env)
    except OSError as error:
        os.write(2, f"{argv[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def _limit(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (value, value))


def _watch(child: int, options: dict[str, Any], parent: int) -> int:
    deadline = time.monotonic() + options["wall_s"]
    while True:
        left = deadline - time.monotonic()
        caught = signal.sigtimedwait(WATCHED, max(0.0, min(POLL_S, left)))
        ended = _reap()
        if child in ended:
            code = os.waitstatus_to_exitcode(ended[child])
            return code if code >= 0 else 128 - code
        if (caught and caught.si_signo != signal.SIGCHLD) or os.getppid() != parent:
            return 204
        if time.monotonic() >= deadline:
            return 203
        pids = descendants(os.getpid(), options["processes"])
        if len(pids) > options["processes"]:
            return 202
        if resident_bytes(pids) > options["memory_bytes"]:
            return 201


def main(arguments: list[str]) -> int:
    """Supervise ``arguments[2:]`` as ``arguments[0]`` (JSON) says; the exit status is the command's, or one of `KILLED`."""
    options = json.loads(arguments[0])
    argv = arguments[2:]
    parent = os.getppid()
    if os.getpgid(0) != os.getpid():
        # Whoever kills the caller's process group must not kill this process before it has cleaned up below itself.
        os.setsid()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    tmp = tempfile.mkdtemp(prefix="kernelwright-") if options["private_tmp"] else ""
    env = {name: value.replace(TMP_MARK, tmp) for name, value in options["env"].items()}
    argv = [part.replace(TMP_MARK, tmp) for part in argv]
    try:
        code = _watch(_start(argv, options, env), options, parent)
    finally:
        kill_below(os.getpid())
        if tmp:
            shutil.rmtree(tmp, ignore_errors=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
