"""Kernels that take the machine down if they can: each ends in time with a clear result, and the next job is right."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from court import checks
from kernelwright_judge import children

from kernelwright.tools.run_benchmark import request as requests

HOSTILE: dict[str, tuple[str, str, str]] = {
    "it hangs": ("incorrect", "time", "def norm(x, w):\n    while True: pass"),
    "it exits in the middle": ("incorrect", "exited", "def norm(x, w): os._exit(0)"),
    "it aborts": ("incorrect", "signal", "def norm(x, w): os.abort()"),
    "it kills its process group": ("incorrect", "signal", "def norm(x, w): os.killpg(0, 9)"),
    "it kills all it can": (
        "incorrect",
        "signal",
        "def norm(x, w):\n    try: os.kill(-1, 9)\n    finally: os.kill(os.getpid(), 9)",
    ),
    "it forks without end": ("rejected", "processes memory", "def norm(x, w):\n    while True: os.fork()"),
    "it prints gigabytes": ("rejected", "output", "def norm(x, w):\n    while True: os.write(1, bytes(1 << 16))"),
    "it closes what it was given": ("incorrect rejected", "exited protocol", "os.closerange(3, 200)"),
    "it ends while it is timed": ("incorrect", "exited", "threading.Timer(2.0, lambda: os._exit(0)).start()\ntime.sleep(1)"),
    "it reads beyond": ("incorrect", "signal", "def norm(x, w): return ctypes.string_at(8, 8)"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_kernel_ends_in_time(name: str, judged: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    verdict, family, source = HOSTILE[name]
    if name == "it hangs":
        monkeypatch.setattr(checks, "FIRST_CALL_S", 3.0)
    started = time.monotonic()
    found = judged(source, own_process=True)
    assert found.verdict in verdict.split(), found.reasons
    assert found.families & set(family.split()), found.reasons
    assert time.monotonic() - started < 60


def test_memory_is_limited(judged: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "_memory_bytes", lambda: 3 << 30)
    source = "def norm(x, w):\n    kept = []\n    while True: kept.append(torch.ones(1 << 24))"
    found = judged(source, own_process=True)
    assert found.families & {"memory", "raised"}
    assert found.verdict in {"rejected", "incorrect"}


def test_shared_memory_is_limited(judged: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "MOST_SHARED", 512 << 20)
    # Mapped, written and let go again, piece by piece: no process ever holds more than one piece.
    source = """
import mmap
def norm(x, w):
    for fd in map(int, os.listdir('/proc/self/fd')):
        try:
            for turn in range(64):
                with mmap.mmap(fd, 32 << 20, offset=turn * (32 << 20)) as piece: piece[:] = bytes(32 << 20)
        except (OSError, ValueError): pass
    return good(x, w)
"""
    found = judged(source, own_process=True)
    assert (found.verdict, "memory" in found.families) == ("rejected", True), found.reasons


def test_message_that_nests_without_end_is_refused(judged: Callable[..., Any]) -> None:
    source = """
module = next(m for n, m in sys.modules.items() if n.endswith('.wire') and hasattr(m, 'Wire'))
def send(self, message): os.write(self.write_fd, (60000).to_bytes(4, 'little') + b'[' * 60000)
module.Wire.send = send
"""
    found = judged(source, own_process=True)
    assert (found.verdict, found.families) == ("rejected", {"protocol"}), found.reasons


def test_the_next_job_is_right(judged: Callable[..., Any]) -> None:
    assert judged("def norm(x, w): os._exit(0)", own_process=True).verdict == "incorrect"
    found = judged("", own_process=True)
    assert found.families <= {"noise"}, found.reasons


def test_work_while_others_are_timed_is_seen(judged: Callable[..., Any]) -> None:
    source = "for _ in range(4):\n    if os.fork() == 0:\n        while True: pass"
    found = judged(source, own_process=True, baselines=["eager"])
    assert (found.verdict, "busy meanwhile" in found.families) == ("rejected", True), found.reasons


SPY = """
import glob, socket
def seen():
    found = [name for name in os.environ if "TOKEN" in name or "SECRET" in name]
    try:
        socket.create_connection(("127.0.0.1", PORT), timeout=1)
        found.append("the network")
    except OSError:
        pass
    for place in (SECRET, "/root/.ssh", "/etc/shadow"):
        try:
            found += [place, *os.listdir(place)] if os.path.isdir(place) else [open(place).read()]
        except OSError:
            pass
    me = os.getpid()
    try:
        for p in filter(str.isdigit, os.listdir("/proc")):
            first = open(f"/proc/{p}/cmdline", "rb").read().split(b"\\0")[0]
            if not first.endswith(b"bwrap") and int(p) not in (me, os.getppid()):
                found.append(f"process {p} {first}")
    except OSError:
        pass
    try:
        os.kill(JUDGE, 0)
        found.append("the judge's process")
    except OSError:
        pass
    try:
        open(SECRET, "w").write("x")
        found.append("a file that can be written")
    except OSError:
        pass
    return found
def norm(x, w):
    found = seen()
    if found:
        raise RuntimeError(f"seen: {found}")
    return good(x, w)
"""


@pytest.mark.parametrize("court", ["judged", "judged_by_landlock"])
def test_nothing_of_the_user_is_in_reach(
    court: str, request: pytest.FixtureRequest, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os
    import socket

    secret = tmp_path / "secret.txt"
    secret.write_text("a secret of the user's")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        given = f"PORT, SECRET, JUDGE = {server.getsockname()[1]}, {str(secret)!r}, {os.getpid()}\n"
        found = request.getfixturevalue(court)(given + SPY, own_process=True)
    assert found.families <= {"noise"}, found.reasons
    assert secret.read_text() == "a secret of the user's"
