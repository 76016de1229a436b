"""What shows that every timed call was made: places in its results that must have been written again.

Between two rounds a few places of each result, drawn anew and told to nobody, are overwritten with a pattern of bits that no
computation gives; after the next round it must be gone. A call that was left out, or that returned what the caller holds
already, leaves it there, however right the old result was. In a graph this happens at the end of every replay, so no replay
looks unlike another from within; without a graph, in one round of each batch.

Nothing is looked at in results that share memory with an argument or with another set's result, nor in those of one byte an
element, where any pattern may be right: the passes over new data answer for these.
"""

from __future__ import annotations

import bisect
import itertools
import random
from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from torch.multiprocessing.reductions import StorageWeakRef

from .memory import INTEGERS, around, memory

# Places in each result and at least in all; without a graph, sets that one look takes in.
EACH, FEWEST, LOOKED = 4, 1024, 16
# Of integers these are large numbers, of every floating-point type NaNs but those that a computation gives.
PATTERNS = {2: (0x7F81, 0x7FBF), 4: (0x7F800001, 0x7FBFFFFF), 8: (0x7FF0_0000_0000_0001, 0x7FF7_FFFF_FFFF_FFFF)}

_draw = random.SystemRandom()
draw = _draw.randrange

Result = Sequence[torch.Tensor]


class Ranges:
    """Memory that some tensors occupy."""

    def __init__(self, tensors: Iterable[torch.Tensor]) -> None:
        spans = sorted((t.data_ptr(), t.data_ptr() + _extent(t)) for t in tensors)
        self.starts = [start for start, _ in spans]
        # Of each and all that begin before it.
        self.ends = list(itertools.accumulate((end for _, end in spans), max))

    def hold(self, address: int) -> bool:
        """Whether it lies in that memory."""
        before = bisect.bisect_right(self.starts, address)
        return before > 0 and address < self.ends[before - 1]


def _extent(t: torch.Tensor) -> int:
    reach = sum((size - 1) * stride for size, stride in zip(t.shape, t.stride(), strict=True))
    return (reach + 1) * t.element_size() if t.numel() else 0


def telling(results: Sequence[Result], arguments: Ranges) -> list[list[torch.Tensor]]:
    """Of each set's result the tensors that only a call on that set can have written."""
    times = _times(results)
    return [
        [t for t in result if times[t.data_ptr()] == 1 and _tells(t) and not arguments.hold(t.data_ptr())] for result in results
    ]


def _times(results: Sequence[Result]) -> Counter[int]:
    """For how many sets an address was returned."""
    return Counter(address for result in results for address in {t.data_ptr() for t in result})


def _tells(t: torch.Tensor) -> bool:
    plain = t.layout == torch.strided and t.element_size() in PATTERNS and t.data_ptr() % t.element_size() == 0
    return plain and t.numel() > 0 and (t.is_contiguous() or _dense(t))


def _dense(t: torch.Tensor) -> bool:
    return t.permute(sorted(range(t.dim()), key=t.stride, reverse=True)).is_contiguous()


