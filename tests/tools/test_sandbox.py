"""The box in both tiers: what it hides, what it limits, what it leaves behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kernelwright.tools.sandbox import Box, Limits, Tier, available_tier, command, describe_exit, run
from kernelwright.tools.sandbox.box import python_roots
from kernelwright.tools.sandbox.supervise import descendants

PYTHON = sys.executable
TIERS: tuple[Tier, ...] = ("bubblewrap", "landlock")
both = pytest.mark.parametrize("tier", TIERS)


def python(code: str, tier: Tier, **box: object) -> tuple[int, str]:
    done = run([PYTHON, "-c", code], Box(tier=tier, **box))  # type: ignore[arg-type]
    return done.returncode, (done.stdout + done.stderr).decode()


def test_a_tier_is_available() -> None:
    assert available_tier() == "bubblewrap"


@both
def test_output_status_and_input_pass_through(tier: Tier) -> None:
    code = "import sys; print(sys.stdin.read().upper()); print('err', file=sys.stderr); sys.exit(7)"
    done = run([PYTHON, "-c", code], Box(tier=tier), stdin=b"words")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"WORDS\n", b"err\n")
    assert not done.timed_out and not done.truncated


@both
def test_environment_is_clean_but_for_what_is_given(tier: Tier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    code, text = python("import os; print(sorted(os.environ)); print(os.environ['GIVEN'])", tier, env={"GIVEN": "yes"})
    assert code == 0 and "yes" in text
    assert "HF_TOKEN" not in text


@both
def test_no_network(tier: Tier) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code, text = python(f"import socket; socket.create_connection(('127.0.0.1', {port}), 1)", tier)
    assert code == 1
    assert "PermissionError" in text or "ConnectionRefused" in text or "unreachable" in text


@both
def test_files_are_hidden_read_only_or_writable(tier: Tier, tmp_path: Path) -> None:
    for name in ("hidden", "shown", "work"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    code = f"""
import pathlib
base = pathlib.Path({str(tmp_path)!r})
def attempt(what):
    try: return what()
    except OSError as error: return type(error).__name__
print(attempt((base / "hidden/file").read_text), attempt((base / "shown/file").read_text))
print(attempt(lambda: (base / "shown/file").write_text("x")), attempt(lambda: (base / "work/new").write_text("made")))
"""
    status, text = python(code, tier, read_only=(tmp_path / "shown",), writable=(tmp_path / "work",), cwd=tmp_path / "work")
    first, second = text.splitlines()
    assert status == 0
    assert first.split()[0] in {"FileNotFoundError", "PermissionError"} and first.split()[1] == "shown"
    assert second.split()[0] in {"OSError", "PermissionError"} and second.split()[1] == "4"
    assert (tmp_path / "work/new").read_text() == "made"
    assert (tmp_path / "shown/file").read_text() == "shown"


@both
def test_tmp_is_private_and_goes_away(tier: Tier) -> None:
    before = set(Path("/tmp").iterdir())
    code = "import tempfile, pathlib; p = pathlib.Path(tempfile.mkdtemp()); (p / 'f').write_text('x'); print(p)"
    status, text = python(code, tier)
    assert status == 0
    assert not Path(text.strip()).exists()
    assert Path(text.strip()).parent == Path("/tmp") or Path(text.strip()).parent not in before


@both
def test_other_processes_cannot_be_seen_or_signalled(tier: Tier) -> None:
    code = f"""
import os
def attempt(what):
    try: return what()
    except OSError as error: return type(error).__name__
def others():
    pids = [p for p in os.listdir('/proc') if p.isdigit() and int(p) not in (os.getpid(), os.getppid())]
    return len([p for p in pids if not open(f'/proc/{{p}}/cmdline', 'rb').read().split(b'\\0')[0].endswith(b'bwrap')])
