"""Errors that stand in public guides and must not stand in ours, as patterns over everything that an agent can read."""

from __future__ import annotations

import re

import pytest

from kernelwright.tools import archs, reference_library

TEXTS = {uri: reference_library.read(uri).text for uri, _ in reference_library.uris(sections=True)}

MISTAKES = {
    "H100 has 228 KB of shared memory an SM, not 192": r"H[12]00[^|\n]{0,60}\b192 KB|192 ?\* ?1024",
    "Hopper's pool is 256 KB": r"96/144/192",
    "an A100 block gets 163 KB, not 164": r"164 ?\* ?1024|MaxDynamicSharedMemorySize[^\n]{0,20}164",
    "H100's L2 is 1.25 times A100's": r"2\.5x A100",
    "Turing splits its shared memory 32/64 only": r"32/48/64",
    "MIG profile 9 is 3g": r"mig -cgi 9,9",
    "TF32 matmuls are off by default in torch": r"TF32[^\n]{0,40}automatically",
    "quantize_dynamic is for CPUs": r"quantize_dynamic",
    "scaling on overflow changes the result": r"0\.125f",
    "plain sm_90 has no wgmma": r"-arch=sm_90\b(?!a)",
    "arch checks of >= 900 take Blackwell in": r"#if[^\n]*__CUDA_ARCH__ >= 900(?![^\n]*(illegal|Blackwell))",
    "rounding the grid up gains nothing": r"(?i)round (the )?grid[^\n]{0,30}multiple of[^\n]{0,20}SM(?![^\n]*(gain|empty))",
    "numba has no such call": r"suggest_cooperative_groups",
    "a third of the bandwidth is no target": r"(?i)target (30|40)",
    "SD3 and FLUX use no GEGLU": r"(?i)(SD3|FLUX)[^\n]{0,20} uses? GEGLU",
    "GEGLU of diffusers has the value first": r"gelu(_tanh)?\(first half\)",
    "custom kernels and torch.compile go together": r"mutually exclusive",
    "names in build.toml have dashes": r'(?m)^name = "[a-z0-9]*_',
    "kernels are published as kernels": r"--type model",
    "H200's L2 is 60 MB by its driver": r"H200[^\n]{0,40}\b90 ?MB",
    "RTX PRO 6000 does 126 TFLOP/s in fp32": r"PRO 6000[^\n]{0,40}\b200 TFLOP",
    "A10G has 16 blocks an SM": r"A10G[^\n]{0,60}32 blocks",
    "a kernel's RMSNorm speed in a public guide was eager's": r"0\.065 ms|2\.67x",
    "patching by class name alone breaks 1 + weight": r"(?i)'RMSNorm' in (type|cls|name|m)",
}


@pytest.mark.parametrize("why", MISTAKES)
def test_no_text_repeats_it(why: str) -> None:
    pattern = re.compile(MISTAKES[why])
    assert {uri: found[0] for uri, text in TEXTS.items() if (found := pattern.search(text))} == {}


def test_the_patterns_find_the_mistakes() -> None:
    samples = {
        "H100 has 228 KB of shared memory an SM, not 192": "H100: shared memory 192 KB per SM",
        "an A100 block gets 163 KB, not 164": "cudaFuncSetAttribute(k, MaxDynamicSharedMemorySize, 164 * 1024)",
        "plain sm_90 has no wgmma": "nvcc -arch=sm_90 k.cu",
        "arch checks of >= 900 take Blackwell in": "#if __CUDA_ARCH__ >= 900 // TMA, wgmma",
        "SD3 and FLUX use no GEGLU": "SD3/FLUX use GEGLU",
        "rounding the grid up gains nothing": "Round grid up to a multiple of #SMs",
        "names in build.toml have dashes": 'name = "my_kernels"',
    }
    for why, sample in samples.items():
        assert re.search(MISTAKES[why], sample), why


def test_what_the_mistakes_were_about_is_stated_right() -> None:
    assert archs.limits("9.0")["shared_kb_per_sm"] == 228
    assert archs.limits("9.0")["shared_bytes_per_block"] == 232448
    assert archs.limits("8.0")["shared_bytes_per_block"] == 166912
    assert archs.limits("7.5")["carveouts_kb"] == [32, 64]
    assert archs.limits("8.6")["blocks_per_sm"] == 16
    keys = ("h100", "h100-pcie", "a100", "a100-40gb", "t4", "h200")
    keys = ("h100", "h100-pcie", "a100", "a100-40gb", "t4", "h200")
    h100, pcie, a100, forty, t4, h200 = (archs.specs(archs.resolve(key)) for key in keys)
    assert (h100["sms"], pcie["sms"]) == (132, 114)
    assert h100["l2_mb"] / a100["l2_mb"] == 1.25
    assert (a100["memory"], forty["memory"]) == ("HBM2e", "HBM2")
    assert a100["tf32_tflops"] == a100["bf16_tflops"] / 2
    assert "bf16_tflops" not in t4
    assert h200["l2_mb"] == 60
    assert archs.resolve("h100").target == "sm_90a"
