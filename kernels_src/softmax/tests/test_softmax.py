"""The op against its reference in float64, and how it refuses what it cannot do."""

import sys
from pathlib import Path

import pytest
import torch
from torch.library import opcheck

sys.path.insert(0, str(Path(__file__).parents[1]))
from problem import reference

# A vector and a ragged row of each way the kernel has: lanes of a warp, a block, many vectors a thread, few rows and many that
# are too long to be kept.
SHAPES = [(3, 64), (7, 100), (4, 4096), (2, 5, 1000), (2, 8192), (2, 16384), (1, 65536), (1, 65537), (70, 40960), (6, 1)]


def check(actual, *arguments, **more):
    expected = reference(*(a.double() if isinstance(a, torch.Tensor) else a for a in arguments), **more)
    assert actual.dtype == arguments[0].dtype
    torch.testing.assert_close(actual, expected.to(actual.dtype), equal_nan=True)


@pytest.mark.kernels_ci
@pytest.mark.parametrize("shape", [*SHAPES, (2, 140000)], ids=str)
def test_agrees_with_the_reference(kernel, device, dtype, shape):
    x = (3 * torch.randn(shape, device=device)).to(dtype)
    check(kernel.softmax(x), x)


@pytest.mark.parametrize("n", [64, 100])
def test_masked_and_extreme_rows(kernel, device, dtype, n):
    x = torch.randn(5, n, device=device).to(dtype)
    x[0, n // 2 :] = float("-inf")
    x[1] = float("-inf")
    x[2, 3] = float("nan")
    x[3] = 60000.0
    x[4, 0] = 60000.0
    check(kernel.softmax(x), x)


def test_takes_slices(kernel, device, dtype):
    x = torch.randn(2, 10, 3 * 64, device=device).to(dtype)[..., 64:128]
    check(kernel.softmax(x), x)
    assert kernel.softmax(x).is_contiguous()


@pytest.mark.parametrize("shape", [(0, 64), (3, 0), (0,)], ids=str)
def test_empty(kernel, device, shape):
    x = torch.empty(shape, device=device)
    assert kernel.softmax(x).shape == x.shape


def test_opcheck(kernel, device, dtype):
    opcheck(kernel._softmax, (torch.randn(4, 256, device=device).to(dtype),))


def test_compiles_whole(kernel, device):
    x = torch.randn(4, 256, device=device)
    compiled = torch.compile(lambda x: kernel.softmax(x + x), fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), kernel.softmax(x + x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (lambda x: x[:, ::2], "x must be contiguous in its last dimension"),
        (lambda x: x.double(), "x must be float32, float16 or bfloat16, but is float64"),
        (lambda x: x[0, 0], "x must have at least one dimension"),
        (lambda x: x.clone().requires_grad_(), "x requires grad, but there is no backward"),
    ],
)
def test_refuses_by_name(kernel, device, arguments, message):
    with pytest.raises(RuntimeError, match=message):
        kernel.softmax(arguments(torch.randn(4, 64, device=device)))
