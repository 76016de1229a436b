"""The op against its reference in float64, and how it refuses what it cannot do."""

import sys
from pathlib import Path

import pytest
import torch
from torch.library import opcheck

sys.path.insert(0, str(Path(__file__).parents[1]))
from problem import reference

SHAPES = [(3, 64), (7, 100), (4, 4096), (2, 5, 1000), (2, 8192), (2, 16384), (1, 65536), (1, 65537), (70, 40960), (6, 1)]


def check(kernel, x, residual, *more):
    total = residual + x
    expected = reference(
        torch.zeros_like(x).double(), total.double(), *(m.double() if hasattr(m, "double") else m for m in more)
    )
    actual = kernel.add_rmsnorm(x, residual, *more)
    torch.testing.assert_close(residual, total, rtol=0, atol=0)
    torch.testing.assert_close(actual, expected.to(x.dtype))


@pytest.mark.kernels_ci
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_agrees_with_the_reference(kernel, device, dtype, shape):
    x = torch.randn(shape, device=device).to(dtype)
    weight = torch.randn(shape[-1], device=device).to(dtype)
    check(kernel, x, torch.randn_like(x), weight)
    check(kernel, x, torch.randn_like(x))
    check(kernel, x, torch.randn_like(x), weight, 1e-2, 1.0)


def test_takes_strided_rows(kernel, device, dtype):
    wide = torch.randn(6, 256, device=device).to(dtype)
    check(kernel, wide[:, :128], torch.randn(6, 128, device=device).to(dtype))
    check(kernel, torch.randn(6, 128, device=device).to(dtype), wide[:, 128:])


@pytest.mark.parametrize("shape", [(0, 64), (3, 0)], ids=str)
def test_empty(kernel, device, shape):
    x = torch.empty(shape, device=device)
    assert kernel.add_rmsnorm(x, torch.empty_like(x)).shape == x.shape


def test_opcheck(kernel, device, dtype):
    x = torch.randn(4, 256, device=device).to(dtype)
    opcheck(kernel._add_rmsnorm, (x, torch.randn_like(x), x[0], 1e-6, 0.0))


def test_compiles_whole(kernel, device):
    x, residual = torch.randn(2, 4, 256, device=device)
    other = residual.clone()
    compiled = torch.compile(lambda x, r, w: kernel.add_rmsnorm(x + x, r, w), fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x, residual, x[0]), kernel.add_rmsnorm(x + x, other, x[0]))
    torch.testing.assert_close(residual, other)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (lambda x, r, w: (x, r[:2], w), r"residual must have the shape of x, \(4, 64\), but has shape \(2, 64\)"),
        (lambda x, r, w: (x, r.bfloat16(), w), "residual must have the dtype of x, float32, but is bfloat16"),
        (lambda x, r, w: (x, r.t().contiguous().t(), w), "residual must be contiguous in its last dimension"),
        (lambda x, r, w: (x, x, w), "residual must not share memory with x"),
        (lambda x, r, w: (r.view(-1)[:192].view(3, 64), r[1:], w), "residual must not share memory with x"),
        (lambda x, r, w: (x, r[:1].expand(4, 64), w), "residual is written, so its rows must not overlap"),
        (lambda x, r, w: (x, r, w, float("nan")), "eps must be a finite number of at least 0, but is nan"),
        (lambda x, r, w: (x, r, w[:5]), r"weight must have shape \(64,\).*but has shape \(5,\)"),
        (lambda x, r, w: (x, r, w.half()), "weight must have the dtype of x, float32, but is float16"),
        (lambda x, r, w: (x.double(), r, w), "x must be float32, float16 or bfloat16, but is float64"),
        (lambda x, r, w: (x, r.requires_grad_(), w), "residual requires grad, but there is no backward"),
    ],
)
def test_refuses_by_name(kernel, device, arguments, message):
    x, residual = torch.randn(2, 4, 64, device=device)
    with pytest.raises(RuntimeError, match=message):
        kernel.add_rmsnorm(*arguments(x, residual, x[0].clone()))
