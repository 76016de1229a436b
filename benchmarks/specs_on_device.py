"""Compares references/arch with what this machine's GPU says: device attributes, occupancy, shared memory, clusters.

    python benchmarks/specs_on_device.py --out benchmarks/results/specs_h200.json

Needs the NVIDIA driver and nothing else: no torch, no CUDA toolkit, no installed Kernelwright. Ends with 1 if anything differs.
"""

from __future__ import annotations

import argparse
import ctypes
import datetime
import json
import re
import sys
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ARCH = Path(__file__).resolve().parents[1] / "references" / "arch"
# CUdevice_attribute of cuda.h.
ATTRIBUTES = {
    "threads_per_block": 1,
    "static_shared_bytes_per_block": 8,
    "constant_bytes": 9,
    "threads_per_warp": 10,
    "clock_khz": 13,
    "sms": 16,
    "memory_clock_khz": 36,
    "bus_bits": 37,
    "l2_bytes": 38,
    "threads_per_sm": 39,
    "major": 75,
    "minor": 76,
    "shared_bytes_per_sm": 81,
    "registers_per_sm": 82,
    "shared_bytes_per_block": 97,
    "blocks_per_sm": 106,
    "shared_bytes_reserved": 111,
}
MAX_DYNAMIC_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
NON_PORTABLE_CLUSTER = 14  # CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED


@dataclass(frozen=True)
class Row:
    """One number: what the device says, what the table says, and by how much they may differ (0.02 is 2 %)."""

    what: str
    device: float
    table: float
    within: float = 0.0

    @property
    def agrees(self) -> bool:
        """Whether the two are the same within the tolerance."""
        return abs(self.device - self.table) <= self.within * abs(self.table)


class Launch(ctypes.Structure):
    """CUlaunchConfig of cuda.h."""

    _fields_ = [
        *((name, ctypes.c_uint) for name in ("grid_x", "grid_y", "grid_z", "block_x", "block_y", "block_z", "shared")),
        ("stream", ctypes.c_void_p),
        ("attributes", ctypes.c_void_p),
        ("attribute_count", ctypes.c_uint),
    ]


class Device:
    """The first GPU through the driver API, with one empty kernel loaded for questions about occupancy."""

    def __init__(self) -> None:
        self.cuda = ctypes.CDLL("libcuda.so.1")
        self._check(self.cuda.cuInit(0), "cuInit")
        handle, context = ctypes.c_int(), ctypes.c_void_p()
        self._check(self.cuda.cuDeviceGet(ctypes.byref(handle), 0), "cuDeviceGet")
        self.handle = handle
        self._check(self.cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), handle), "cuDevicePrimaryCtxRetain")
        self._check(self.cuda.cuCtxSetCurrent(context), "cuCtxSetCurrent")
        self.attributes = {name: self._attribute(number) for name, number in ATTRIBUTES.items()}
        self.capability = f"{self.attributes['major']}.{self.attributes['minor']}"
        self.kernel = self._empty_kernel()

    @property
    def name(self) -> str:
        """As nvidia-smi prints it."""
        text = ctypes.create_string_buffer(256)
        self._check(self.cuda.cuDeviceGetName(text, 256, self.handle), "cuDeviceGetName")
        return text.value.decode()

    @property
    def driver(self) -> int:
        """The newest CUDA this driver knows, 13000 for 13.0."""
        version = ctypes.c_int()
        self._check(self.cuda.cuDriverGetVersion(ctypes.byref(version)), "cuDriverGetVersion")
        return version.value

    def blocks_at_once(self, threads: int, shared: int = 0) -> int:
        """Resident blocks an SM, by the occupancy API; `shared` bytes of dynamic shared memory a block."""
        self._check(self.allow_shared(shared), "cuFuncSetAttribute")
        blocks = ctypes.c_int()
        found = self.cuda.cuOccupancyMaxActiveBlocksPerMultiprocessor(
            ctypes.byref(blocks), self.kernel, ctypes.c_int(threads), ctypes.c_size_t(shared)
        )
        self._check(found, "cuOccupancyMaxActiveBlocksPerMultiprocessor")
        return blocks.value

    def allow_shared(self, shared: int) -> int:
        """CUresult of asking for `shared` bytes of dynamic shared memory a block: 0 when the device grants it."""
        return int(self.cuda.cuFuncSetAttribute(self.kernel, MAX_DYNAMIC_SHARED, ctypes.c_int(shared)))

    def largest_cluster(self, portable: bool) -> int:
        """Most blocks a cluster of the empty kernel may have, 128 threads a block."""
        self._check(self.cuda.cuFuncSetAttribute(self.kernel, MAX_DYNAMIC_SHARED, ctypes.c_int(0)), "cuFuncSetAttribute")
        self._check(
            self.cuda.cuFuncSetAttribute(self.kernel, NON_PORTABLE_CLUSTER, ctypes.c_int(0 if portable else 1)),
            "cuFuncSetAttribute",
        )
        config = Launch(64, 1, 1, 128, 1, 1, 0, None, None, 0)
        size = ctypes.c_int()
        found = self.cuda.cuOccupancyMaxPotentialClusterSize(ctypes.byref(size), self.kernel, ctypes.byref(config))
        self._check(found, "cuOccupancyMaxPotentialClusterSize")
        return size.value

    def _attribute(self, number: int) -> int:
        value = ctypes.c_int()
        self._check(self.cuda.cuDeviceGetAttribute(ctypes.byref(value), number, self.handle), f"attribute {number}")
        return value.value

    def _empty_kernel(self) -> ctypes.c_void_p:
        module, kernel = ctypes.c_void_p(), ctypes.c_void_p()
        text = empty_ptx(self.capability).encode() + b"\0"
        self._check(self.cuda.cuModuleLoadData(ctypes.byref(module), text), "cuModuleLoadData")
        self._check(self.cuda.cuModuleGetFunction(ctypes.byref(kernel), module, b"empty"), "cuModuleGetFunction")
        return kernel

    def _check(self, result: int, what: str) -> None:
        if result != 0:
            raise RuntimeError(f"{what} failed with CUresult {result}")


