"""The ops against their reference in float64, and how they refuse what they cannot do."""

import sys
from pathlib import Path

import pytest
import torch
from torch.library import opcheck

sys.path.insert(0, str(Path(__file__).parents[1]))
from problem import reference

SHAPES = [(2, 5, 64), (3, 4, 100), (2, 3, 3072), (1, 2, 8192), (1, 2, 16384), (1, 1, 65536), (2, 3, 1)]


def make(shape, device, dtype):
    x = torch.randn(shape, device=device).to(dtype)
    scale, shift, gate = torch.randn(3, shape[0], shape[-1], device=device).to(dtype)
    return x, scale, shift, gate


def close(actual, *arguments):
    expected = reference(*(a.double() if isinstance(a, torch.Tensor) else a for a in arguments))
    torch.testing.assert_close(actual, expected.to(actual.dtype))


@pytest.mark.kernels_ci
@pytest.mark.parametrize("rms", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_agrees_with_the_reference(kernel, device, dtype, shape, rms):
    x, scale, shift, _ = make(shape, device, dtype)
    close(kernel.adaln(x, scale, shift, 1e-5, rms), x, scale, shift, 1e-5, rms)


@pytest.mark.parametrize("rms", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gated_agrees_with_the_reference(kernel, device, dtype, shape, rms):
    x, scale, shift, gate = make(shape, device, dtype)
    update = torch.randn_like(x)
    total = (x.double() + gate.double()[:, None] * update.double()).to(dtype)
    actual = kernel.gated_adaln(x, update, gate, scale, shift, 1e-5, rms)
    torch.testing.assert_close(x, total)
    close(actual, x, scale, shift, 1e-5, rms)


def test_modulation_may_be_slices_or_of_other_shapes(kernel, device, dtype):
    x = torch.randn(2, 5, 64, device=device).to(dtype)
    scale, shift = torch.randn(2, 6 * 64, device=device).to(dtype).chunk(6, dim=-1)[2:4]
    close(kernel.adaln(x, scale, shift), x, scale, shift)
    close(kernel.adaln(x, scale[:, None], shift[:, None]), x, scale, shift)
    close(kernel.adaln(x, scale[0], shift[0]), x, scale[0], shift[0])
    every = torch.randn(2, *x.shape, device=device).to(dtype)
    close(kernel.adaln(x, *every), x, *every)


def test_takes_strided_rows(kernel, device, dtype):
    x, scale, shift, _ = make((2, 5, 128), device, dtype)
    close(kernel.adaln(x[..., :64], scale[:, :64], shift[:, :64]), x[..., :64], scale[:, :64], shift[:, :64])


@pytest.mark.parametrize("shape", [(0, 3, 64), (2, 0, 64)], ids=str)
def test_empty(kernel, device, shape):
    x, scale, shift, _ = make(shape, device, torch.float32)
    assert kernel.adaln(x, scale, shift).shape == x.shape


def test_opcheck(kernel, device, dtype):
    x, scale, shift, gate = make((2, 3, 64), device, dtype)
    opcheck(kernel._adaln, (x, scale, shift, 1e-6, False))
    opcheck(kernel._gated_adaln, (x, torch.randn_like(x), gate, scale, shift, 1e-6, True))


def test_compiles_whole(kernel, device):
    x, scale, shift, _ = make((2, 3, 64), device, torch.float32)
    compiled = torch.compile(lambda *a: kernel.adaln(a[0] + a[0], *a[1:]), fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x, scale, shift), kernel.adaln(x + x, scale, shift))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": lambda t: t[:, :5]}, r"scale must have shape \(2, 64\).*but has shape \(2, 5\)"),
        ({"shift": lambda t: t[:1].expand(3, 64)}, r"shift must have shape \(2, 64\).*but has shape \(3, 64\)"),
        ({"shift": lambda t: t[0]}, "must have as many rows as each other"),
        ({"gate": lambda t: t.half()}, "gate must have the dtype of x, float32, but is float16"),
        ({"scale": lambda t: t[:, None].repeat(3, 1, 1).view(3, 2, 64)}, r"scale must have shape .*but has shape \(3, 2, 64\)"),
        ({"x": lambda t: t[:1].expand(2, 3, 64)}, "x is written, so its rows must not overlap"),
        ({"update": lambda t: t[:, :1]}, r"update must have the shape of x, \(2, 3, 64\), but has shape \(2, 1, 64\)"),
        ({"x": lambda t: t[..., ::2]}, "x must be contiguous in its last dimension"),
        ({"x": lambda t: t.double()}, "x must be float32, float16 or bfloat16, but is float64"),
        ({"gate": lambda t: t.requires_grad_()}, "gate requires grad, but there is no backward"),
    ],
)
def test_refuses_by_name(kernel, device, change, message):
    x, scale, shift, gate = make((2, 3, 64), device, torch.float32)
    arguments = {"x": x, "update": torch.randn_like(x), "gate": gate, "scale": scale, "shift": shift}
    changed = {name: change.get(name, lambda t: t)(tensor) for name, tensor in arguments.items()}
    with pytest.raises(RuntimeError, match=message):
        kernel.gated_adaln(**changed)
