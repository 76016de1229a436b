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
    weight = torch.randn(shape[-1], device=device).to(dtype)
    check(kernel.rmsnorm(x, weight), x, weight)
    check(kernel.rmsnorm(x), x)
    check(kernel.rmsnorm(x, weight, 1e-2, 1.0), x, weight, 1e-2, 1.0)


def test_takes_heads_out_of_a_fused_projection(kernel, device, dtype):
    fused = torch.randn(2, 10, 3 * 8 * 64, device=device).to(dtype)
    query = fused[..., : 8 * 64].view(2, 10, 8, 64)
    check(kernel.rmsnorm(query), query)
    assert kernel.rmsnorm(query).is_contiguous()


@pytest.mark.parametrize("shape", [(0, 64), (3, 0), (0,)], ids=str)
def test_empty(kernel, device, shape):
    x = torch.empty(shape, device=device)
    assert kernel.rmsnorm(x).shape == x.shape


def test_opcheck(kernel, device, dtype):
    x = torch.randn(4, 256, device=device).to(dtype)
    opcheck(kernel._rmsnorm, (x, x[0], 1e-6, 0.0))
    opcheck(kernel._rmsnorm, (x, None, 1e-6, 0.0))


def test_compiles_whole(kernel, device):
    x = torch.randn(4, 256, device=device)
    compiled = torch.compile(lambda x, w: kernel.rmsnorm(x + x, w), fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x, x[0]), kernel.rmsnorm(x + x, x[0]))


def test_layers(kernel, device):
    x = torch.randn(4, 256, device=device)
    layer = kernel.layers.RMSNorm()
    layer.weight, layer.variance_epsilon = x[1], 1e-5
    check(layer(x), x, x[1], 1e-5)
    gemma = kernel.layers.GemmaRMSNorm()
    gemma.weight, gemma.eps = x[1], 1e-5
    check(gemma(x), x, x[1], 1e-5, 1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (lambda x, w: (x, w[:5]), r"weight must have shape \(64,\).*but has shape \(5,\)"),
        (lambda x, w: (x, w[None]), r"weight must have shape \(64,\).*but has shape \(1, 64\)"),
        (lambda x, w: (x, w.bfloat16()), "weight must have the dtype of x, float32, but is bfloat16"),
        (lambda x, w: (x, w, float("inf")), "eps must be a finite number of at least 0, but is inf"),
        (lambda x, w: (x[:, ::2], None), "x must be contiguous in its last dimension"),
        (lambda x, w: (x.view(2, 2, 2, 4, 8).permute(3, 2, 1, 0, 4), None), "strides that do not collapse"),
        (lambda x, w: (x.double(), None), "x must be float32, float16 or bfloat16, but is float64"),
        (lambda x, w: (x[0, 0], None), "x must have at least one dimension"),
        (lambda x, w: (x.clone().requires_grad_(), w), "x requires grad, but there is no backward"),
        (lambda x, w: (x, w.clone().requires_grad_()), "weight requires grad, but there is no backward"),
    ],
)
def test_refuses_by_name(kernel, device, arguments, message):
    x = torch.randn(4, 64, device=device)
    with pytest.raises(RuntimeError, match=message):
        kernel.rmsnorm(*arguments(x, x[0].clone()))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU to have tensors of two devices")
def test_refuses_a_tensor_of_another_device(kernel, device):
    here = torch.zeros(4, 64, device=device)
    other = here.to("cuda" if device == "cpu" else "cpu")
    with pytest.raises(RuntimeError, match=r"x must be a C.* tensor: this build has"):
        kernel.rmsnorm(other)
    with pytest.raises(RuntimeError, match=r"must be a C.* tensor"):
        kernel.rmsnorm(here, other[0])
