"""The op against its reference in float64, and how it refuses what it cannot do."""

import sys
from pathlib import Path

import pytest
import torch
from torch.library import opcheck

sys.path.insert(0, str(Path(__file__).parents[1]))
from problem import inputs, reference

# Vectors and single elements; few heads and many, one position and several a block, more heads than a block takes, a head of
# more vectors than a block has threads.
SHAPES = [
    (2, 4, 2, 7, 128),
    (1, 32, 8, 3, 128),
    (1, 3, 1, 300, 64),
    (2, 2, 2, 5, 6),
    (1, 14, 2, 9, 80),
    (1, 600, 8, 1, 256),
    (1, 2, 1, 2, 8192),
]


def made(shape, dtype, device, tables=torch.float32):
    """q, k and one cosine and sine for each pair."""
    q, k, cos, sin = inputs(shape, dtype, device, torch.Generator(device).manual_seed(7))
    half = shape[-1] // 2
    return q, k, cos[..., :half].to(tables), sin[..., :half].to(tables)


def check(kernel, q, k, cos, sin, **options):
    actual = kernel.rope(q, k, cos, sin, **options)
    expected = reference(q.double(), k.double(), cos, sin, **options)
    for one, other, given in zip(actual, expected, (q, k), strict=True):
        torch.testing.assert_close(one, other.to(given.dtype))
        assert order_of(one) == order_of(torch.empty_like(given))
    return actual


def order_of(t):
    """The strides that matter: of a dimension of one element they do not, nor where there is none."""
    return [stride for stride, size in zip(t.stride(), t.shape, strict=True) if size > 1 and t.numel()]


@pytest.mark.kernels_ci
@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_agrees_with_the_reference(kernel, device, dtype, shape, interleaved):
    check(kernel, *made(shape, dtype, device), interleaved=interleaved)


@pytest.mark.parametrize("interleaved", [False, True])
def test_takes_tables_of_its_own_dtype(kernel, device, dtype, interleaved):
    check(kernel, *made((2, 4, 2, 7, 128), dtype, device, dtype), interleaved=interleaved)


def test_reads_the_first_of_two_equal_halves(kernel, device, dtype):
    q, k, cos, sin = made((2, 4, 2, 7, 128), dtype, device)
    actual = kernel.rope(q, k, cos.repeat(1, 1, 2), sin.repeat(1, 1, 2))
    assert all(torch.equal(one, other) for one, other in zip(actual, kernel.rope(q, k, cos, sin), strict=True))


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("rotary_dim", [0, 2, 32, 64, 96])
def test_leaves_what_lies_behind_rotary_dim(kernel, device, dtype, rotary_dim, interleaved):
    q, k, cos, sin = made((2, 4, 2, 7, 128), dtype, device)
    part = rotary_dim // 2
    turned = check(kernel, q, k, cos[..., :part], sin[..., :part], rotary_dim=rotary_dim, interleaved=interleaved)
    assert torch.equal(turned[0][..., rotary_dim:], q[..., rotary_dim:])


def test_takes_heads_as_they_lie_in_a_fused_projection(kernel, device, dtype):
    _, _, cos, sin = made((2, 1, 1, 7, 64), dtype, device)
    fused = torch.randn(2, 7, (4 + 2 + 2) * 64, device=device).to(dtype)
    q, k, _ = (part.unflatten(-1, (-1, 64)).transpose(1, 2) for part in fused.split([4 * 64, 2 * 64, 2 * 64], dim=-1))
    actual = kernel.rope(q, k, cos, sin)
    expected = kernel.rope(q.contiguous(), k.contiguous(), cos, sin)
    assert all(torch.equal(one, other) for one, other in zip(actual, expected, strict=True))


def test_takes_heads_outside_of_positions(kernel, device, dtype):
    q, k, cos, sin = made((2, 4, 2, 7, 64), dtype, device)
    check(kernel, q.contiguous(), k.contiguous(), cos, sin)


def test_takes_angles_for_each_batch(kernel, device, dtype):
    q, k, cos, sin = made((2, 4, 2, 7, 64), dtype, device)
    check(kernel, q, k, torch.stack([cos[0], cos[0].flip(0)]), torch.stack([sin[0], sin[0].flip(0)]))
    check(kernel, q, k, cos[0], sin[0])


@pytest.mark.parametrize("late", ["q", "k", "cos", "sin"])
def test_takes_what_does_not_start_at_16_bytes(kernel, device, dtype, late):
    arguments = dict(zip(("q", "k", "cos", "sin"), made((2, 4, 2, 7, 64), dtype, device), strict=True))
    given = arguments[late]
    arguments[late] = given.new_empty(given.numel() + 1)[1:].view(given.shape).copy_(given)
    check(kernel, *arguments.values())


EMPTY = [(0, 2, 1, 3, 64), (2, 0, 0, 3, 64), (2, 2, 0, 3, 64), (2, 2, 1, 0, 64), (2, 2, 1, 3, 0)]


@pytest.mark.parametrize("shape", EMPTY, ids=str)
def test_empty(kernel, device, shape):
    check(kernel, *made(shape, torch.float32, device))


