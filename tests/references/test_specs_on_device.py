"""specs.toml and limits.toml against the GPU of this machine; and the comparison itself, with the numbers of an H200."""

from __future__ import annotations

import ctypes
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "specs_on_device.py"
# Attributes of an H200: the limits of 9.0 and what cudaGetDeviceProperties printed of it.
H200 = {
    "threads_per_block": 1024,
    "static_shared_bytes_per_block": 49152,
    "constant_bytes": 65536,
    "threads_per_warp": 32,
    "clock_khz": 1980000,
    "sms": 132,
    "memory_clock_khz": 0,
    "bus_bits": 6144,
    "l2_bytes": 62914560,
    "threads_per_sm": 2048,
    "shared_bytes_per_sm": 233472,
    "registers_per_sm": 65536,
    "shared_bytes_per_block": 232448,
    "blocks_per_sm": 32,
    "shared_bytes_reserved": 1024,
}


@pytest.fixture(scope="module")
def compare() -> ModuleType:
    spec = importlib.util.spec_from_file_location("specs_on_device", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_an_h200_agrees_with_the_table(compare: ModuleType) -> None:
    key, spec, limit = compare.table("NVIDIA H200", "9.0")
    assert key == "h200"
    assert [row for row in compare.attribute_rows(H200, spec, limit) if not row.agrees] == []


@pytest.mark.parametrize("what", [name for name in H200 if name not in {"memory_clock_khz", "bus_bits"}])
def test_every_difference_is_found(compare: ModuleType, what: str) -> None:
    _, spec, limit = compare.table("NVIDIA H200", "9.0")
    changed = H200 | {what: round(H200[what] * 1.1) + 1}
    assert [row.what for row in compare.attribute_rows(changed, spec, limit) if not row.agrees] == [what]


def test_a_wrong_bandwidth_is_found(compare: ModuleType) -> None:
    _, spec, limit = compare.table("NVIDIA H200", "9.0")
    for clock, agrees in ((3_125_000, True), (2_619_000, False)):
        rows = compare.attribute_rows(H200 | {"memory_clock_khz": clock}, spec, limit)
        assert {row.what: row.agrees for row in rows}["bandwidth_gbps"] is agrees


def test_an_unknown_gpu_is_said(compare: ModuleType) -> None:
    with pytest.raises(LookupError, match="RTX 9090"):
        compare.table("NVIDIA GeForce RTX 9090", "9.0")


@pytest.mark.skipif(shutil.which("ptxas") is None, reason="needs ptxas")
@pytest.mark.parametrize(("capability", "target"), [("7.5", "sm_75"), ("8.6", "sm_86"), ("9.0", "sm_90"), ("12.0", "sm_120")])
def test_the_empty_kernel_assembles(compare: ModuleType, capability: str, target: str, tmp_path: Path) -> None:
    source = tmp_path / "empty.ptx"
    source.write_text(compare.empty_ptx(capability), encoding="utf-8")
    argv = ["ptxas", f"-arch={target}", "-o", str(tmp_path / "empty.cubin"), str(source)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.gpu
def test_the_device_agrees_with_the_table(compare: ModuleType) -> None:
    try:
        device = compare.Device()
    except (OSError, RuntimeError) as error:
        pytest.skip(f"needs an NVIDIA GPU: {error}")
    assert isinstance(device.kernel, ctypes.c_void_p)
    found = compare.report(device)
    assert [row for row in found["rows"] if not row["agrees"]] == []
