"""What this host's own device says of itself, and where that differs from the data sheet."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from kernelwright.tools import archs, gpu
from kernelwright.tools.archs import Arch
from kernelwright.tools.gpu import Gpu
from kernelwright.tools.tool import Context, ToolError, summarise

PROPERTIES_TIMEOUT_S = 20

# Runs under host_python, which has torch and not necessarily Kernelwright. argv[1] is the UUID of the device asked for.
_PROPERTIES = """
import json, sys, torch
for index in range(torch.cuda.device_count()):
    p = torch.cuda.get_device_properties(index)
    if sys.argv[1].removeprefix("GPU-") == str(getattr(p, "uuid", "")) or torch.cuda.device_count() == 1:
        names = {"sms": "multi_processor_count", "memory_bytes": "total_memory", "l2_bytes": "L2_cache_size",
                 "threads_per_sm": "max_threads_per_multi_processor", "registers_per_sm": "regs_per_multiprocessor",
                 "shared_bytes_per_sm": "shared_memory_per_multiprocessor",
                 "shared_bytes_per_block": "shared_memory_per_block_optin"}
        print(json.dumps({k: getattr(p, v) for k, v in names.items() if hasattr(p, v)}))
        break
"""
# The same Python again: 1 GiB from one place of the device to another, read and written bytes over the events' time.
_COPY = """
import sys, torch
uuids = [str(getattr(torch.cuda.get_device_properties(i), "uuid", "")) for i in range(torch.cuda.device_count())]
wanted = sys.argv[1].removeprefix("GPU-")
torch.cuda.set_device(uuids.index(wanted) if wanted in uuids else 0)
source = torch.ones(1 << 28, device="cuda")
target = torch.empty_like(source)
start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
for _ in range(3):
    target.copy_(source)
start.record()
for _ in range(10):
    target.copy_(source)
end.record()
torch.cuda.synchronize()
print(10 * 2 * source.nbytes / start.elapsed_time(end) / 1e6)
"""


def measured(device: Gpu, arch: Arch, context: Context) -> dict[str, Any]:
    """Name, driver and properties of `device`, its copy bandwidth in GB/s of bytes read plus written, and `differs`.

    Properties come from `host_python`'s torch; when it cannot say them within 20 s, `properties` says why. The bandwidth is
    the last benchmark's, else measured now, unless others measure on the GPU.
    """
    found: dict[str, Any] = {"name": device.name, "driver": device.driver, "memory_bytes": device.memory_bytes}
    found |= _properties(context.host_python, device.uuid)
    copy = gpu.copy_bandwidth(context.cache, device) or _copy_now(device, context)
    if copy:
        share = 100 * copy["copy_gbps"] / archs.specs(arch)["bandwidth_gbps"]
        found |= {"copy_gbps": round(copy["copy_gbps"]), "copy_pct_of_spec": round(share)}
    else:
        found["copy_gbps"] = "not measured: the GPU is in use or torch cannot; run_benchmark measures it"
    return found | {"differs": differences(device, arch, found)}


def _copy_now(device: Gpu, context: Context) -> dict[str, Any] | None:
    if gpu.is_held(gpu.lock_folder(device)):
        return None
    argv = [str(context.host_python), "-c", _COPY, device.uuid]
    with gpu.lock(gpu.lock_folder(device)):
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=PROPERTIES_TIMEOUT_S, check=True)
            gpu.remember_bandwidth(context.cache, device, float(done.stdout))
        except (OSError, subprocess.SubprocessError, ValueError):
            return None
    return gpu.copy_bandwidth(context.cache, device)


def differences(device: Gpu, arch: Arch, found: dict[str, Any]) -> list[str]:
    """Where the device's own numbers are not those of ``specs.toml`` and ``limits.toml``, one line each."""
    spec, limit = archs.specs(arch), archs.limits(arch.compute_capability)
    expected = {
        "sms": spec["sms"],
        "threads_per_sm": limit["threads_per_sm"],
        "registers_per_sm": limit.get("registers_per_sm"),
        "shared_bytes_per_sm": limit["shared_kb_per_sm"] * 1024,
        "shared_bytes_per_block": limit["shared_bytes_per_block"],
    }
    lines = [f"{key}: device {found[key]}, table {value}" for key, value in expected.items() if found.get(key, value) != value]
    if "l2_bytes" in found and abs(found["l2_bytes"] / 2**20 - spec["l2_mb"]) > 1:
        lines.append(f"l2: device {found['l2_bytes'] / 2**20:.0f} MB, table {spec['l2_mb']}")
    if abs(device.memory_bytes / 1e9 / spec["memory_gb"] - 1) > 0.1:
        lines.append(f"memory: device {device.memory_bytes / 1e9:.0f} GB, table {spec['memory_gb']}")
    if not _named(device, arch):
        lines.append(f"product: the device is {device.name!r}, described here by {arch.name}, of the same compute capability")
    return lines


def _named(device: Gpu, arch: Arch) -> bool:
    try:
        return archs.resolve(device.name) == arch
    except ToolError:
        return False


def _properties(python: Path, uuid: str) -> dict[str, Any]:
    try:
        return dict(properties(python, uuid))
    except subprocess.TimeoutExpired:
        return {"properties": f"unknown: {python.name} with torch did not answer within {PROPERTIES_TIMEOUT_S} s"}
    except OSError as error:
        return {"properties": f"unknown: {error.strerror}"}
    except ValueError as error:
        return {"properties": f"unknown: {error}"}


@cache
def properties(python: Path, uuid: str) -> dict[str, Any]:
    """What `python`'s torch says of the device: sizes in bytes, counts as named. An answer is remembered for the life of this
    process, since importing torch takes seconds. Raises TimeoutExpired, OSError, or ValueError with torch's own words."""
    argv = [str(python), "-c", _PROPERTIES, uuid]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PROPERTIES_TIMEOUT_S, check=False)
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise ValueError(summarise(done.stderr[-300:]) or "torch sees no such device") from None
    return answer
