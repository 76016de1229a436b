"""Adaptive LayerNorm or RMSNorm, with the gated residual before it or without, in one pass over the data."""

import torch

from ._ops import add_op_namespace_prefix, ops

_adaln = ops.adaln.default
_gated_adaln = ops.gated_adaln.default


def _expect_one_device(op: str, x: torch.Tensor, **others: torch.Tensor) -> None:
    for name, tensor in others.items():
        if tensor.device != x.device:
            raise RuntimeError(f"{op}: {name} must be on {x.device} like x, but is on {tensor.device}")


@torch.library.register_fake(add_op_namespace_prefix("adaln"))
def _(x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, eps: float, rms: bool) -> torch.Tensor:
    _expect_one_device("adaln", x, scale=scale, shift=shift)
    return x.new_empty(x.shape)


@torch.library.register_fake(add_op_namespace_prefix("gated_adaln"))
def _(
    x: torch.Tensor,
    update: torch.Tensor,
    gate: torch.Tensor,
    scale: torch.Tensor,
    shift: torch.Tensor,
    eps: float,
    rms: bool,
) -> torch.Tensor:
    _expect_one_device("gated_adaln", x, update=update, gate=gate, scale=scale, shift=shift)
    return x.new_empty(x.shape)


def _refuse_grad(op: str, **tensors: torch.Tensor) -> None:
    for name, tensor in tensors.items():
        if tensor.requires_grad:
            raise RuntimeError(f"{op}: {name} requires grad, but there is no backward: call it under torch.no_grad()")


def adaln(x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, eps: float = 1e-6, rms: bool = False) -> torch.Tensor:
    """``norm(x) * (1 + scale) + shift`` over the last dimension, computed in float32 and rounded once.

    The norm is LayerNorm without weight, or with `rms` RMSNorm. `x` has shape (batch, ..., n) and dtype float32, float16 or
    bfloat16; `scale` and `shift` have its dtype and shape (batch, n), (batch, 1, n), (n,) or that of `x`. Last dimensions are
    contiguous. Returns a new contiguous tensor like `x`. Forward only: raises RuntimeError where a gradient would be asked for.
    """
    if torch.is_grad_enabled() and (x.requires_grad or scale.requires_grad or shift.requires_grad):
        _refuse_grad("adaln", x=x, scale=scale, shift=shift)
    return _adaln(x, scale, shift, eps, rms)


def gated_adaln(
    x: torch.Tensor,
    update: torch.Tensor,
    gate: torch.Tensor,
    scale: torch.Tensor,
    shift: torch.Tensor,
    eps: float = 1e-6,
    rms: bool = False,
) -> torch.Tensor:
    """``x += gate * update``, in place and rounded, then ``adaln(x, scale, shift)``.

    `update` has the shape and dtype of `x` and shares no memory with it; `gate` is like `scale` and `shift`. Raises
    RuntimeError where a gradient would be asked for.
    """
    if torch.is_grad_enabled() and (
        x.requires_grad or update.requires_grad or gate.requires_grad or scale.requires_grad or shift.requires_grad
    ):
        _refuse_grad("gated_adaln", x=x, update=update, gate=gate, scale=scale, shift=shift)
    return _gated_adaln(x, update, gate, scale, shift, eps, rms)


__all__ = ["adaln", "gated_adaln"]
