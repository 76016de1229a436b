"""Residual addition and RMSNorm over the last dimension, in one pass over the data."""

import torch

from ._ops import add_op_namespace_prefix, ops

_add_rmsnorm = ops.add_rmsnorm.default


def _expect_one_device(x: torch.Tensor, **others: torch.Tensor | None) -> None:
    for name, tensor in others.items():
        if tensor is not None and tensor.device != x.device:
            raise RuntimeError(f"add_rmsnorm: {name} must be on {x.device} like x, but is on {tensor.device}")


@torch.library.register_fake(add_op_namespace_prefix("add_rmsnorm"))
def _(x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor | None, eps: float, weight_offset: float) -> torch.Tensor:
    _expect_one_device(x, residual=residual, weight=weight)
    return x.new_empty(x.shape)


def _refuse_grad(**tensors: torch.Tensor | None) -> None:
    for name, tensor in tensors.items():
        if tensor is not None and tensor.requires_grad:
            raise RuntimeError(f"add_rmsnorm: {name} requires grad, but there is no backward: call it under torch.no_grad()")


def add_rmsnorm(
    x: torch.Tensor,
    residual: torch.Tensor,
    weight: torch.Tensor | None = None,
    eps: float = 1e-6,
    weight_offset: float = 0.0,
) -> torch.Tensor:
    """``residual += x``, in place, then ``residual / sqrt(mean(residual**2, -1) + eps) * (weight + weight_offset)``.

    `x` has any shape and dtype float32, float16 or bfloat16; its last dimension, of n elements, is contiguous. `residual` has
    the shape and dtype of `x`, contiguous rows and shares no memory with it. `weight` has shape (n,) and the dtype of `x`;
    without it the factor is 1. The sum is rounded before it is normalised; the rest is computed in float32 and rounded once.
    Returns a new contiguous tensor like `x`. Forward only: raises RuntimeError where a gradient would be asked for.
    """
    if torch.is_grad_enabled() and (x.requires_grad or residual.requires_grad or (weight is not None and weight.requires_grad)):
        _refuse_grad(x=x, residual=residual, weight=weight)
    return _add_rmsnorm(x, residual, weight, eps, weight_offset)


__all__ = ["add_rmsnorm"]
