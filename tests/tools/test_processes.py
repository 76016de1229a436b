"""Ending process trees for certain."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from kernelwright.tools.processes import descendants, is_running, kill_tree, start_time

FORKS = """
import os, sys, time
for depth in range(3):
    if os.fork() == 0:
        os.setsid()
        time.sleep(600)
print("ready", flush=True)
time.sleep(600)
"""


def test_kills_children_in_sessions_of_their_own(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", FORKS], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    below = descendants(process.pid)
    assert len(below) >= 3
    kill_tree(process.pid)
    process.wait()
    assert process.returncode == -signal.SIGKILL
    assert [pid for pid in below if is_running(pid)] == []


def test_a_worker_dies_with_its_parent() -> None:
    child = "import os, sys; from kernelwright.tools.processes import die_with_parent as d; d(os.getppid()); print(os.getpid(), flush=True); import time; time.sleep(600)"  # noqa: E501
    parent = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', sys.argv[1]]); time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", parent, child], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    pid = int(process.stdout.readline())
    assert is_running(pid)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_running(pid)


def test_a_reused_number_is_another_process() -> None:
    began = start_time(os.getpid())
    assert is_running(os.getpid(), began)
    assert not is_running(os.getpid(), began + 1)
    assert not is_running(2**22 + 1)
