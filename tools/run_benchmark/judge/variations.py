"""How inputs are varied by a seed, alike in every process: distributions, a disturbed argument, a few exchanged elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .memory import INTEGERS, around
from .values import map_tensors, tensors

DISTRIBUTIONS = ("normal", "large_mean", "heavy_tail", "tiny")
EXCHANGED = 64
_ODD = 0x1E3779B97F4A7C15


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
    exchange_all([args], [seed])


def exchange_all(sets: Sequence[Any], seeds: Sequence[int]) -> None:
    """`exchange` for many sets of one form, each by its own seed, a tensor of all of them at a time."""
    largest = max((t.numel() for t in tensors(sets[0]) if t.is_floating_point()), default=0)
    for number, alike in enumerate(zip(*(list(tensors(args)) for args in sets), strict=True)):
        numel = alike[0].numel()
        if not alike[0].is_floating_point() or numel < 2:
            continue
        where, source, shifts = _drawn(seeds, number, numel)
        # Weights and tables keep the places that the operation may rely on.
        for t, seed, shift in zip(alike, seeds, shifts, strict=True):
            if seed % 2 and numel * 2 >= largest:
                # As integers, because not every operator knows every small floating-point type.
                flat = t.as_strided((numel,), (1,)).view(INTEGERS[t.element_size()])
                flat.copy_(flat.roll(shift))
        whole, firsts = around(alike)
        base = torch.tensor(firsts).unsqueeze(1)
        taken, written = ((base + places).flatten().to(whole.device) for places in (source, where))
        whole.scatter_(0, written, torch.gather(whole, 0, taken))


def _drawn(seeds: Sequence[int], number: int, numel: int) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    """For each seed places to write, no two alike, places to read, and a shift, for tensor `number` of `numel` elements."""
    count = min(EXCHANGED, numel)
    draws = _scrambled(torch.tensor(seeds).unsqueeze(1) * _ODD + torch.arange(2 * count + 1) + (number << 20))
    # One in each part of the tensor.
    bounds = torch.arange(count + 1) * numel // count
    where = bounds[:-1] + draws[:, :count] % (bounds[1:] - bounds[:-1])
    shifts = 1 + draws[:, -1] % (numel - 1)
    return where, draws[:, count : 2 * count] % numel, shifts.tolist()


def _scrambled(x: torch.Tensor) -> torch.Tensor:
    """Numbers that look drawn, from 0 to 2**62, the same for the same integers everywhere."""
    for shift, factor in ((31, _ODD), (29, 0x3F58476D1CE4E5B9), (32, 0x14D049BB133111EB)):
        x = (x ^ ((x >> shift) & ((1 << (64 - shift)) - 1))) * factor
    return (x ^ ((x >> 32) & 0xFFFFFFFF)) & ((1 << 62) - 1)
