"""What CPU kernels share, rows.h, called from outside: every 16-bit float, with the CPU's own conversion and without it."""

from __future__ import annotations

import ctypes
import math
import shutil
import subprocess

import pytest
import torch

from kernelwright.tools import catalogue

FUNCTIONS = """
#include "rows.h"
#define FUNCTION extern "C" void
FUNCTION widen_float16(float* out, const rows::Half* in, int64_t n) { rows::widen(out, in, n); }
FUNCTION widen_bfloat16(float* out, const rows::BFloat16* in, int64_t n) { rows::widen(out, in, n); }
FUNCTION narrow_float16(rows::Half* out, const float* in, int64_t n) { rows::narrow(out, in, n); }
FUNCTION narrow_bfloat16(rows::BFloat16* out, const float* in, int64_t n) { rows::narrow(out, in, n); }
FUNCTION exp_below(float* out, const float* in, int64_t n) { for (int64_t i = 0; i < n; ++i) out[i] = rows::exp_below(in[i]); }
FUNCTION spread_of(float* out, const float* in, int64_t n) {
  const rows::Spread spread = rows::spread_of(in, n);
  out[0] = spread.about + spread.missed;
  out[1] = spread.variance;
}
"""
DTYPES = [torch.float16, torch.bfloat16]


# As g++ compiles it, and as a compiler does that cannot clone functions, which is what it takes clang for.
@pytest.fixture(scope="module", params=[[], ["-D__clang__"]], ids=["clones", "none"])
def rows(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    if shutil.which("g++") is None:
        pytest.skip("needs g++")
    folder = tmp_path_factory.mktemp("rows")
    source, library = folder / "functions.cpp", folder / "functions.so"
    source.write_text(FUNCTIONS)
    flags = ["-std=c++17", "-O3", "-fopenmp", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared", *request.param]
    include = f"-I{catalogue.folder('rmsnorm') / 'rmsnorm_cpu'}"
    subprocess.run(["g++", *flags, include, str(source), "-o", str(library)], check=True)
    return ctypes.CDLL(str(library))


def call(function: ctypes._CFuncPtr, given: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(like)
    function(ctypes.c_void_p(out.data_ptr()), ctypes.c_void_p(given.data_ptr()), ctypes.c_int64(given.numel()))
    return out


def every(dtype: torch.dtype) -> torch.Tensor:
    """All 65536 numbers of a 16-bit dtype, and three more, which fill no vector."""
    return torch.cat([torch.arange(-(1 << 15), 1 << 15), torch.arange(3)]).to(torch.int16).view(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_number_is_widened(rows: ctypes.CDLL, dtype: torch.dtype) -> None:
    numbers = every(dtype)
    wide = call(getattr(rows, f"widen_{str(dtype)[6:]}"), numbers, numbers.float())
    torch.testing.assert_close(wide, numbers.float(), rtol=0, atol=0, equal_nan=True)
    assert torch.equal(wide.signbit(), numbers.signbit())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_floats_are_rounded_to_the_nearest(rows: ctypes.CDLL, dtype: torch.dtype) -> None:
    # Each number, what lies half way to its neighbours, a little to both sides of that, and floats of every magnitude.
    bits = every(dtype).float().view(torch.int32)
    half = (1 << 12) if dtype is torch.float16 else (1 << 15)
    around = torch.cat([bits + offset for offset in (0, half - 1, half, half + 1, -half)])
    spread = torch.randint(-(1 << 31), 1 << 31, (1 << 18,), generator=torch.Generator().manual_seed(7)).to(torch.int32)
    floats = torch.cat([around, spread]).view(torch.float32)
    narrow = call(getattr(rows, f"narrow_{str(dtype)[6:]}"), floats, floats.to(dtype))
    torch.testing.assert_close(narrow, floats.to(dtype), rtol=0, atol=0, equal_nan=True)
    assert torch.equal(narrow.signbit()[~floats.isnan()], floats.signbit()[~floats.isnan()])


def test_exponentials_are_right_to_the_last_places(rows: ctypes.CDLL) -> None:
    x = torch.cat([-torch.logspace(-30, 1.94, 100_000), torch.tensor([0.0, -0.0])])
    torch.testing.assert_close(call(rows.exp_below, x, x), x.double().exp().float(), rtol=2.5e-7, atol=0)
    special = torch.tensor([-87.4, -1e30, -math.inf, math.nan])
    torch.testing.assert_close(call(rows.exp_below, special, special), torch.tensor([0.0, 0.0, 0.0, math.nan]), equal_nan=True)


@pytest.mark.parametrize("n", [1, 7, 8, 100, 4096, 4097, 65536])
@pytest.mark.parametrize("mean", [0.0, 1.0, 1000.0])
@pytest.mark.parametrize("first", [0.0, 300.0])
def test_mean_and_variance(rows: ctypes.CDLL, n: int, mean: float, first: float) -> None:
    # In steps of a float16, as what comes from one: rounding may then err to one side again and again.
    x = (torch.randn(n, generator=torch.Generator().manual_seed(7)) + mean).half().float()
    x[:8] += first
    found_mean, found_variance = call(rows.spread_of, x, torch.empty(2)).tolist()
    spread = x.double().std(correction=0).item()
    assert abs(found_mean - x.double().mean().item()) <= 2e-6 * spread + 6e-8 * abs(mean + first)
    assert math.isclose(found_variance, spread**2, rel_tol=4e-6, abs_tol=1e-12)


def test_equal_numbers_have_no_variance(rows: ctypes.CDLL) -> None:
    for number in (0.0, 0.1, 1000.1, -3e20):
        x = torch.full((1000,), number)
        assert call(rows.spread_of, x, torch.empty(2)).tolist() == [x[0].item(), 0.0]
