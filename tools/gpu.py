"""The host's GPUs: what they are, who may use them now, how fast their memory was measured to be."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from kernelwright.tools.tool import Progress, silent

POLL_S = 0.1
REPORT_S = 5.0


@dataclass(frozen=True)
class Gpu:
    """One GPU as the driver describes it; memory in bytes, compute capability as "9.0"."""

    index: int
    name: str
    compute_capability: str
    memory_bytes: int
    driver: str
    uuid: str


@cache
def devices() -> tuple[Gpu, ...]:
    """The NVIDIA GPUs of this host by `nvidia-smi` that CUDA_VISIBLE_DEVICES leaves, in its order; empty without one or without
    a driver. Never raises."""
    rows = _query("index,name,compute_cap,memory.total,driver_version,uuid")
    found = []
    for row in rows:
        with contextlib.suppress(ValueError):
            index, name, capability, memory, driver, uuid = row
            found.append(Gpu(int(index), name, capability, int(float(memory)) << 20, driver, uuid))
    return _visible(found, os.environ.get("CUDA_VISIBLE_DEVICES"))


def _visible(found: list[Gpu], chosen: str | None) -> tuple[Gpu, ...]:
    """As CUDA reads it: numbers or beginnings of UUIDs, up to the first that names no GPU. Names of MIG slices do not tell
    whose they are, and leave all."""
    if chosen is None or chosen.startswith("MIG-"):
        return tuple(found)
    visible: list[Gpu] = []
    for name in map(str.strip, chosen.split(",")):
        match = next((g for g in found if name and (str(g.index) == name or g.uuid.startswith(name))), None)
        if match is None:
            break
        visible.append(match)
    return tuple(visible)


def state(uuid: str) -> dict[str, Any]:
    """What may spoil a measurement now: clocks in MHz, temperature in C, power in W, throttle reasons, memory in use in MiB,
    utilisation in %. Empty when the driver does not say."""
    fields = {
        "clocks.sm": "sm_mhz",
        "clocks.max.sm": "sm_max_mhz",
        "clocks.mem": "memory_mhz",
        "temperature.gpu": "temperature_c",
        "power.draw": "power_w",
        "clocks_throttle_reasons.active": "throttle",
        "memory.used": "memory_used_mib",
        "utilization.gpu": "utilization_pct",
    }
    rows = _query(",".join(fields), uuid)
    if not rows or len(rows[0]) != len(fields):
        return {}
    return {name: _number(value) for name, value in zip(fields.values(), rows[0], strict=True)}


# Bits of NVML's clocks_event_reasons that mean that the card protected itself while it worked.
_PROTECTING = {
    0x08: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
BUSY_PCT = 10.0


def spoiled(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Why a measurement between these two states (see `state`) cannot be trusted; empty when nothing speaks against it."""
    reasons = []
    if (before.get("utilization_pct") or 0.0) > BUSY_PCT:
        reasons.append(f"Another process was using the GPU ({before['utilization_pct']:.0f} %) when the benchmark began.")
    mask = int(str(after.get("throttle") or "0x0"), 16)
    reasons += [f"The GPU was throttled: {name}." for bit, name in _PROTECTING.items() if mask & bit]
    return reasons


def _number(text: str) -> float | str | None:
    try:
        return float(text)
    except ValueError:
        return text if text.startswith("0x") else None


def _query(fields: str, uuid: str | None = None) -> list[list[str]]:
    argv = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits", *([f"--id={uuid}"] if uuid else [])]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines() if line.strip()]


def lock_folder(device: Gpu | None) -> Path:
    """Where the queue for this GPU lies, or for the host's processors; the same for all users and all servers."""
    return _shared(Path(tempfile.gettempdir()) / "kernelwright-gpu") / (device.uuid if device else "cpu")


def _shared(folder: Path) -> Path:
    # Like /tmp: every user may queue, nobody may take another's place.
    with contextlib.suppress(FileExistsError):
        folder.mkdir(parents=True)
        folder.chmod(0o1777)
    return folder


@contextlib.contextmanager
def lock(folder: Path, progress: Progress = silent, what: str = "GPU") -> Iterator[None]:
    """Hold the GPU, or `what` else is measured on, alone, across processes and users that name the same `folder`.

    First come, first served. A holder that dies gives its place up, because the places are file locks. While waiting,
    `progress` hears the position.
    """
    _shared(folder)
    ticket, path, number = _draw(folder)
    try:
        said, position = 0.0, -1
        while ahead := _ahead(folder, number):
            if ahead != position or time.monotonic() - said > REPORT_S:
                said, position = time.monotonic(), ahead
                progress("queued", f"waiting for the {what}, {ahead} ahead")
            # A blocking flock would be the event, but it could neither be cancelled nor tell the position meanwhile.
            time.sleep(POLL_S)
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(ticket)


@contextlib.contextmanager
def _queue(folder: Path) -> Iterator[None]:
    path = folder / "queue"
    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        fd = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _draw(folder: Path) -> tuple[int, Path, int]:
    with _queue(folder):
        number = max((n for n, _ in _tickets(folder)), default=0) + 1
        path = folder / f"ticket-{number}"
        fd = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o644)
        fcntl.flock(fd, fcntl.LOCK_EX)
    return fd, path, number


def _tickets(folder: Path) -> list[tuple[int, Path]]:
    return [(int(p.name.removeprefix("ticket-")), p) for p in folder.glob("ticket-*")]


def _ahead(folder: Path, number: int) -> int:
    with _queue(folder):
        return sum(1 for n, path in _tickets(folder) if n < number and _held(path))


def _held(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        with contextlib.suppress(OSError):
            path.unlink()
        return False
    finally:
        os.close(fd)


def is_held(folder: Path) -> bool:
    """Whether somebody holds or waits for the lock of this folder now."""
    _shared(folder)
    with _queue(folder):
        return any(_held(path) for _, path in _tickets(folder))


def _record(cache_folder: Path, uuid: str) -> Path:
    return cache_folder / "gpu" / f"{uuid}.json"


def remember_bandwidth(cache_folder: Path, gpu: Gpu, copy_gbps: float) -> None:
    """Keep the copy bandwidth that a benchmark measured, in GB/s of bytes read plus bytes written."""
    path = _record(cache_folder, gpu.uuid)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {"name": gpu.name, "copy_gbps": copy_gbps, "measured_at": time.time(), "driver": gpu.driver}
    part = path.with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps(data), encoding="utf-8")
    part.replace(path)


def copy_bandwidth(cache_folder: Path, gpu: Gpu) -> dict[str, Any] | None:
    """What `remember_bandwidth` kept for this GPU: `name`, `copy_gbps`, `measured_at` (epoch seconds), `driver`."""
    try:
        data = json.loads(_record(cache_folder, gpu.uuid).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None
