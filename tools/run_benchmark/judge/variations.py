"""How inputs are varied by a seed, alike in every process: distributions, a disturbed argument, a few exchanged elements."""

from __future__ import annotations

from typing import Any

import torch

from .values import map_tensors, tensors

DISTRIBUTIONS = ("normal", "large_mean", "heavy_tail", "tiny")
EXCHANGED = 64
INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def distribute(args: tuple[Any, ...], kind: str, seed: int) -> tuple[Any, ...]:
    """`args` with its main floating-point tensors redrawn after `kind`; the others, such as weights and tables, stay."""
    if kind == "normal":
        return args
    largest = max((t.numel() for t in tensors(args) if t.is_floating_point()), default=0)

    def change(t: torch.Tensor) -> torch.Tensor:
        if not t.is_floating_point() or t.numel() * 2 < largest or t.numel() < 2:
            return t
        spread = t.float().std()
        if not bool(torch.isfinite(spread)) or float(spread) == 0.0:
            return t
        if kind == "large_mean":
            return t + (8 * spread).to(t.dtype)
        if kind == "tiny":
            return t * 1e-3
        noise = torch.randn(t.shape, generator=torch.Generator().manual_seed(seed)).to(t.device)
        return (t.float() * torch.exp(noise)).to(t.dtype)

    return tuple(map_tensors(arg, change) for arg in args)


def disturb(args: tuple[Any, ...], index: int, seed: int) -> tuple[Any, ...] | None:
    """`args` with argument `index` replaced by another of its kind; None where there is no other."""
    arg = args[index]
    generator = torch.Generator().manual_seed(seed)

    def change(t: torch.Tensor) -> torch.Tensor:
        if t.is_floating_point():
            noise = torch.rand(t.shape, generator=generator).to(t.device)
            return (t.float() * (0.5 + noise)).to(t.dtype)
        # Indices and masks have ranges nobody told: their own values in another order stay within them.
        return t.flatten().roll(1).view(t.shape)

    if isinstance(arg, float) and not isinstance(arg, bool):
        changed: Any = arg * 1.5
    elif any(True for _ in tensors(arg)):
        changed = map_tensors(arg, change)
    else:
        return None
    return (*args[:index], changed, *args[index + 1 :])


def exchange(args: Any, seed: int) -> None:
    """Overwrite a few elements of every floating-point tensor, in place, by others of the same tensor.

    Every set of arguments that is timed differs from the others in places nobody can foresee, so an answer that was kept
    from an earlier call is wrong, and nothing cheaper than reading all of the data tells where. With an odd seed the main
    tensors are also shifted as a whole, so that mending an earlier answer where few elements changed is no way either.
    """
    generator = torch.Generator().manual_seed(seed)
    largest = max((t.numel() for t in tensors(args) if t.is_floating_point()), default=0)
    for t in tensors(args):
        if not t.is_floating_point() or t.numel() < 2:
            continue
        where = torch.unique(torch.randint(t.numel(), (EXCHANGED,), generator=generator))
        source = torch.randint(t.numel(), where.shape, generator=generator)
        # As integers, because not every operator knows every small floating-point type.
        flat = t.as_strided((t.numel(),), (1,)).view(INTEGERS[t.element_size()])
        # Weights and tables keep the places that the operation may rely on.
        if seed % 2 and t.numel() * 2 >= largest:
            flat.copy_(flat.roll(int(torch.randint(1, t.numel(), (), generator=generator))))
        flat[where.to(t.device)] = flat[source.to(t.device)].clone()
