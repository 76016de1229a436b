"""GEGLU, in one pass over the data."""

import torch

from ._ops import add_op_namespace_prefix, ops

_geglu = ops.geglu.default


@torch.library.register_fake(add_op_namespace_prefix("geglu"))
def _(x: torch.Tensor, tanh: bool, gate_first: bool) -> torch.Tensor:
    return x.new_empty((*x.shape[:-1], x.shape[-1] // 2))


def geglu(x: torch.Tensor, approximate: str = "none", gate_first: bool = False) -> torch.Tensor:
    """``value * gelu(gate)`` with ``value, gate = x.chunk(2, dim=-1)``, computed in float32 and rounded once.

    `x` has any shape whose last dimension, 2n, is contiguous, and dtype float32, float16 or bfloat16. `approximate` is "none"
    for the exact gelu or "tanh"; `gate_first` swaps the halves. Returns a new contiguous tensor with a last dimension of n.
    Forward only: raises RuntimeError where a gradient would be asked for.
    """
    if torch.is_grad_enabled() and x.requires_grad:
        raise RuntimeError("geglu: x requires grad, but there is no backward: call it under torch.no_grad()")
    if approximate not in ("none", "tanh"):
        raise ValueError(f"geglu: approximate must be 'none' or 'tanh', but is {approximate!r}")
    return _geglu(x, approximate == "tanh", gate_first)


__all__ = ["geglu"]
