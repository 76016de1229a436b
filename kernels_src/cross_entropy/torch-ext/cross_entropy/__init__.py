"""Cross-entropy of logits and target classes, in one reading of the logits."""

import torch

from ._ops import add_op_namespace_prefix, ops

_cross_entropy = ops.cross_entropy.default


@torch.library.register_fake(add_op_namespace_prefix("cross_entropy"))
def _(logits: torch.Tensor, target: torch.Tensor, ignore_index: int, mean: bool) -> torch.Tensor:
    if target.device != logits.device:
        raise RuntimeError(f"cross_entropy: target must be on {logits.device} like logits, but is on {target.device}")
    return logits.new_empty(() if mean else target.shape, dtype=torch.float32)


def cross_entropy(
    logits: torch.Tensor,
    target: torch.Tensor,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> torch.Tensor:
    """``logsumexp(logits, -1) - logits[target]`` of each row, in float32 throughout.

    `logits` has shape (..., n) and dtype float32, float16 or bfloat16; its last dimension, the classes, is contiguous. `target`
    has shape (...) and dtype int64 and holds classes from 0 to n - 1, or `ignore_index`. Other than in
    torch.nn.functional.cross_entropy the classes are always the last dimension, and the result is float32 whatever the logits
    are: a new contiguous tensor like `target` for `reduction="none"`, 0 where ignored, or for "mean" the mean over those not
    ignored, NaN if there are none. A target that is no class raises RuntimeError on the CPU; on CUDA, where it is not seen
    without waiting, its loss is NaN. Forward only: raises RuntimeError where a gradient would be asked for.
    """
    if torch.is_grad_enabled() and logits.requires_grad:
        raise RuntimeError("cross_entropy: logits requires grad, but there is no backward: call it under torch.no_grad()")
    if reduction not in ("mean", "none"):
        raise ValueError(f"cross_entropy: reduction must be 'mean' or 'none', but is {reduction!r}")
    if isinstance(ignore_index, int) and not -(1 << 63) <= ignore_index < 1 << 63:
        raise ValueError(f"cross_entropy: ignore_index must be an int64, but is {ignore_index}")
    return _cross_entropy(logits, target, ignore_index, reduction == "mean")


__all__ = ["cross_entropy"]
