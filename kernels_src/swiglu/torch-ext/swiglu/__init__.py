"""SwiGLU, in one pass over the data."""

import torch

from ._ops import add_op_namespace_prefix, ops

_swiglu = ops.swiglu.default


def _expect_one_device(gate: torch.Tensor, **others: torch.Tensor) -> None:
    for name, tensor in others.items():
        if tensor.device != gate.device:
            raise RuntimeError(f"swiglu: {name} must be on {gate.device} like gate, but is on {tensor.device}")


@torch.library.register_fake(add_op_namespace_prefix("swiglu"))
def _(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    _expect_one_device(gate, up=up)
    return gate.new_empty(gate.shape)


def swiglu(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """``silu(gate) * up``, computed in float32 and rounded once.

    `gate` and `up` have one shape and one dtype, float32, float16 or bfloat16; the last dimension of each is contiguous, so the
    two halves of a fused projection will do. Returns a new contiguous tensor like `gate`. Forward only: raises RuntimeError
    where a gradient would be asked for.
    """
    if torch.is_grad_enabled() and (gate.requires_grad or up.requires_grad):
        name = "gate" if gate.requires_grad else "up"
        raise RuntimeError(f"swiglu: {name} requires grad, but there is no backward: call it under torch.no_grad()")
    return _swiglu(gate, up)


__all__ = ["swiglu"]
