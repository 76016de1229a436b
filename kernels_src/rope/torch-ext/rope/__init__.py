"""Rotary position embeddings of q and k, in one launch and one pass over the data."""

import torch

from ._ops import add_op_namespace_prefix, ops

_rope = ops.rope.default


def _expect_one_device(q: torch.Tensor, **others: torch.Tensor) -> None:
    for name, tensor in others.items():
        if tensor.device != q.device:
            raise RuntimeError(f"rope: {name} must be on {q.device} like q, but is on {tensor.device}")


def _empty_in_order(like: torch.Tensor) -> torch.Tensor:
    batch, heads, seq, dim = like.shape
    if like.stride(1) < like.stride(2):
        return like.new_empty(batch, seq, heads, dim).transpose(1, 2)
    return like.new_empty(batch, heads, seq, dim)


@torch.library.register_fake(add_op_namespace_prefix("rope"))
def _(
    q: torch.Tensor, k: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, rotary_dim: int | None, interleaved: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    _expect_one_device(q, k=k, cos=cos, sin=sin)
    for name, tensor in (("q", q), ("k", k)):
        if tensor.dim() != 4:
            raise RuntimeError(f"rope: {name} must have shape (batch, heads, seq, head_dim), but has {tensor.dim()} dimensions")
    return _empty_in_order(q), _empty_in_order(k)


def _refuse_grad(**tensors: torch.Tensor) -> None:
    for name, tensor in tensors.items():
        if tensor.requires_grad:
            raise RuntimeError(f"rope: {name} requires grad, but there is no backward: call it under torch.no_grad()")


def rope(
    q: torch.Tensor,
    k: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    rotary_dim: int | None = None,
    interleaved: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """`q` and `k` with each pair (a, b) of elements turned: ``(a * cos - b * sin, b * cos + a * sin)``.

    `q` and `k` have shape (batch, heads, seq, head_dim), each with its own number of heads, and one dtype, float32, float16 or
    bfloat16; any strides, so transposed views of a projection will do, but the last dimension is contiguous. A pair is the
    elements i and rotary_dim / 2 + i, or 2 i and 2 i + 1 where `interleaved`; elements from `rotary_dim` on, head_dim where it
    is None, stay as they are. `cos` and `sin` have shape (seq, w), (1, seq, w) or (batch, seq, w), in float32 or the dtype of
    `q`, with one number for each pair, w = rotary_dim / 2; where not `interleaved` also w = rotary_dim, of which only the first
    half is read, since model code has the second repeat it. Computed in float32, rounded once. Returns two new tensors without
    gaps, in the order of memory of `q` and `k`. Forward only: raises RuntimeError where a gradient would be asked for.
    """
    if torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or cos.requires_grad or sin.requires_grad):
        _refuse_grad(q=q, k=k, cos=cos, sin=sin)
    return _rope(q, k, cos, sin, rotary_dim, interleaved)


def apply_rotary_transformers(
    q: torch.Tensor, k: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, unsqueeze_dim: int = 1
) -> tuple[torch.Tensor, torch.Tensor]:
    """`rope` with the arguments of the transformers library's `apply_rotary_pos_emb`.

    `cos` and `sin` have shape (batch or 1, seq, rotary_dim). `unsqueeze_dim` says where `q` and `k` have their heads: 1 for
    (batch, heads, seq, head_dim), 2 for (batch, seq, heads, head_dim). Returns tensors of their shapes; raises ValueError for
    any other `unsqueeze_dim`.
    """
    if unsqueeze_dim == 1:
        return rope(q, k, cos, sin, cos.shape[-1])
    if unsqueeze_dim != 2:
        raise ValueError(f"rope: unsqueeze_dim must be 1 or 2, but is {unsqueeze_dim}")
    q, k = rope(q.transpose(1, 2), k.transpose(1, 2), cos, sin, cos.shape[-1])
    return q.transpose(1, 2), k.transpose(1, 2)


from . import layers  # noqa: E402 - layers use the functions above

__all__ = ["apply_rotary_transformers", "layers", "rope"]
