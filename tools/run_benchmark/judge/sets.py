"""Sets of arguments in a subject's memory: their form, their copies, and new data at the same addresses."""

from __future__ import annotations

from typing import Any

import torch

from .values import map_tensors, tensors

Args = tuple[Any, ...]


def copied(args: Args) -> Args:
    """The same arguments, every tensor in memory of its own."""
    found: Args = map_tensors(args, lambda t: t.clone())
    return found


def with_gaps(t: torch.Tensor) -> torch.Tensor:
    if t.dim() < 2 or not t.is_floating_point():
        return t
    wide = torch.zeros((*t.shape[:-1], t.shape[-1] + 16), dtype=t.dtype, device=t.device)
    view = wide[..., : t.shape[-1]]
    view.copy_(t)
    return view


def same_form(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return (
            isinstance(other, torch.Tensor)
            and (one.shape, one.dtype) == (other.shape, other.dtype)
            and one.stride() == other.stride()
        )
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same_form, one, other))
    return type(one) is type(other)


def refill(old: list[Args], new: list[Args]) -> list[Args]:
    """Copy what the new sets hold to where the old ones lie, the same tensor of all sets at a time."""
    columns = zip(*(list(tensors(args)) for args in old), strict=True), zip(*(list(tensors(args)) for args in new), strict=True)
    for into, out in zip(*columns, strict=True):
        if into[0].element_size() > 1:
            torch._foreach_copy_(into, out)
            continue
        # Not every such operator knows every small floating-point type.
        for one, other in zip(into, out, strict=True):
            one.copy_(other)
    return [_with_plain(a, b) for a, b in zip(old, new, strict=True)]


def _with_plain(old: Any, new: Any) -> Any:
    """The tensors of `old`, all else of `new`."""
    if isinstance(old, torch.Tensor):
        return old
    if isinstance(old, list | tuple):
        return type(old)([_with_plain(a, b) for a, b in zip(old, new, strict=True)])
    return new