@pytest.mark.parametrize("unsqueeze_dim", [1, 2])
def test_the_layer_does_what_transformers_does(kernel, device, unsqueeze_dim):
    q, k, cos, sin = made((2, 4, 2, 7, 64), torch.float32, device)
    cos, sin = cos.repeat(1, 1, 2), sin.repeat(1, 1, 2)
    if unsqueeze_dim == 2:
        q, k = q.transpose(1, 2), k.transpose(1, 2)
    actual = kernel.layers.RotaryPosEmb()(q, k, cos, sin, unsqueeze_dim=unsqueeze_dim)
    c, s = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
    for one, x in zip(actual, (q, k), strict=True):
        torch.testing.assert_close(one, x * c + torch.cat([-x[..., 32:], x[..., :32]], dim=-1) * s)


@pytest.mark.parametrize("interleaved", [False, True])
def test_opcheck(kernel, device, dtype, interleaved):
    opcheck(kernel._rope, (*made((2, 4, 2, 7, 64), dtype, device), None, interleaved))


@pytest.mark.parametrize("order", ["heads inside", "heads outside", "one position"])
def test_opcheck_knows_the_order_of_memory(kernel, device, order):
    q, k, cos, sin = made((2, 4, 2, 1 if order == "one position" else 7, 64), torch.float32, device)
    if order == "heads outside":
        q, k = q.contiguous(), k.contiguous()
    opcheck(kernel._rope, (q, k, cos, sin, 64, False))


def test_compiles_whole(kernel, device):
    q, k, cos, sin = made((2, 4, 2, 7, 64), torch.float32, device)
    compiled = torch.compile(lambda a, b: kernel.rope(a + a, b, cos, sin), fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(q, k), kernel.rope(q + q, k, cos, sin))


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"q": lambda t: t[0]}, {}, r"q must have shape \(batch, heads, seq, head_dim\), but has shape \(4, 7, 64\)"),
        ({"q": lambda t: t.double()}, {}, "q must be float32, float16 or bfloat16, but is float64"),
        ({"q": lambda t: t.mT.contiguous().mT}, {}, "q must be contiguous in its last dimension"),
        ({"k": lambda t: t.half()}, {}, "k must have the dtype of q, float32, but is float16"),
        ({"k": lambda t: t[:, :, 1:]}, {}, r"k must have the shape of q, \(2, 4, 7, 64\), but for .* \(2, 2, 6, 64\)"),
        ({"k": lambda t: t[..., 2:]}, {}, r"k must have the shape of q, .* has shape \(2, 2, 7, 62\)"),
        ({"k": lambda t: t.clone().requires_grad_()}, {}, "k requires grad, but there is no backward"),
        (
            {"cos": lambda t: t[:, 1:]},
            {},
            r"cos must have shape \(7, w\), \(1, 7, w\) or \(2, 7, w\) .* has shape \(1, 6, 32\)",
        ),
        ({"cos": lambda t: t[0, 0]}, {}, r"cos must have shape .* but has shape \(32,\)"),
        ({"sin": lambda t: t.repeat(3, 1, 1)}, {}, r"sin must have shape .* but has shape \(3, 7, 32\)"),
        ({"sin": lambda t: t[..., 1:]}, {}, r"sin must have shape .* with w = rotary_dim / 2 = 32, or rotary_dim = 64"),
        ({"cos": lambda t: t.repeat(1, 1, 2)}, {"interleaved": True}, r"cos must have shape .* w = rotary_dim / 2 = 32 but"),
        ({"cos": lambda t: t.half()}, {}, "cos must be float32 or have the dtype of q, float32, but is float16"),
        ({"cos": lambda t: t.mT.contiguous().mT}, {}, "cos must be contiguous in its last dimension"),
        ({}, {"rotary_dim": 3}, "rotary_dim must be even and from 0 to head_dim, .* which is 64, but is 3"),
        ({}, {"rotary_dim": 66}, "rotary_dim must be even and from 0 to head_dim, .* which is 64, but is 66"),
    ],
)
def test_refuses_by_name(kernel, device, changes, options, message):
    arguments = dict(zip(("q", "k", "cos", "sin"), made((2, 4, 2, 7, 64), torch.float32, device), strict=True))
    for name, change in changes.items():
        arguments[name] = change(arguments[name])
    with pytest.raises(RuntimeError, match=message):
        kernel.rope(*arguments.values(), **options)


def test_tables_have_one_dtype(kernel, device):
    q, k, cos, sin = made((2, 4, 2, 7, 64), torch.float16, device)
    with pytest.raises(RuntimeError, match="sin must have the dtype of cos, float32, but is float16"):
        kernel.rope(q, k, cos, sin.half())


def test_transformers_arguments_are_refused_by_name(kernel, device):
    with pytest.raises(ValueError, match="unsqueeze_dim must be 1 or 2, but is 0"):
        kernel.apply_rotary_transformers(*made((2, 4, 2, 7, 64), torch.float32, device), unsqueeze_dim=0)
