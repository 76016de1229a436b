"""RMSNorm over the last dimension, in one pass over the data."""

import torch

from ._ops import add_op_namespace_prefix, ops

_rmsnorm = ops.rmsnorm.default


def _expect_one_device(x: torch.Tensor, **others: torch.Tensor | None) -> None:
    for name, tensor in others.items():
        if tensor is not None and tensor.device != x.device:
            raise RuntimeError(f"rmsnorm: {name} must be on {x.device} like x, but is on {tensor.device}")


@torch.library.register_fake(add_op_namespace_prefix("rmsnorm"))
def _(x: torch.Tensor, weight: torch.Tensor | None, eps: float, weight_offset: float) -> torch.Tensor:
    _expect_one_device(x, weight=weight)
    return x.new_empty(x.shape)


def rmsnorm(
    x: torch.Tensor,
    weight: torch.Tensor | None = None,
    eps: float = 1e-6,
    weight_offset: float = 0.0,
) -> torch.Tensor:
    """``x / sqrt(mean(x**2, -1) + eps) * (weight + weight_offset)``, computed in float32 and rounded once.

    `x` has any shape and dtype float32, float16 or bfloat16; its last dimension, of n elements, is contiguous. `weight` has
    shape (n,) and the dtype of `x`; without it the factor is 1. `weight_offset=1` is the form that Gemma uses. Returns a new
    contiguous tensor like `x`. Forward only: raises RuntimeError where a gradient would be asked for.
    """
    if torch.is_grad_enabled() and (x.requires_grad or (weight is not None and weight.requires_grad)):
        name = "x" if x.requires_grad else "weight"
        raise RuntimeError(f"rmsnorm: {name} requires grad, but there is no backward: call it under torch.no_grad()")
    return _rmsnorm(x, weight, eps, weight_offset)


from . import layers  # noqa: E402 - layers use the function above

__all__ = ["layers", "rmsnorm"]
