"""Softmax over the last dimension, in one pass over the data."""

import torch

from ._ops import add_op_namespace_prefix, ops

_softmax = ops.softmax.default


@torch.library.register_fake(add_op_namespace_prefix("softmax"))
def _(x: torch.Tensor) -> torch.Tensor:
    return x.new_empty(x.shape)


def softmax(x: torch.Tensor) -> torch.Tensor:
    """``exp(x - max(x)) / sum(exp(x - max(x)))`` over the last dimension, computed in float32 and rounded once.

    `x` has any shape and dtype float32, float16 or bfloat16; its last dimension is contiguous. Returns a new contiguous tensor
    like `x`; a row of nothing but -inf gives NaN, as in torch. Forward only: raises RuntimeError where a gradient would be
    asked for.
    """
    if torch.is_grad_enabled() and x.requires_grad:
        raise RuntimeError("softmax: x requires grad, but there is no backward: call it under torch.no_grad()")
    return _softmax(x)


__all__ = ["softmax"]
