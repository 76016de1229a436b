"""Arguments of a kernel as data: tensors through an arena, plain values as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from .arena import Arena, dtype_named

MAX_DEPTH = 4


class UntransportableError(Exception):
    """`inputs` returned a value that cannot be handed to another process."""


def pack(value: Any, arena: Arena, depth: int = 0) -> Any:
    """`value` as JSON, its tensors in `arena`. Tensors, numbers, strings, None, dtypes, devices, lists, tuples go through."""
    if isinstance(value, torch.Tensor):
        strides = value.stride()
        order = sorted(range(value.dim()), key=lambda d: -strides[d])
        turned = value.permute(order)
        # A transposed tensor arrives transposed; one with gaps arrives without them.
        if turned.is_contiguous() and not value.is_contiguous():
            return {"turned": {**arena.put(turned), "order": order}}
        return {"tensor": arena.put(value)}
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if isinstance(value, torch.device):
        return {"device": value.type}
    if value is None or isinstance(value, bool | int | str):
        return {"plain": value}
    if isinstance(value, float):
        return {"float": value.hex()}
    if isinstance(value, list | tuple) and depth < MAX_DEPTH:
        return {"list" if isinstance(value, list) else "tuple": [pack(v, arena, depth + 1) for v in value]}
    raise UntransportableError(f"a value of type {type(value).__name__}")


def unpack(data: Any, arena: Arena, device: str) -> Any:
    """What `pack` packed, its tensors as fresh ones on `device`."""
    ((kind, value),) = data.items()
    if kind == "tensor":
        return arena.get(value).to(device, copy=True)
    if kind == "turned":
        back = sorted(range(len(value["order"])), key=value["order"].__getitem__)
        return arena.get(value).to(device, copy=True).permute(back)
    if kind == "dtype":
        return dtype_named(value)
    if kind == "device":
        return torch.device(device)
    if kind == "float":
        return float.fromhex(value)
    if kind in {"list", "tuple"}:
        items = [unpack(v, arena, device) for v in value]
        return items if kind == "list" else tuple(items)
    return value


def tensors(value: Any) -> Iterator[torch.Tensor]:
    """Every tensor in `value`, depth first."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors(item)


def map_tensors(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """`value` with every tensor changed."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, list | tuple):
        return type(value)([map_tensors(item, change) for item in value])
    return value


def outputs(returned: Any, args: tuple[Any, ...], mutates: tuple[int, ...]) -> list[torch.Tensor]:
    """What a call computed: the tensors it returned, then the arguments it declares to write."""
    found = list(tensors(returned))
    for index in mutates:
        found += tensors(args[index])
    return found