class Room:
    """Memory for what a witness notes, of before the capture: the memory pool of a graph gives out again what calls in it have
    freed, and every replay of these calls would write over the notes."""

    # A place takes an index, two numbers and two truth values; what is taken begins at a multiple of 16 bytes.
    PLACE, ALIGN = 8 + 2 * 8 + 2, 16

    def __init__(self, results: int, device: str) -> None:
        """For as many places as a witness of so many results has at most."""
        self.results = results
        most = EACH * results + len(PATTERNS) * (FEWEST + results)
        self.memory = torch.zeros(self.PLACE * most + 5 * len(PATTERNS) * self.ALIGN, dtype=torch.uint8, device=device)
        self.taken = 0

    def take(self, count: int, dtype: torch.dtype) -> torch.Tensor:
        """Room for so many."""
        start = -(-self.taken // self.ALIGN) * self.ALIGN
        self.taken = start + count * torch.empty((), dtype=dtype).element_size()
        return self.memory[start : self.taken].view(dtype)


class Places:
    """Places in tensors of one width that are looked at and overwritten by the same few kernels, `each` of them in each tensor.

    `step` is what a graph does at the end of every replay; the rest happens between two batches.
    """

    def __init__(self, width: int, within: Sequence[torch.Tensor], each: int, room: Room) -> None:
        self.width = width
        self.memory, firsts = around(within)
        self.firsts = [first for first in firsts for _ in range(each)]
        self.sizes = [t.numel() for t in within for _ in range(each)]
        count = len(self.firsts)
        self.where = room.take(count, torch.int64)
        self.values, self.pattern = (room.take(count, INTEGERS[width]) for _ in range(2))
        self.same, self.left = (room.take(count, torch.bool) for _ in range(2))
        self.bounds: tuple[torch.Tensor, ...] = ()

    def step(self) -> None:
        """Note where the pattern is still there, and overwrite the places again."""
        torch.gather(self.memory, 0, self.where, out=self.values)
        torch.eq(self.values, self.pattern, out=self.same)
        torch.logical_or(self.left, self.same, out=self.left)
        self.memory.scatter_(0, self.where, self.pattern)

    def aim(self, generator: torch.Generator) -> None:
        """Draw other places and another pattern and overwrite the places; what was there is kept."""
        device = self.where.device
        if not self.bounds:
            self.bounds = (torch.tensor(self.firsts, device=device), torch.tensor(self.sizes, device=device))
        firsts, sizes = self.bounds
        drawn = torch.rand(len(self.firsts), dtype=torch.float64, device=device, generator=generator)
        self.where.copy_(firsts + torch.minimum((drawn * sizes).long(), sizes - 1))
        self.pattern.fill_(_draw.randint(*PATTERNS[self.width]))
        torch.gather(self.memory, 0, self.where, out=self.values)
        self.memory.scatter_(0, self.where, self.pattern)
        self.left.zero_()

    def settle(self) -> int:
        """Put back what the last call wrote; at how many places a call since `aim` had written nothing."""
        left = int(self.left.sum())
        self.memory.scatter_(0, self.where, self.values)
        self.left.zero_()
        return left


class Witness:
    """Looks at every replay of a graph. Made while the graph is captured, after the calls; `aim` comes before any replay.

    `room` is for as many results as were expected; where there are more, the last ones are not looked at.
    """

    def __init__(self, returned: Sequence[Result], arguments: Ranges, room: Room) -> None:
        found: dict[int, list[torch.Tensor]] = {}
        telling_most = itertools.islice((t for result in telling(returned, arguments) for t in result), room.results)
        for t in telling_most:
            found.setdefault(t.element_size(), []).append(t)
        self.places = [Places(width, within, max(EACH, -(-FEWEST // len(within))), room) for width, within in found.items()]
        self.generator: torch.Generator | None = None
        # Whether new places were drawn since the last replay, and whether the pattern lies in the results.
        self.aimed = self.open = False

    def step(self) -> None:
        """To be captured behind the calls."""
        for places in self.places:
            places.step()

    def aim(self) -> None:
        """Draw places for the replays to come; the results must have been settled."""
        for places in self.places:
            device = places.where.device
            self.generator = self.generator or torch.Generator(device=device).manual_seed(_draw.getrandbits(62))
            places.aim(self.generator)
        self.aimed = self.open = True

    def replayed(self) -> None:
        """To be told after replays."""
        self.aimed, self.open = False, True

    def settle(self) -> int:
        """Leave the results as the calls wrote them, for somebody to read; at how many places nothing had been written."""
        left = sum(places.settle() for places in self.places) if self.open else 0
        self.aimed = self.open = False
        return left


def _weak(t: torch.Tensor) -> StorageWeakRef:
    return StorageWeakRef(t.untyped_storage())  # type: ignore[no-untyped-call]


class Look:
    """One look at one of some rounds without a graph, at a few sets.

    What it knows of earlier results keeps none of them alive, so the allocator gives out what it would have given out. One
    that somebody else keeps alive, to return it once more, is overwritten as well.
    """

    def __init__(self, sets: int, arguments: Ranges) -> None:
        self.arguments = arguments
        self.chosen = _draw.sample(range(sets), min(LOOKED, sets))
        self.earlier: dict[int, tuple[StorageWeakRef, int, int]] = {}
        self.poked: dict[int, list[int]] = {}
        self.pattern = {width: _draw.randint(*bounds) for width, bounds in PATTERNS.items()}

    def remember(self, returned: Sequence[Result]) -> None:
        """To be told of the results of every round before the one that is looked at."""
        for t in (t for index in self.chosen for t in returned[index] if _tells(t)):
            self.earlier[t.data_ptr()] = (_weak(t), t.numel(), t.element_size())

    def poke(self, returned: Sequence[Result]) -> None:
        """Just before the round: overwrite what the calls returned last, and what of earlier results is still there."""
        shared = {address for address, times in _times(returned).items() if times > 1}
        alive: dict[int, list[int]] = {}
        held = []
        for address, (weak, numel, width) in self.earlier.items():
            storage = torch.UntypedStorage._new_with_weak_ptr(weak.cdata)
            if storage is None or address in shared or self.arguments.hold(address):
                continue
            held.append(storage)
            drawn = _draw.getrandbits(64 * EACH)
            self.poked[address] = [address + width * ((drawn >> 64 * number) % (1 << 64) % numel) for number in range(EACH)]
            alive.setdefault(width, []).extend(self.poked[address])
        for width, places in alive.items():
            whole, where = _at(places, width, held[0].device)
            whole[where] = self.pattern[width]

    def left(self, returned: Sequence[Result]) -> int:
        """Just after it: at how many places results lie where earlier ones lay and were not written in this round."""
        found: dict[int, list[int]] = {}
        device = torch.device("cpu")
        for t in (t for index in self.chosen for t in returned[index] if t.data_ptr() in self.poked and _tells(t)):
            end, device = t.data_ptr() + t.numel() * t.element_size(), t.device
            found.setdefault(t.element_size(), []).extend(p for p in self.poked[t.data_ptr()] if p < end)
        total = 0
        for width, places in found.items():
            # A result may be too short to reach any place of the one that lay there before.
            if not places:
                continue
            whole, where = _at(places, width, device)
            total += int((whole[where] == self.pattern[width]).sum())
        return total


def _at(places: list[int], width: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """The memory that some addresses lie in, and their indices in it."""
    start = min(places)
    where = torch.tensor([(place - start) // width for place in places])
    return memory(start, max(places) + width - start, width, device), where.to(device)
