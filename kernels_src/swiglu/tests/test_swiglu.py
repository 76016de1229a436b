"""The op against its reference in float64, and how it refuses what it cannot do."""

import sys
from pathlib import Path

import pytest
import torch
from torch.library import opcheck

sys.path.insert(0, str(Path(__file__).parents[1]))
from problem import reference

# Vectors and single elements; one block, several blocks a row, several rows a block.
SHAPES = [(3, 64), (7, 100), (4, 12288), (2, 5, 1000), (1, 65537), (6, 1), (300, 8)]


def check(kernel, gate, up):
    actual = kernel.swiglu(gate, up)
    assert actual.dtype == gate.dtype
    assert actual.is_contiguous()
    torch.testing.assert_close(actual, reference(gate.double(), up.double()).to(gate.dtype), equal_nan=True)


@pytest.mark.kernels_ci
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_agrees_with_the_reference(kernel, device, dtype, shape):
    gate, up = torch.randn(2, *shape, device=device).to(dtype)
    check(kernel, gate * 4, up)


@pytest.mark.parametrize("n", [64, 100, 12288])
def test_takes_the_halves_of_a_fused_projection(kernel, device, dtype, n):
    check(kernel, *torch.randn(2, 3, 2 * n, device=device).to(dtype).chunk(2, dim=-1))


def test_extremes(kernel, device):
    gate = torch.tensor([-1e4, -100.0, -88.0, 0.0, 88.0, 100.0, 1e4, float("inf"), float("nan")], device=device)
    check(kernel, gate, torch.ones_like(gate))


@pytest.mark.parametrize("shape", [(0, 64), (3, 0), (0,)], ids=str)
def test_empty(kernel, device, shape):
    x = torch.empty(shape, device=device)
    assert kernel.swiglu(x, x).shape == x.shape


def test_opcheck(kernel, device, dtype):
    opcheck(kernel._swiglu, tuple(torch.randn(2, 4, 256, device=device).to(dtype)))


def test_compiles_whole(kernel, device):
    gate, up = torch.randn(2, 4, 256, device=device)
    compiled = torch.compile(lambda g, u: kernel.swiglu(g + g, u), fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(gate, up), kernel.swiglu(gate + gate, up))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (lambda x: (x, x[:2]), r"up must have the shape of gate, \(4, 64\), but has shape \(2, 64\)"),
        (lambda x: (x, x.half()), "up must have the dtype of gate, float32, but is float16"),
        (lambda x: (x[:, ::2], x[:, ::2]), "gate must be contiguous in its last dimension"),
        (lambda x: (x.double(), x.double()), "gate must be float32, float16 or bfloat16, but is float64"),
        (lambda x: (x[0, 0], x[0, 0]), "gate must have at least one dimension"),
        (lambda x: (x, x.clone().requires_grad_()), "up requires grad, but there is no backward"),
    ],
)
def test_refuses_by_name(kernel, device, arguments, message):
    with pytest.raises(RuntimeError, match=message):
        kernel.swiglu(*arguments(torch.randn(4, 64, device=device)))
