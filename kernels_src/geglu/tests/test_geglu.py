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


def check(kernel, x, *more):
    actual = kernel.geglu(x, *more)
    assert actual.dtype == x.dtype
    assert actual.is_contiguous()
    # The erf of float32 leaves 1 + erf a few units of its last place where the gate is far below zero.
    torch.testing.assert_close(actual, reference(x.double(), *more).to(x.dtype))


@pytest.mark.kernels_ci
@pytest.mark.parametrize("approximate", ["none", "tanh"])
@pytest.mark.parametrize("gate_first", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_agrees_with_the_reference(kernel, device, dtype, shape, approximate, gate_first):
    x = 2 * torch.randn(*shape[:-1], 2 * shape[-1], device=device)
    check(kernel, x.to(dtype), approximate, gate_first)


@pytest.mark.parametrize("n", [64, 100])
def test_takes_slices(kernel, device, dtype, n):
    check(kernel, torch.randn(2, 3, 3 * n, device=device).to(dtype)[..., n:])


def off(x, approximate, kernel=None):
    """The error against float64, norm over norm: of the kernel, or of what torch makes of x."""
    exact = reference(x.double(), approximate)
    actual = kernel.geglu(x, approximate) if kernel else reference(x, approximate)
    return float((actual - exact).norm() / exact.norm())


# Also far below zero, where 1 + erf loses its digits: in normal data an error there does not show.
@pytest.mark.parametrize("approximate", ["none", "tanh"])
@pytest.mark.parametrize("gates", ["normal", "far below zero"])
def test_float32_is_as_close_as_torch(kernel, device, approximate, gates):
    value, gate = torch.randn(2, 64, 4096, device=device)
    if gates != "normal":
        gate = torch.empty_like(gate).uniform_(-8, -2)
    x = torch.cat([value, gate], -1)
    assert off(x, approximate, kernel) <= 1.25 * off(x, approximate)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_extremes(kernel, device, approximate):
    gate = torch.tensor([-1e4, -30.0, -6.0, 0.0, 6.0, 30.0, 1e4], device=device)
    check(kernel, torch.cat([torch.ones_like(gate), gate]), approximate)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_infinities_and_nan(kernel, device, dtype, approximate):
    most = torch.finfo(dtype).max
    gate = torch.tensor([torch.inf, -torch.inf, torch.nan, most, -most], device=device).to(dtype)
    x = torch.cat([torch.ones_like(gate), gate])
    expected = torch.tensor([torch.inf, torch.nan, torch.nan, most, 0.0], device=device).to(dtype)
    torch.testing.assert_close(kernel.geglu(x, approximate), expected, equal_nan=True)


@pytest.mark.parametrize("shape", [(0, 64), (3, 0), (0,)], ids=str)
def test_empty(kernel, device, shape):
    assert kernel.geglu(torch.empty(shape, device=device)).shape == (*shape[:-1], shape[-1] // 2)


def test_opcheck(kernel, device, dtype):
    opcheck(kernel._geglu, (torch.randn(4, 256, device=device).to(dtype), False, False))


def test_compiles_whole(kernel, device):
    x = torch.randn(4, 256, device=device)
    compiled = torch.compile(lambda x: kernel.geglu(x + x, "tanh"), fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), kernel.geglu(x + x, "tanh"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (lambda x: (x[:, :63],), r"x must have an even last dimension, value and gate, but has shape \(4, 63\)"),
        (lambda x: (x, "erf"), "approximate must be 'none' or 'tanh', but is 'erf'"),
        (lambda x: (x[:, ::2],), "x must be contiguous in its last dimension"),
        (lambda x: (x.double(),), "x must be float32, float16 or bfloat16, but is float64"),
        (lambda x: (x[0, 0],), "x must have at least one dimension"),
        (lambda x: (x.clone().requires_grad_(),), "x requires grad, but there is no backward"),
    ],
)
def test_refuses_by_name(kernel, device, arguments, message):
    with pytest.raises((RuntimeError, ValueError), match=message):
        kernel.geglu(*arguments(torch.randn(4, 64, device=device)))