print(attempt(others), attempt(lambda: os.kill({os.getpid()}, 0)), attempt(lambda: open('/proc/{os.getpid()}/environ').read(1)))
"""
    status, text = python(code, tier)
    assert status == 0
    listed, signalled, environ = text.split()
    assert listed in {"0", "PermissionError"}
    assert signalled in {"ProcessLookupError", "PermissionError"}
    assert environ in {"FileNotFoundError", "PermissionError"}


@both
def test_mounting_is_denied(tier: Tier) -> None:
    code = 'import ctypes; print(ctypes.CDLL(None).mount(b"none", b"/usr", b"tmpfs", 0, None))'
    assert python(code, tier) == (0, "-1\n")


def test_tracing_is_denied_where_processes_are_shared() -> None:
    code = f"import ctypes; print(ctypes.CDLL(None).ptrace(16, {os.getpid()}, 0, 0))"
    assert python(code, "landlock") == (0, "-1\n")


@both
def test_time_is_limited_and_nothing_is_left(tier: Tier) -> None:
    before = set(descendants(os.getpid()))
    code = (
        "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(77)']); time.sleep(77)"
    )
    done = run([PYTHON, "-c", code], Box(tier=tier, limits=Limits(wall_s=2)))
    assert done.timed_out and done.seconds < 30
    assert set(descendants(os.getpid())) <= before


@both
def test_memory_is_limited(tier: Tier) -> None:
    limits = Limits(memory_bytes=256 << 20, wall_s=60)
    done = run([PYTHON, "-c", "kept = []\nwhile True: kept.append(bytearray(b'x' * (1 << 24)))"], Box(tier=tier, limits=limits))
    assert describe_exit(done.returncode) == "used more memory than allowed" or b"MemoryError" in done.stderr


@both
def test_processes_are_limited(tier: Tier) -> None:
    before = set(descendants(os.getpid()))
    done = run([PYTHON, "-c", "import os\nwhile True: os.fork()"], Box(tier=tier, limits=Limits(processes=40, wall_s=60)))
    assert describe_exit(done.returncode) == "started more processes than allowed"
    assert set(descendants(os.getpid())) <= before


@both
def test_output_is_limited_but_drained(tier: Tier) -> None:
    limits = Limits(output_bytes=1000)
    done = run([PYTHON, "-c", "print('x' * 5_000_000)"], Box(tier=tier, limits=limits))
    assert (done.returncode, len(done.stdout), done.truncated) == (0, 1000, True)


@both
def test_signals_are_told(tier: Tier) -> None:
    done = run([PYTHON, "-c", "import os; os.abort()"], Box(tier=tier))
    assert describe_exit(done.returncode) == "died of SIGABRT"


@both
def test_a_program_that_is_not_there(tier: Tier) -> None:
    done = run(["/usr/bin/not-there"], Box(tier=tier))
    assert done.returncode in {1, 127}
    assert done.stderr


@both
def test_ending_the_supervisor_ends_the_tree(tier: Tier) -> None:
    before = set(descendants(os.getpid()))
    argv = command([PYTHON, "-c", "print('up', flush=True); import time; time.sleep(77)"], Box(tier=tier))
    process = subprocess.Popen(argv, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.terminate()
    assert describe_exit(process.wait(timeout=20)) == "was cancelled"
    assert set(descendants(os.getpid())) <= before


def test_the_tree_ends_with_whoever_started_it() -> None:
    argv = command([PYTHON, "-c", "print('up', flush=True); import time; time.sleep(77)"], Box())
    code = f"""
import os, subprocess
process = subprocess.Popen({argv!r}, stdout=subprocess.PIPE)
process.stdout.readline()
print(process.pid, flush=True)
os._exit(0)
"""
    pid = int(subprocess.run([PYTHON, "-c", code], stdout=subprocess.PIPE, check=True, timeout=60).stdout)
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z":
        assert time.monotonic() < deadline, "the supervisor outlived its parent"
        os.sched_yield()


def test_roots_of_an_interpreter(tmp_path: Path) -> None:
    home = tmp_path / "opt/python/bin"
    venv = tmp_path / "home/venv"
    home.mkdir(parents=True)
    (venv / "bin").mkdir(parents=True)
    (home / "python").write_text("")
    (venv / "bin/python").symlink_to(home / "python")
    (venv / "pyvenv.cfg").write_text(f"home = {home}\n")
    assert python_roots(venv / "bin/python") == [venv, home.parent]


def test_a_box_with_a_gpu_opens_no_more_than_cuda_needs() -> None:
    program = """
import os, socket
def allowed(action):
    try:
        action()
    except OSError:
        return False
    return True
parent = os.getppid()
print([
    allowed(lambda: socket.socket(socket.AF_UNIX)),
    allowed(lambda: socket.socket(socket.AF_INET)),
    allowed(lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)),
    allowed(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)),
    allowed(lambda: open(f"/proc/{parent}/environ").close()),
    allowed(lambda: open(f"/proc/{parent}/mem", "r+b").close()),
])
"""
    done = run([sys.executable, "-c", program], Box(gpu=True, tier="landlock"))
    assert done.stdout.decode().strip() == "[True, False, False, False, False, False]", done.stderr
