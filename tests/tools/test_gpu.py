"""The queue for the GPU, and what is remembered of one."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kernelwright.tools import gpu
from kernelwright.tools.gpu import Gpu

ANY = Gpu(0, "NVIDIA Test", "9.0", 80 << 30, "580.1", "GPU-test")
HOLDER = """
import sys
from pathlib import Path
from kernelwright.tools import gpu
with gpu.lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def hold(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_devices_are_read_from_nvidia_smi(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "nvidia-smi"
    fake.write_text("#!/bin/sh\necho '0, NVIDIA H200, 9.0, 143771, 580.65.06, GPU-1'\necho 'nonsense'\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    gpu.devices.cache_clear()
    assert gpu.devices() == (Gpu(0, "NVIDIA H200", "9.0", 143771 << 20, "580.65.06", "GPU-1"),)
    gpu.devices.cache_clear()


@pytest.mark.parametrize(
    ("chosen", "seen"),
    [("1", [1]), ("1,0", [1, 0]), ("GPU-b", [1]), ("", []), ("-1", []), ("0,7,1", [0]), ("MIG-5c8ee3e3", [0, 1])],
)
def test_devices_are_those_that_cuda_would_see(
    chosen: str, seen: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = tmp_path / "nvidia-smi"
    lines = "\n".join(f"echo '{i}, NVIDIA H200, 9.0, 143771, 580.65.06, GPU-{name}'" for i, name in enumerate("ab"))
    fake.write_text(f"#!/bin/sh\n{lines}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    gpu.devices.cache_clear()
    assert [device.index for device in gpu.devices()] == seen
    gpu.devices.cache_clear()


@pytest.mark.parametrize("script", ["exit 9", "echo 'No devices were found'", ""])
def test_no_gpu_is_no_error(script: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if script:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    gpu.devices.cache_clear()
    assert gpu.devices() == ()
    assert gpu.state("GPU-1") == {}
    gpu.devices.cache_clear()


def test_state_names_what_spoils_a_measurement(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "nvidia-smi"
    fake.write_text("#!/bin/sh\necho '1980, 1980, 2619, 41, 80.31, 0x0000000000000004, 512, [N/A]'\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found = gpu.state("GPU-1")
    assert found["sm_mhz"] == 1980.0
    assert found["throttle"] == "0x0000000000000004"
    assert found["utilization_pct"] is None


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ({}, {}, []),
        ({"utilization_pct": 0.0}, {"throttle": "0x0000000000000004"}, []),
        ({"utilization_pct": 80.0}, {"throttle": "0x0"}, ["80 %"]),
        ({"utilization_pct": None}, {"throttle": "0x0000000000000060"}, ["software thermal", "hardware thermal"]),
    ],
)
def test_spoiled_measurements(before: dict[str, object], after: dict[str, object], words: list[str]) -> None:
    found = gpu.spoiled(before, after)
    assert len(found) == len(words)
    assert all(word in reason for word, reason in zip(words, found, strict=True))


def test_lock_is_exclusive_across_processes_and_tells_the_position(tmp_path: Path) -> None:
    first = hold(tmp_path)
    heard: list[str] = []
    waiting, entered = threading.Event(), threading.Event()

    def listen(stage: str, message: str = "", fraction: float | None = None) -> None:
        heard.append(f"{stage}: {message}")
        waiting.set()

    def enter() -> None:
        with gpu.lock(tmp_path, listen):
            entered.set()

    thread = threading.Thread(target=enter)
    thread.start()
    assert waiting.wait(20)
    assert not entered.is_set()
    assert heard[0] == "queued: waiting for the GPU, 1 ahead"
    first.communicate("done\n", timeout=20)
    assert entered.wait(20)
    thread.join()
    assert not list(tmp_path.glob("ticket-*"))


def test_a_holder_that_is_killed_gives_its_place_up(tmp_path: Path) -> None:
    first = hold(tmp_path)
    first.kill()
    first.wait()
    assert list(tmp_path.glob("ticket-*"))
    with gpu.lock(tmp_path):
        assert len(list(tmp_path.glob("ticket-*"))) == 1


def test_lock_is_given_back_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="inside"), gpu.lock(tmp_path):
        raise ValueError("inside")
    with gpu.lock(tmp_path):
        pass


def test_lock_folder_is_open_to_all_users() -> None:
    assert gpu.lock_folder(None).parent.stat().st_mode & 0o1777 == 0o1777


def test_bandwidth_is_remembered_by_gpu(tmp_path: Path) -> None:
    assert gpu.copy_bandwidth(tmp_path, ANY) is None
    gpu.remember_bandwidth(tmp_path, ANY, 4210.5)
    found = gpu.copy_bandwidth(tmp_path, ANY)
    assert found is not None
    assert (found["name"], found["copy_gbps"], found["driver"]) == ("NVIDIA Test", 4210.5, "580.1")
    (tmp_path / "gpu/GPU-test.json").write_text("{")
    assert gpu.copy_bandwidth(tmp_path, ANY) is None


def test_whether_a_lock_is_held(tmp_path: Path) -> None:
    assert not gpu.is_held(tmp_path / "queue")
    with gpu.lock(tmp_path / "queue"):
        assert gpu.is_held(tmp_path / "queue")
    assert not gpu.is_held(tmp_path / "queue")
