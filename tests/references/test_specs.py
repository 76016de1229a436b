"""specs.toml and limits.toml: every number has a source, and the numbers agree with each other."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from guide_blocks import REFERENCES

from kernelwright.tools import archs
from kernelwright.tools.archs import Arch

SPECS: dict[str, Any] = tomllib.loads((REFERENCES / "arch" / "specs.toml").read_text(encoding="utf-8"))
LIMITS: dict[str, Any] = tomllib.loads((REFERENCES / "arch" / "limits.toml").read_text(encoding="utf-8"))
KINDS = {"vendor", "device", "third-party", "unchecked", "derived"}
NVIDIA = [arch for arch in archs.all_archs() if not arch.is_amd]
# GeForce halves fp16, bf16 and fp8 with fp32 accumulation, not fp4.
GEFORCE = {"rtx3090", "rtx4090", "rtx5090"}
ASKED_FOR = (
    "v100 t4 a100 a100-pcie a100-40gb a10 a10g l4 l40s rtx3090 rtx4090 h100 h100-pcie h100-nvl h200 gh200 b200 gb200 b300 "
    "rtx5090 rtx-pro-6000 gb10 thor mi300x mi355x"
)
# Tensor operations in bf16 that one SM does in a clock, dense.
PER_CLOCK = {"8.0": 2048, "8.6": 1024, "8.9": 1024, "9.0": 4096, "10.0": 8192, "11.0": 8192, "12.0": 1024}


def given(key: str) -> list[Arch]:
    """The products for which `key` was read somewhere, not worked out from what it is compared with."""
    found = [arch for arch in archs.all_archs() if key in archs.specs(arch)]
    return [arch for arch in found if archs.source_of(arch, key)["kind"] != "derived"]


def key_of(arch: Arch) -> str:
    return arch.key


def test_all_gpus_are_there() -> None:
    assert {arch.key for arch in archs.all_archs()} == set(ASKED_FOR.split())


@pytest.mark.parametrize("arch", archs.all_archs(), ids=key_of)
def test_every_number_has_a_source(arch: Arch) -> None:
    entry = SPECS["gpu"][arch.key]
    numbers = [key for key, value in entry.items() if isinstance(value, int | float)]
    assert {"sms", "memory_gb", "bandwidth_gbps", "l2_mb", "fp32_tflops"} <= set(numbers)
    for key in numbers:
        source = archs.source_of(arch, key)
        assert source["kind"] in KINDS
        assert len(source["title"]) > 10
    assert set(entry["sources"]) - {"all"} <= set(numbers)


def test_every_source_is_used() -> None:
    used = {name for entry in SPECS["gpu"].values() for name in entry["sources"].values()}
    assert used == set(SPECS["source"])
    assert {source["kind"] for source in LIMITS["source"].values()} <= KINDS


@pytest.mark.parametrize("arch", archs.all_archs(), ids=key_of)
def test_unchecked_numbers_say_so(arch: Arch) -> None:
    spec = archs.specs(arch)
    numbers = {key for key, value in spec.items() if isinstance(value, int | float)}
    numbers = {key for key, value in spec.items() if isinstance(value, int | float)}
    doubtful = {key for key in numbers if archs.source_of(arch, key)["kind"] == "unchecked"}
    assert set(spec.get("unchecked", "").split(", ")) - {""} == doubtful


@pytest.mark.parametrize("arch", given("boost_mhz"), ids=key_of)
def test_fp32_rate_is_lanes_times_clock(arch: Arch) -> None:
    spec = archs.specs(arch)
    lanes = archs.capability_entry(arch.compute_capability)["fp32_lanes_per_sm"]
    assert spec["sms"] * lanes * 2 * spec["boost_mhz"] / 1e6 == pytest.approx(spec["fp32_tflops"], rel=0.02)


@pytest.mark.parametrize("arch", given("pin_gbps"), ids=key_of)
def test_bandwidth_is_bus_times_pin_rate(arch: Arch) -> None:
    spec = archs.specs(arch)
    assert spec["bus_bits"] * spec["pin_gbps"] / 8 == pytest.approx(spec["bandwidth_gbps"], rel=0.005)


@pytest.mark.parametrize("arch", archs.all_archs(), ids=key_of)
def test_rates_are_dense(arch: Arch) -> None:
    """A rate with sparsity would be twice what the SMs do in their clocks."""
    spec = archs.specs(arch)
    if "bf16_tflops" in spec and "tf32_tflops" in spec:
        assert spec["bf16_tflops"] / spec["tf32_tflops"] == pytest.approx(2, rel=0.02)
    if "fp8_tflops" in spec and "bf16_tflops" in spec:
        assert spec["fp8_tflops"] / spec["bf16_tflops"] == pytest.approx(2, rel=0.02)
    if "fp4_tflops" in spec and "fp8_tflops" in spec and arch.key not in GEFORCE | {"b300"}:
        assert spec["fp4_tflops"] / spec["fp8_tflops"] == pytest.approx(2, rel=0.02)
    if "bf16_tflops" in spec and "boost_mhz" in spec and not arch.is_amd:
        per_clock = spec["bf16_tflops"] * 1e6 / spec["sms"] / spec["boost_mhz"]
        dense = PER_CLOCK[arch.compute_capability]
        halved = dense // 2 if arch.key in GEFORCE | {"a10g"} else dense
        # Tensor clocks of data-centre parts stay up to 14 % below the fp32 boost clock (H100 NVL).
        assert 0.85 * halved <= per_clock <= 1.02 * halved


@pytest.mark.parametrize("arch", NVIDIA, ids=key_of)
def test_shared_memory_adds_up(arch: Arch) -> None:
    limit = archs.limits(arch.compute_capability)
    assert limit["shared_bytes_per_block"] == limit["shared_kb_per_sm"] * 1024 - limit["shared_bytes_reserved"]
    assert limit["shared_bytes_reserved"] == (1024 if float(arch.compute_capability) >= 8 else 0)
    assert limit["shared_kb_per_sm"] < limit["l1_shared_pool_kb"]
    if "carveouts_kb" in limit:
        assert max(limit["carveouts_kb"]) == limit["shared_kb_per_sm"]
        assert limit["carveouts_kb"] == sorted(limit["carveouts_kb"])


@pytest.mark.parametrize("arch", NVIDIA, ids=key_of)
def test_threads_add_up(arch: Arch) -> None:
    limit = archs.limits(arch.compute_capability)
    assert limit["warps_per_sm"] * 32 == limit["threads_per_sm"]
    assert limit["threads_per_sm"] in {1024, 1536, 2048}
    assert limit["blocks_per_sm"] in {16, 24, 32}
    assert limit["registers_per_sm"] == 65536


def test_capabilities_and_products_fit() -> None:
    for capability, entry in LIMITS["capability"].items():
        assert SPECS["gpu"][entry["default"]]["compute_capability"] == capability
        assert (REFERENCES / "arch" / "guidance" / f"{entry['guidance']}.md").is_file()
    assert {entry["compute_capability"] for entry in SPECS["gpu"].values()} == set(LIMITS["capability"])


def test_features_follow_the_generations() -> None:
    def has(capability: str, word: str) -> bool:
        return any(word in feature for feature in archs.features(capability))

    for capability in (c for c in LIMITS["capability"] if not c.startswith("gfx")):
        number = float(capability)
        assert has(capability, "TMA") == (number >= 9)
        assert has(capability, "wgmma") == (capability == "9.0")
        assert has(capability, "tcgen05") == (capability in {"10.0", "10.3", "11.0"})
        assert ("tensor_memory_kb_per_sm" in archs.limits(capability)) == has(capability, "tcgen05")
        assert ("cluster_blocks" in archs.limits(capability)) == (number >= 9 and capability != "11.0")
