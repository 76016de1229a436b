"""Import checks by a process that keeps torch imported: right, confined, and of no consequence for the next one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kernelwright.tools import toolchain
from kernelwright.tools.compile_kernel import warm
from kernelwright.tools.compile_kernel.warm import Warm
from kernelwright.tools.processes import descendants, is_running

FOUND = toolchain.detect(Path(sys.executable))
pytestmark = pytest.mark.skipif(not Warm.possible(FOUND), reason="needs torch, Landlock and a sandbox")


@pytest.fixture(scope="module")
def visible(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("jobs")


@pytest.fixture(scope="module")
def process(visible: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    with Warm(FOUND, tmp_path_factory.mktemp("cache"), visible) as started:
        yield started


def check(process: Warm, visible: Path, name: str, code: str) -> dict[str, Any] | None:
    """What the check of a package whose ``__init__.py`` is `code` says."""
    stage = visible / name / "stage"
    (stage / "pkg").mkdir(parents=True)
    (stage / "pkg/__init__.py").write_text(code)
    (stage / "pkg/_ops.py").touch()
    order = {
        "folder": str(stage / "pkg"),
        "id": name,
        "namespace": name,
        "lazy": False,
        "libraries": [],
        "symbols": [],
        "keys": [],
    }
    return warm.ask(process.address, order, stage, FOUND.need_torch().version)


def test_a_package_loads_and_its_ops_are_seen(process: Warm, visible: Path) -> None:
    code = "import torch\nlib = torch.library.Library('loads', 'DEF')\nlib.define('twice(Tensor x) -> Tensor')\nprint('hello')"
    answer = check(process, visible, "loads", code)
    assert answer is not None
    assert answer["ok"]
    assert [op["schema"] for op in answer["ops"]] == ["loads::twice(Tensor x) -> Tensor"]
    assert "hello" in answer["log"]
    # Nothing of it is left for the next one.
    again = check(process, visible, "after", "import torch\nassert not hasattr(torch.ops.loads, 'twice')")
    assert again is not None
    assert again["ok"], again


def test_what_raises_is_told(process: Warm, visible: Path) -> None:
    answer = check(process, visible, "raises", "raise ValueError('no such luck')")
    assert answer is not None
    assert (answer["ok"], answer["problem"]["kind"], answer["problem"]["message"]) == (False, "ValueError", "no such luck")


HOSTILE = {
    "kills": """
import os
for pid in range(1, 400):
    try:
        os.kill(pid, 9) if pid != os.getpid() else None
    except OSError:
        pass
""",
    "kills all": "import os\nos.kill(-1, 9)",
    "traces": "import os, ctypes\nassert ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0) == -1",
    "reads memory": """
import os
try:
    open(f'/proc/{os.getppid()}/mem', 'rb').read(1)
    raise SystemExit('read')
except OSError:
    pass
""",
    "network": """
import socket
try:
    socket.socket()
    raise SystemExit('socket')
except OSError:
    pass
""",
    "forks on": "import os, time\nif os.fork() == 0:\n  os.setsid()\n  time.sleep(3600)",
    "floods": "import os\ntry:\n  while True: os.write(1, b'x' * 65536)\nexcept OSError: pass",
    "closes": "import os\nos.closerange(0, 256)",
    "exits": "import os\nos._exit(0)",
    "crashes": "import ctypes\nctypes.string_at(0)",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_the_next_check_is_right_after(process: Warm, visible: Path, name: str) -> None:
    answer = check(process, visible, name.replace(" ", "_"), HOSTILE[name])
    assert answer is None or answer["ok"] or answer["problem"]["kind"] != "SystemExit", answer
    assert process.alive()
    after = check(process, visible, f"after_{name.replace(' ', '_')}", "import torch\nassert torch.ones(2).sum() == 2")
    assert after is not None
    assert after["ok"], after


def test_a_check_sees_its_own_package_alone(process: Warm, visible: Path) -> None:
    secret = visible / "other/request.json"
    secret.parent.mkdir()
    secret.write_text("secret")
    code = f"""
import os, tempfile
for path in ({str(secret)!r}, '/etc/passwd', '/etc/hostname', {str(Path.home())!r}, {str(process.address)!r}):
    try:
        (os.listdir if os.path.isdir(path) else open)(path)
    except OSError:
        continue
    raise RuntimeError(path + ' can be read')
for folder in ('/tmp', '/dev/shm', os.path.dirname(__file__)):
    try:
        open(folder + '/left', 'w')
    except OSError:
        continue
    raise RuntimeError(folder + ' can be written')
with tempfile.NamedTemporaryFile() as file:
    file.write(b'own scratch')
"""
    answer = check(process, visible, "looks", code)
    assert answer is not None
    assert answer["ok"], answer


def test_another_torch_than_expected_gets_no_answer(process: Warm, visible: Path) -> None:
    order = {"folder": str(visible), "id": "x", "namespace": "x", "lazy": False, "libraries": [], "symbols": [], "keys": []}
    assert warm.ask(process.address, order, visible, "1.0") is None


def test_without_a_process_there_is_no_answer(tmp_path: Path) -> None:
    assert warm.ask(tmp_path / "absent", {}, tmp_path, "1.0") is None


def test_closing_ends_every_process(visible: Path, tmp_path: Path) -> None:
    before = set(descendants(os.getpid()))
    started = Warm(FOUND, tmp_path / "cache", visible)
    answer = check(started, visible, "last", "import torch")
    assert answer is not None
    assert answer["ok"]
    below = set(descendants(os.getpid())) - before
    assert below
    started.close()
    assert not [pid for pid in below if is_running(pid)]
    assert not started.address.parent.exists()


def test_it_ends_when_its_owner_is_killed(visible: Path, tmp_path: Path) -> None:
    script = f"""
import json, sys, time
from pathlib import Path
from kernelwright.tools import toolchain
from kernelwright.tools.compile_kernel.warm import Warm
from kernelwright.tools.processes import descendants
import os
Warm(toolchain.detect(Path(sys.executable)), Path({str(tmp_path / "cache")!r}), Path({str(visible)!r}))
while len(descendants(os.getpid())) < 2:
    time.sleep(0.01)
print(json.dumps(descendants(os.getpid())), flush=True)
os.kill(os.getpid(), {int(signal.SIGKILL)})
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    pids = json.loads(done.stdout)
    deadline = time.monotonic() + 20
    while any(is_running(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in pids if is_running(pid)]
