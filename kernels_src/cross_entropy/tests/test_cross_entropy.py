"""The op against its reference in float64, and how it refuses what it cannot do."""

import sys
from pathlib import Path

import pytest
import torch
from torch.library import opcheck

sys.path.insert(0, str(Path(__file__).parents[1]))
from problem import reference

# Lanes of a warp, a block, a block in two turns, a cluster; rows that start and end anywhere.
SHAPES = [(3, 64), (7, 100), (5, 1000), (4, 4096), (2, 5, 333), (2, 10001), (2, 20003), (3, 50257), (40, 8191), (6, 1), (100,)]


def targets(shape, n, device):
    """Classes, of which every third is ignored from the second on."""
    target = torch.randint(n, shape, device=device)
    target.view(-1)[1::3] = -100
    return target


def check(kernel, logits, target, **more):
    for reduction in ("none", "mean"):
        actual = kernel.cross_entropy(logits, target, reduction=reduction, **more)
        expected = reference(logits.double(), target, reduction=reduction, **more)
        assert actual.dtype == torch.float32
        torch.testing.assert_close(actual, expected.float(), equal_nan=True)


@pytest.mark.kernels_ci
@pytest.mark.parametrize("shape", [*SHAPES, (2, 151936)], ids=str)
def test_agrees_with_the_reference(kernel, device, dtype, shape):
    logits = (3 * torch.randn(shape, device=device)).to(dtype)
    check(kernel, logits, targets(shape[:-1], shape[-1], device))


def test_takes_shifted_logits_and_labels_without_a_copy(kernel, device, dtype):
    logits, labels = torch.randn(3, 10, 515, device=device).to(dtype), targets((3, 10), 515, device)
    check(kernel, logits[:, :-1], labels[:, 1:])
    check(kernel, logits[..., 1:400], labels % 399, ignore_index=5)
    check(kernel, logits[::2, 1:], labels[0, :1].expand(2, 9))
    assert kernel.cross_entropy(logits[:, :-1], labels[:, 1:], reduction="none").is_contiguous()


@pytest.mark.parametrize("n", [64, 100, 5000])
def test_masked_and_extreme_rows(kernel, device, dtype, n):
    logits = torch.randn(7, n, device=device).to(dtype)
    logits[0, : n // 2] = float("-inf")
    logits[1] = float("-inf")
    logits[2, 3] = float("nan")
    logits[3] = 60000.0
    logits[4, 0] = 60000.0
    logits[5, n - 1] = float("inf")
    logits[6, 1] = 60000.0
    check(kernel, logits, torch.tensor([n - 1, 0, 1, 2, 0, n - 1, 0], device=device))
    # A class that was masked out, and a row full of NaN that is ignored.
    logits[2] = float("nan")
    check(kernel, logits[[0, 2]], torch.tensor([0, -100], device=device))


def test_all_or_none_ignored(kernel, device):
    logits = torch.randn(4, 50, device=device)
    check(kernel, logits, torch.full((4,), -100, device=device))
    check(kernel, logits, torch.zeros(4, dtype=torch.int64, device=device), ignore_index=7)
    check(kernel, logits, torch.tensor([7, 0, 7, 49], device=device), ignore_index=7)


def test_no_rows(kernel, device):
    check(kernel, torch.empty(0, 64, device=device), torch.empty(0, dtype=torch.int64, device=device))
    check(kernel, torch.empty(2, 0, 64, device=device), torch.empty(2, 0, dtype=torch.int64, device=device))


@pytest.mark.parametrize("wrong", [-1, 64, 1 << 40, -(1 << 40)])
def test_a_target_that_is_no_class(kernel, device, wrong):
    logits, target = torch.randn(3, 64, device=device), torch.tensor([1, wrong, -100], device=device)
    if device == "cpu":
        with pytest.raises(RuntimeError, match=f"target must hold classes from 0 to 63 or ignore_index, -100, .* {wrong}"):
            kernel.cross_entropy(logits, target)
    else:
        assert kernel.cross_entropy(logits, target, reduction="none").isnan().tolist() == [False, True, False]
        assert kernel.cross_entropy(logits, target).isnan()


@pytest.mark.parametrize("mean", [False, True])
def test_opcheck(kernel, device, dtype, mean):
    opcheck(kernel._cross_entropy, (torch.randn(2, 3, 256, device=device).to(dtype), targets((2, 3), 256, device), -100, mean))


def test_compiles_whole(kernel, device):
    logits, target = torch.randn(4, 256, device=device), targets((4,), 256, device)
    compiled = torch.compile(lambda x, t: kernel.cross_entropy(x + x, t), fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(logits, target), kernel.cross_entropy(logits + logits, target))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, t: (x[:, ::2], t), "logits must be contiguous in its last dimension"),
        (lambda x, t: (x.double(), t), "logits must be float32, float16 or bfloat16, but is float64"),
        (lambda x, t: (x[0, 0], t), "logits must have at least one dimension"),
        (lambda x, t: (x[:, :0], t), "logits must have at least one class"),
        (lambda x, t: (x.clone().requires_grad_(), t), "logits requires grad, but there is no backward"),
        (lambda x, t: (x, t.int()), "target must be int64"),
        (lambda x, t: (x, t[1:]), r"target must have the shape of logits, \(4, 64\), without .* but has shape \(3,\)"),
        (lambda x, t: (x, t[0]), "target must have the shape of logits"),
        (lambda x, t: (x.expand(4, 4, 4, 64), t.repeat(4).as_strided((4, 4, 4), (1, 2, 1))), "target has strides"),
    ],
)
def test_refuses_by_name(kernel, device, change, message):
    with pytest.raises(RuntimeError, match=message):
        kernel.cross_entropy(*change(torch.randn(4, 64, device=device), targets((4,), 64, device)))


@pytest.mark.parametrize(("more", "name"), [({"reduction": "sum"}, "reduction"), ({"ignore_index": 1 << 63}, "ignore_index")])
def test_refuses_options_by_name(kernel, device, more, name):
    with pytest.raises(ValueError, match=f"{name} must be"):
        kernel.cross_entropy(torch.randn(4, 64, device=device), targets((4,), 64, device), **more)
