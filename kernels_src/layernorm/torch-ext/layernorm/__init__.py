"""LayerNorm over the last dimension, in one pass over the data."""

import torch

from ._ops import add_op_namespace_prefix, ops

_layernorm = ops.layernorm.default


def _expect_one_device(x: torch.Tensor, **others: torch.Tensor | None) -> None:
    for name, tensor in others.items():
        if tensor is not None and tensor.device != x.device:
            raise RuntimeError(f"layernorm: {name} must be on {x.device} like x, but is on {tensor.device}")


@torch.library.register_fake(add_op_namespace_prefix("layernorm"))
def _(x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, eps: float) -> torch.Tensor:
    _expect_one_device(x, weight=weight, bias=bias)
    return x.new_empty(x.shape)


def _refuse_grad(**tensors: torch.Tensor | None) -> None:
    for name, tensor in tensors.items():
        if tensor is not None and tensor.requires_grad:
            raise RuntimeError(f"layernorm: {name} requires grad, but there is no backward: call it under torch.no_grad()")


def layernorm(
    x: torch.Tensor,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    eps: float = 1e-5,
) -> torch.Tensor:
    """``(x - mean(x)) / sqrt(var(x) + eps) * weight + bias`` over the last dimension, computed in float32 and rounded once.

    `x` has any shape and dtype float32, float16 or bfloat16; its last dimension, of n elements, is contiguous. `weight` and
    `bias` have shape (n,) and the dtype of `x`; without them the factor is 1 and the summand 0. Returns a new contiguous tensor
    like `x`. Forward only: raises RuntimeError where a gradient would be asked for.
    """
    # In one expression, since what names the argument takes as long as a quarter of the call.
    if torch.is_grad_enabled() and (
        x.requires_grad or (weight is not None and weight.requires_grad) or (bias is not None and bias.requires_grad)
    ):
        _refuse_grad(x=x, weight=weight, bias=bias)
    return _layernorm(x, weight, bias, eps)


from . import layers  # noqa: E402 - layers use the function above

__all__ = ["layernorm", "layers"]
