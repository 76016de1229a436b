"""GPUs are found by every name that people, nvidia-smi, torch and nvcc give them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernelwright.tools import archs
from kernelwright.tools.tool import ToolError

SPELLINGS = {
    "h100": "h100",
    "H100": "h100",
    " h100 ": "h100",
    "NVIDIA H100 80GB HBM3": "h100",
    "H100 80GB HBM3": "h100",
    "h100-sxm": "h100",
    "H100SXM5": "h100",
    "sm_90": "h100",
    "sm90": "h100",
    "sm_90a": "h100",
    "SM90A": "h100",
    "compute_90": "h100",
    "9.0": "h100",
    "9.0a": "h100",
    "90": "h100",
    "cc 9.0": "h100",
    "hopper": "h100",
    "NVIDIA H100 80GB HBM3 MIG 1g.10gb": "h100",
    "NVIDIA H100 PCIe": "h100-pcie",
    "H100 NVL": "h100-nvl",
    "NVIDIA H200": "h200",
    "gh200 480gb": "gh200",
    "NVIDIA GH200 480GB": "gh200",
    "NVIDIA GH200 144G HBM3e": "gh200",
    "Tesla T4": "t4",
    "7.5": "t4",
    "turing": "t4",
    "Tesla V100-SXM2-32GB": "v100",
    "Tesla V100-DGXS-32GB": "v100",
    "sm_70": "v100",
    "NVIDIA A100-SXM4-80GB": "a100",
    "NVIDIA A100-SXM4-40GB": "a100-40gb",
    "NVIDIA A100-PCIE-40GB": "a100-40gb",
    "NVIDIA A100 80GB PCIe": "a100-pcie",
    "NVIDIA A100-SXM4-40GB MIG 1g.5gb": "a100-40gb",
    "ampere": "a100",
    "NVIDIA A10": "a10",
    "NVIDIA A10G": "a10g",
    "sm_86": "a10",
    "RTX 3090": "rtx3090",
    "NVIDIA L4": "l4",
    "NVIDIA L40S": "l40s",
    "sm_89": "l40s",
    "RTX 4090": "rtx4090",
    "rtx-4090": "rtx4090",
    "RTX4090": "rtx4090",
    "NVIDIA GeForce RTX 4090": "rtx4090",
    "NVIDIA B200": "b200",
    "sm_100f": "b200",
    "10.0": "b200",
    "blackwell": "b200",
    "NVIDIA GB200": "gb200",
    "NVIDIA B300 SXM6 AC": "b300",
    "GB300": "b300",
    "sm_103a": "b300",
    "NVIDIA Thor": "thor",
    "sm_110": "thor",
    "NVIDIA GeForce RTX 5090": "rtx5090",
    "sm_120": "rtx5090",
    "12.0": "rtx5090",
    "NVIDIA RTX PRO 6000 Blackwell Server Edition": "rtx-pro-6000",
    "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition": "rtx-pro-6000",
    "NVIDIA GB10": "gb10",
    "DGX Spark": "gb10",
    "12.1": "gb10",
    "AMD Instinct MI300X": "mi300x",
    "gfx942": "mi300x",
    "mi355x": "mi355x",
}


def test_there_are_more_than_fifty() -> None:
    assert len(SPELLINGS) > 50


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_spelling_resolves(spelling: str) -> None:
    assert archs.resolve(spelling).key == SPELLINGS[spelling]


@pytest.mark.parametrize("arch", archs.all_archs(), ids=lambda arch: arch.key)
def test_every_product_is_found_by_key_name_and_capability(arch: archs.Arch) -> None:
    assert archs.resolve(arch.key) == arch
    assert archs.resolve(arch.name) == arch
    assert archs.resolve(arch.compute_capability).compute_capability == arch.compute_capability
    assert archs.resolve(arch.target).compute_capability == arch.compute_capability


@pytest.mark.parametrize(
    ("spelling", "nearest"),
    [
        ("L40", "L40S"),
        ("h10", "h100"),
        ("8.7", "8.6"),
        ("sm_91", "9.0"),
        ("RTX 4090 Laptop GPU", "RTX 4090"),
        ("RTX 3090 Ti", "RTX 3090"),
        ("RTX 5090 D", "RTX 5090"),
        ("NVIDIA RTX PRO 5000 Blackwell", "RTX PRO 6000"),
        ("RTX 5080", "RTX 5090"),
    ],
)
def test_what_is_not_known_names_the_nearest_and_all(spelling: str, nearest: str) -> None:
    with pytest.raises(ToolError) as caught:
        archs.resolve(spelling)
    assert caught.value.code == "unknown_arch"
    assert repr(spelling) in caught.value.message
    assert nearest in caught.value.hint
    assert "rtx-pro-6000" in caught.value.hint
    assert "12.1" in caught.value.hint


@given(st.text(max_size=40))
def test_any_text_resolves_or_says_so(text: str) -> None:
    try:
        assert archs.resolve(text) in archs.all_archs()
    except ToolError as error:
        assert error.code == "unknown_arch"


def test_targets_and_first_toolkits() -> None:
    expected = {
        "t4": ("sm_75", "10.0"),
        "a100": ("sm_80", "11.0"),
        "l4": ("sm_89", "11.8"),
        "h200": ("sm_90a", "12.0"),
        "b200": ("sm_100a", "12.8"),
        "b300": ("sm_103a", "12.9"),
        "thor": ("sm_110a", "13.0"),
        "rtx5090": ("sm_120a", "12.8"),
        "gb10": ("sm_121a", "12.9"),
    }
    assert {key: (archs.resolve(key).target, archs.resolve(key).min_cuda) for key in expected} == expected
    assert archs.resolve("v100").max_cuda == "12.9"
    assert archs.resolve("h100").nvcc_flag == "-gencode arch=compute_90a,code=sm_90a"
    assert archs.resolve("mi300x").nvcc_flag == ""
    assert archs.resolve("mi300x").is_amd


def test_capabilities_stand_for_a_product() -> None:
    found = archs.by_capability("8.6")
    assert found is not None
    assert found.compute_capability == "8.6"
    assert archs.by_capability("3.5") is None
    assert archs.capability_of("sm_100a") == "10.0"
    assert archs.capability_of("5090") is None
