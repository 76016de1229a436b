"""Keeps torch imported, and forks a confined process for each package that is to be checked: ``forkserver.py OPTIONS``.

Started by path, in a box, under the user's Python, with torch alone. OPTIONS is JSON: `listen` (an inherited listening socket),
the files `confine` and `supervise`, what a check may see (`read_only`, `devices`, `gpu`), `answer_s` (seconds that one check
may take) and `idle_s` (after so many seconds without one, this ends). A connection carries one line: an order for
`import_check` with `stage`, the folder that holds the package, and `torch`, the version expected. One line comes back:
``{"answer": ..., "log": ...}``; without an answer the check has to be made elsewhere.
"""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import json
import os
import platform
import resource
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from types import ModuleType
from typing import Any

import import_check  # type: ignore[import-not-found]

PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 36, 38
LOG_BYTES = 1 << 20
ORDER_BYTES = 16 << 20


def main(options: dict[str, Any]) -> None:
    """Import torch, then answer until nobody has asked for a while."""
    sys.path.remove(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
    import torch

    confine, supervise = _load("confine", options["confine"]), _load("supervise", options["supervise"])
    listener = socket.socket(fileno=options["listen"])
    if len(os.listdir("/proc/self/task")) > 1:  # noqa: PTH208
        # A fork would leave the other threads' locks held for ever.
        return
    # What a fork collects would be copied first.
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener.settimeout(options["idle_s"])
    while True:
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            return
        if os.fork() == 0:
            listener.close()
            try:
                _answer(connection, options, torch.__version__, confine, supervise)
            finally:
                os._exit(0)
        connection.close()


def _load(name: str, path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _answer(
    connection: socket.socket, options: dict[str, Any], version: str, confine: ModuleType, supervise: ModuleType
) -> None:
    """Serve one connection, in a process of its own that outlives the check and ends whatever it started."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    connection.settimeout(30)
    order = json.loads(connection.makefile("rb").readline(ORDER_BYTES))
    said, answer = "", None
    if order["torch"] == version:
        scratch = tempfile.mkdtemp()
        log = os.memfd_create("log")
        incoming, outgoing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                _check(order, options, scratch, log, outgoing, confine)
            finally:
                os._exit(1)
        os.close(outgoing)
        answer = _read(incoming, options["answer_s"])
        os.kill(child, signal.SIGKILL)
        supervise.kill_below(os.getpid())
        said = os.pread(log, LOG_BYTES, 0).decode("utf-8", "replace")
        shutil.rmtree(scratch, ignore_errors=True)
    connection.sendall(json.dumps({"answer": answer, "log": said}).encode() + b"\n")


def _read(pipe: int, seconds: float) -> Any:
    """The line of JSON that comes through `pipe`, None if none comes in time."""
    deadline, got = time.monotonic() + seconds, bytearray()
    while len(got) < LOG_BYTES and not got.endswith(b"\n"):
        if not select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return None
        chunk = os.read(pipe, 1 << 16)
        if not chunk:
            return None
        got += chunk
    try:
        return json.loads(got)
    except ValueError:
        return None


def _check(order: dict[str, Any], options: dict[str, Any], scratch: str, log: int, answer: int, confine: ModuleType) -> None:
    """Give up all rights that the check does not need, and make it."""
    os.setsid()
    null = os.open("/dev/null", os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.closerange(3, answer)
    os.closerange(answer + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LOG_BYTES, LOG_BYTES))
    os.environ.update(HOME=scratch, TMPDIR=scratch)
    tempfile.tempdir = None
    os.chdir(scratch)
    seen = {**options, "read_only": [*options["read_only"], order["stage"]], "writable": [scratch]}
    abi, machine = confine.landlock_abi(), platform.machine()
    ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    confine.drop_root(None)
    confine.restrict_files(seen, abi)
    # Before version 6 Landlock does not keep signals from the processes outside.
    confine.restrict_calls(machine, confine.KILLERS[machine] if abi < 6 else (), options["gpu"])
    found = import_check.check(order)
    sys.stdout.flush()
    sys.stderr.flush()
    os.write(answer, json.dumps(found).encode() + b"\n")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
