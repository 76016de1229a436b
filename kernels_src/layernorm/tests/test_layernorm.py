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
    torch.testing.assert_close(actual, expected.to(actual.dtype))


@pytest.mark.kernels_ci
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_agrees_with_the_reference(kernel, device, dtype, shape):
    x = torch.randn(shape, device=device).to(dtype)
    weight, bias = torch.randn(2, shape[-1], device=device).to(dtype)
    check(kernel.layernorm(x, weight, bias), x, weight, bias)
    check(kernel.layernorm(x), x)
    check(kernel.layernorm(x, weight), x, weight)
    check(kernel.layernorm(x, None, bias, 1e-2), x, None, bias, 1e-2)


def test_keeps_its_digits_where_the_mean_is_large(kernel, device):
    x = torch.randn(4, 4096, device=device) + 1000
    # A mean in one float is known to its spacing at 1000 only, and squares of such numbers leave no digit of the variance.
    torch.testing.assert_close(kernel.layernorm(x), reference(x.double()).float())


@pytest.mark.parametrize("n", [1000, 4096, 16384])
def test_is_not_led_astray_by_the_first_few(kernel, device, dtype, n):
    x = torch.randn(4, n, device=device)
    x[:, :8] += 300
    check(kernel.layernorm(x.to(dtype)), x.to(dtype))


def test_takes_slices(kernel, device, dtype):
    x = torch.randn(2, 10, 3 * 64, device=device).to(dtype)[..., 64:128]
    check(kernel.layernorm(x), x)
    assert kernel.layernorm(x).is_contiguous()


@pytest.mark.parametrize("shape", [(0, 64), (3, 0), (0,)], ids=str)
def test_empty(kernel, device, shape):
    x = torch.empty(shape, device=device)
    assert kernel.layernorm(x).shape == x.shape


def test_opcheck(kernel, device, dtype):
    x = torch.randn(4, 256, device=device).to(dtype)
    opcheck(kernel._layernorm, (x, x[0], x[1], 1e-5))
    opcheck(kernel._layernorm, (x, None, None, 1e-5))


def test_compiles_whole(kernel, device):
    x = torch.randn(4, 256, device=device)
    compiled = torch.compile(lambda x, w: kernel.layernorm(x + x, w, w), fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x, x[0]), kernel.layernorm(x + x, x[0], x[0]))


def test_layer(kernel, device):
    x = torch.randn(4, 256, device=device)
    layer = kernel.layers.LayerNorm()
    layer.weight, layer.bias, layer.eps = x[1], x[2], 1e-3
    check(layer(x), x, x[1], x[2], 1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (lambda x, w: (x, w[:5]), r"weight must have shape \(64,\).*but has shape \(5,\)"),
        (lambda x, w: (x, w, w[:5]), r"bias must have shape \(64,\).*but has shape \(5,\)"),
        (lambda x, w: (x, w.half()), "weight must have the dtype of x, float32, but is float16"),
        (lambda x, w: (x, w, w.bfloat16()), "bias must have the dtype of x, float32, but is bfloat16"),
        (lambda x, w: (x, w, w, -1e-5), "eps must be a finite number of at least 0, but is -0.00001"),
        (lambda x, w: (x[:, ::2],), "x must be contiguous in its last dimension"),
        (lambda x, w: (x.double(),), "x must be float32, float16 or bfloat16, but is float64"),
        (lambda x, w: (x[0, 0],), "x must have at least one dimension"),
        (lambda x, w: (x.clone().requires_grad_(),), "x requires grad, but there is no backward"),
        (lambda x, w: (x, w, w.clone().requires_grad_()), "bias requires grad, but there is no backward"),
    ],
)
def test_refuses_by_name(kernel, device, arguments, message):
    x = torch.randn(4, 64, device=device)
    with pytest.raises(RuntimeError, match=message):
        kernel.layernorm(*arguments(x, x[0].clone()))