def empty_ptx(capability: str) -> str:
    """A kernel that does nothing, as PTX that a device of `capability` or newer takes."""
    number = float(capability)
    version, target = ("7.8", "sm_90") if number >= 9 else ("7.0", "sm_80") if number >= 8 else ("6.3", "sm_70")
    return f".version {version}\n.target {target}\n.address_size 64\n.visible .entry empty()\n{{\n  ret;\n}}\n"


def table(name: str, capability: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Key, product and limits of the GPU that nvidia-smi calls `name`. Raises LookupError when specs.toml has no such name."""
    products = tomllib.loads((ARCH / "specs.toml").read_text(encoding="utf-8"))["gpu"]
    limits = tomllib.loads((ARCH / "limits.toml").read_text(encoding="utf-8"))
    plain = _plain(name)
    for key, entry in products.items():
        if plain in {_plain(known) for known in (key, entry["name"], *entry["aliases"])}:
            return key, entry, limits["common"] | limits["capability"][capability]
    raise LookupError(f"specs.toml knows no GPU called {name!r}")


def _plain(name: str) -> str:
    return re.sub(r"nvidia|geforce|tesla|[^a-z0-9]", "", name.lower())


def attribute_rows(device: dict[str, int], spec: dict[str, Any], limit: dict[str, Any]) -> list[Row]:
    """Device attributes against the table; clocks within 1 %, bandwidth from clock and bus within 5 %, all else exactly."""
    rows = [
        Row(what, device[what], limit[what])
        for what in ("threads_per_block", "static_shared_bytes_per_block", "constant_bytes", "threads_per_sm", "blocks_per_sm")
    ]
    rows += [Row(what, device[what], limit[what]) for what in ("registers_per_sm", "shared_bytes_per_block")]
    rows += [Row("shared_bytes_reserved", device["shared_bytes_reserved"], limit["shared_bytes_reserved"])]
    rows += [Row("shared_bytes_per_sm", device["shared_bytes_per_sm"], limit["shared_kb_per_sm"] * 1024)]
    rows += [Row("threads_per_warp", device["threads_per_warp"], 32), Row("sms", device["sms"], spec["sms"])]
    rows += [Row("l2_bytes", device["l2_bytes"], spec["l2_mb"] * 2**20)]
    if "boost_mhz" in spec:
        rows.append(Row("clock_khz", device["clock_khz"], spec["boost_mhz"] * 1000, within=0.01))
    if device["memory_clock_khz"] > 0:
        gbps = 2 * device["memory_clock_khz"] * 1e3 * device["bus_bits"] / 8 / 1e9
        rows.append(Row("bandwidth_gbps", gbps, spec["bandwidth_gbps"], within=0.05))
    return rows


def occupancy_rows(device: Device, limit: dict[str, Any]) -> list[Row]:
    """What the occupancy API and cuFuncSetAttribute say of blocks, shared memory and clusters against the table."""
    most, reserved = limit["shared_bytes_per_block"], limit["shared_bytes_reserved"]
    half = limit["shared_kb_per_sm"] * 1024 // 2 - reserved
    rows = [
        Row("blocks of 32 threads", device.blocks_at_once(32), limit["blocks_per_sm"]),
        Row("blocks of 256 threads", device.blocks_at_once(256), limit["threads_per_sm"] // 256),
        Row("blocks of 1024 threads", device.blocks_at_once(1024), limit["threads_per_sm"] // 1024),
        Row("blocks with the most shared memory", device.blocks_at_once(128, most), 1),
        Row("blocks with half of it each", device.blocks_at_once(128, half), 2),
        Row("blocks with 128 B more than half", device.blocks_at_once(128, half + 128), 1),
        Row("one byte more than the most is refused", device.allow_shared(most + 1) != 0, True),
    ]
    if "cluster_blocks" in limit:
        rows.append(Row("largest portable cluster", device.largest_cluster(portable=True), limit["cluster_blocks"]))
    if "cluster_blocks_nonportable" in limit:
        most_blocks = device.largest_cluster(portable=False)
        rows.append(Row("largest cluster", most_blocks, limit["cluster_blocks_nonportable"]))
    return rows


def report(device: Device) -> dict[str, Any]:
    """Everything that was compared, and `ok`: whether all of it agrees."""
    key, spec, limit = table(device.name, device.capability)
    rows = attribute_rows(device.attributes, spec, limit) + occupancy_rows(device, limit)
    return {
        "gpu": device.name,
        "table_entry": key,
        "compute_capability": device.capability,
        "driver_cuda": device.driver,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "ok": all(row.agrees for row in rows),
        "rows": [asdict(row) | {"agrees": row.agrees} for row in rows],
    }


def main() -> int:
    """The command: print what differs, write the report, 0 if all agrees."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, help="file to write the report to, as JSON")
    arguments = parser.parse_args()
    found = report(Device())
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    for row in found["rows"]:
        print(f"{'ok  ' if row['agrees'] else 'DIFF'} {row['what']}: device {row['device']:g}, table {row['table']:g}")
    return 0 if found["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
