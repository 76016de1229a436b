"""`floats.cuh`, which stands in for NVIDIA's headers of 16-bit floats: the same machine code, and the same rounding."""

from __future__ import annotations

import re
import subprocess
from array import array
from pathlib import Path

import pytest
from nvidia_tools import tool

from kernelwright.tools import catalogue

# What the catalogue does with 16-bit floats, once with the one and once with the other.
KERNEL = r"""
#ifdef OURS
#include "floats.cuh"
using rows::BFloat16, rows::Half, rows::from_float, rows::max_of_words, rows::pack_word, rows::to_float, rows::unpack_word;
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cstdint>
using Half = __half;
using BFloat16 = __nv_bfloat16;
__device__ float to_float(Half v) { return __half2float(v); }
template <typename T> __device__ T from_float(float v);
template <> __device__ Half from_float<Half>(float v) { return __float2half_rn(v); }
template <> __device__ BFloat16 from_float<BFloat16>(float v) { return __float2bfloat16_rn(v); }
template <typename T> __device__ T as(uint32_t word) { return *reinterpret_cast<T*>(&word); }
template <typename T> __device__ uint32_t bits(T pair) { return *reinterpret_cast<uint32_t*>(&pair); }
__device__ float2 unpack_word(uint32_t word, Half) { return __half22float2(as<__half2>(word)); }
__device__ float2 unpack_word(uint32_t word, BFloat16) {
  return make_float2(__uint_as_float(word << 16), __uint_as_float(word & 0xffff0000u));
}
__device__ uint32_t pack_word(float low, float high, Half) { return bits(__floats2half2_rn(low, high)); }
__device__ uint32_t pack_word(float low, float high, BFloat16) { return bits(__floats2bfloat162_rn(low, high)); }
__device__ uint32_t max_of_words(uint32_t a, uint32_t b, Half) { return bits(__hmax2(as<__half2>(a), as<__half2>(b))); }
__device__ uint32_t max_of_words(uint32_t a, uint32_t b, BFloat16) {
  return bits(__hmax2(as<__nv_bfloat162>(a), as<__nv_bfloat162>(b)));
}
#endif
template <typename T> __device__ void halve(uint32_t* words, const float* factors, T kind) {
  const float2 of = unpack_word(max_of_words(words[0], words[1], kind), kind);
  words[2] = pack_word(of.x * factors[0], of.y * factors[1], kind);
}
extern "C" __global__ void words_of_half(uint32_t* words, const float* factors) { halve(words, factors, Half{}); }
extern "C" __global__ void words_of_bfloat16(uint32_t* words, const float* factors) { halve(words, factors, BFloat16{}); }
extern "C" __global__ void one_half(Half* x, float factor) { *x = from_float<Half>(to_float(*x) * factor); }
extern "C" __global__ void one_bfloat16(BFloat16* x, float factor) { *x = from_float<BFloat16>(factor); }
"""
ROUND = r"""
#include <cstdio>
#include "floats.cuh"
int main() {
  uint32_t bits;
  while (std::fread(&bits, 4, 1, stdin) == 1) {
    const uint16_t rounded = rows::rounded_to_bfloat16(bits);
    std::fwrite(&rounded, 2, 1, stdout);
  }
}
"""


def _compile(folder: Path, text: str, *arguments: str) -> Path:
    """What nvcc makes of `text` with the catalogue's headers."""
    (folder / "source.cu").write_text(text)
    headers = catalogue.folder("rmsnorm") / "rmsnorm_cuda"
    command = [tool("nvcc"), "-std=c++17", "-O3", f"-I{headers}", *arguments, "source.cu", "-o", "made"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "made"


@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_120"])
def test_machine_code_is_that_of_nvidias_headers(tmp_path: Path, arch: str) -> None:
    texts = []
    for define in ("-DOURS", "-DTHEIRS"):
        binary = _compile(tmp_path, KERNEL, "-cubin", f"-arch={arch}", define)
        dump = subprocess.run([tool("nvdisasm"), "-c", str(binary)], capture_output=True, text=True, check=True).stdout
        texts.append(re.findall(r"^\s+/\*[0-9a-f]{4}\*/\s+(.*?);", dump, re.MULTILINE))
    assert len(texts[0]) > 40
    assert texts[0] == texts[1]


def test_bfloat16_is_rounded_as_torch_rounds_it(tmp_path: Path) -> None:
    import torch

    # Every upper half, with lower halves at, beside and far from the middle.
    bits = array("I", (upper << 16 | lower for upper in range(1 << 16) for lower in (0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF)))
    program = _compile(tmp_path, ROUND)
    rounded = array("H", subprocess.run([program], input=bits.tobytes(), capture_output=True, check=True).stdout)
    ours = torch.frombuffer(rounded, dtype=torch.bfloat16)
    theirs = torch.frombuffer(bits, dtype=torch.float32).to(torch.bfloat16)
    assert torch.equal(ours.isnan(), theirs.isnan())
    numbers = ~ours.isnan()
    assert torch.equal(ours[numbers].view(torch.int16), theirs[numbers].view(torch.int16))
    assert set(ours[~numbers].view(torch.int16).tolist()) == {0x7FFF}
