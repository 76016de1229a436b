"""Forks a worker for each tool call, its imports behind it: ``python -m kernelwright.tools.zygote FD PARENT_PID``.

FD is a Unix socket to the server. Each message on it is the folder of a call (see `worker`) and comes with a socket of its own,
which becomes the worker's standard output. The first line there is ``{"pid": N}``, the last ``{"exit": CODE}``, negative for
a signal; lines of progress between them. Everything ends when the server does.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
from pathlib import Path

from kernelwright.tools import TOOLS, build_toml, sandbox, worker
from kernelwright.tools.processes import adopt_orphans, die_with_parent
from kernelwright.tools.tool import ToolError

MAX_PATH = 4096


def main() -> None:
    """Serve until the other end of the socket is closed."""
    control, parent = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])
    die_with_parent(parent)
    _prepare()
    woken, wake = socket.socketpair()
    woken.setblocking(False)
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([control, woken], [], [])
        if woken in ready:
            woken.recv(4096)
            _reap(running)
        if control in ready:
            message, fds, _, _ = socket.recv_fds(control, MAX_PATH, 1)
            if not message:
                return
            answers = socket.socket(fileno=fds[0])
            pid = os.fork()
            if pid == 0:
                _work(Path(os.fsdecode(message)), answers)
            running[pid] = answers


def _prepare() -> None:
    """Import what calls need, and find out once what does not change between them."""
    for tool in TOOLS:
        if tool.runs == "job":
            _ = tool.run
    with contextlib.suppress(ToolError):
        build_toml.rust()
    sandbox.available_tier()


def _reap(running: dict[int, socket.socket]) -> None:
    for pid in list(running):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            answers = running.pop(pid)
            _say(answers, {"exit": os.waitstatus_to_exitcode(status)})
            answers.close()


def _say(answers: socket.socket, data: dict[str, int]) -> None:
    # Nobody listens to a call that was cancelled.
    with contextlib.suppress(OSError):
        answers.sendall(json.dumps(data).encode() + b"\n")


def _work(folder: Path, answers: socket.socket) -> None:
    """The life of a worker; does not return."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        die_with_parent(os.getppid())
        adopt_orphans()
        _say(answers, {"pid": os.getpid()})
        os.dup2(answers.fileno(), 1)
        os.closerange(3, 256)
        code = worker.main(folder)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
