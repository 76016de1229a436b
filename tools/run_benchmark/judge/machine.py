"""What a subject's calls run on: the host's processors, or a GPU through graphs. A `Track` is one callable with its outputs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from .values import tensors
from .witness import Look, Ranges, Room, Witness, draw

# Taken before any of the agent's code is imported: a package that replaces them later replaces them for itself.
_synchronize = torch.cuda.synchronize
_Event, _Stream, _Graph, _capture, _on_stream = (
    torch.cuda.Event,
    torch.cuda.Stream,
    torch.cuda.CUDAGraph,
    torch.cuda.graph,
    torch.cuda.stream,
)
_replay = torch.cuda.CUDAGraph.replay
_record, _elapsed_time = torch.cuda.Event.record, torch.cuda.Event.elapsed_time
_current_stream = torch.cuda.current_stream
_spin = torch.cuda._sleep

# About two milliseconds, in which the first launch of a graph reaches the GPU.
LEAD_CYCLES = 4_000_000
MARK_CYCLES = 20_000

Args = tuple[Any, ...]
# Of the sparse digest: no power of two, so that it meets every column.
STRIDE = 61


@dataclass
class Track:
    """A callable, what it returned for each set of arguments, and on a GPU the graph that calls it for all of them.

    With `again` it is called that many times on the first set alone and what it returns is dropped, so that the next call finds
    the same memory warm.
    """

    call: Callable[..., Any]
    again: int = 0
    returned: list[Any] = field(default_factory=list)
    graph: Any = None
    counter: torch.Tensor | None = None
    arguments: Ranges = field(default_factory=lambda: Ranges(()))
    witness: Witness | None = None
    # Rounds that were looked at, and results that were found not to have been written in them.
    looks: int = 0
    left: int = 0

    def results(self) -> list[list[torch.Tensor]]:
        """The tensors that it returned for each set."""
        return [list(tensors(returned)) for returned in self.returned]

    def settle(self) -> None:
        """Have what the graph wrote be as it was written; see `Witness`."""
        if self.witness is not None:
            self.left += self.witness.settle()

    def forget(self) -> None:
        """Give up results and graph."""
        self.graph, self.returned, self.counter, self.witness = None, [], None, None


def call_all(track: Track, sets: Sequence[Args]) -> None:
    """One call for each set in order, each set's result kept, or `track.again` calls on the first set."""
    call, returned = track.call, track.returned
    for index, args in enumerate([] if track.again else sets):
        returned[index] = call(*args)
    for _ in range(track.again):
        # Bound to no name: the next call may write where this one did.
        call(*sets[0])


def call_rounds(track: Track, sets: Sequence[Args], count: int) -> None:
    """Call all sets `count` times, and look at one of these rounds."""
    turn = draw(count) if count and not track.again else -1
    look = Look(len(sets), track.arguments)
    for number in range(count):
        if number <= turn:
            look.remember(track.results())
        if number == turn:
            look.poke(track.results())
        call_all(track, sets)
        if number == turn:
            track.left += look.left(track.results())
            track.looks += 1


class Cpu:
    """Calls on the host's processors, one after the other."""

    name = "cpu"

    def synchronize(self) -> None:
        """Nothing is ever pending."""

    def apart(self) -> contextlib.AbstractContextManager[None]:
        """There is nothing but the calling thread."""
        return contextlib.nullcontext()

    def capture(self, track: Track, sets: Sequence[Args]) -> str:
        """Call every set once, so that nothing lazy is left; there are no graphs."""
        track.returned, track.arguments = [None] * len(sets), Ranges(tensors(sets))
        self.rounds(track, sets, 1)
        return ""

    def rounds(self, track: Track, sets: Sequence[Args], count: int) -> dict[str, Any]:
        """Call all sets in order, `count` times; each set's last result is kept."""
        call_rounds(track, sets, count)
        return {"rounds": count}

    def eager(self, track: Track, args: Args, count: int) -> None:
        """`count` single calls, each waited for."""
        for _ in range(count):
            track.call(*args)


class Cuda:
    """Calls on one GPU, captured into a graph and replayed; `index` is torch's number of it."""

    name = "cuda"

    def __init__(self) -> None:
        torch.cuda.init()  # type: ignore[no-untyped-call]
        self.side = _Stream()  # type: ignore[no-untyped-call]

    def synchronize(self) -> None:
        """Wait for the whole device, every stream of it."""
        _synchronize()

    @contextlib.contextmanager
    def apart(self) -> Iterator[None]:
        """On a stream that is no default one, so that work on any other stream than the current one does not wait for it."""
        self.side.wait_stream(_current_stream())
        with _on_stream(self.side):
            yield

    def capture(self, track: Track, sets: Sequence[Args]) -> str:
        """Capture one call for each set and a count at the end; returns why not, and then calls are timed one by one."""
        track.settle()
        track.forget()
        track.arguments = Ranges(tensors(sets))
        with self.apart():
            for args in sets[:3]:
                track.returned = [track.call(*args)]
        _synchronize()
        room = Room(len(sets) * sum(map(len, track.results())), "cuda")
        counter = torch.zeros((), dtype=torch.int64, device="cuda")
        graph = _Graph()
        track.returned = [None] * len(sets)
        try:
            with _capture(graph):
                call_all(track, sets)
                counter.add_(1)
                witness = Witness(track.results(), track.arguments, room)
                witness.step()
        except Exception as error:
            _synchronize()
            track.returned = [None] * len(sets)
            call_all(track, sets)
            _synchronize()
            return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:300]
        track.graph, track.counter, track.witness = graph, counter, witness
        witness.aim()
        _replay(graph)
        witness.replayed()
        _synchronize()
        track.settle()
        return ""

    def rounds(self, track: Track, sets: Sequence[Args], count: int) -> dict[str, Any]:
        """Replay the graph `count` times, or call all sets in order where there is none; waited for.

        Replays queue up behind a kernel that only spins, so that what the first one costs beside its work is hidden. No
        replays take as long as the spinning, which is what their time must be compared with. Without any, the next ones are
        given other places to be looked at.
        """
        if track.witness is not None and not count and not track.witness.aimed:
            track.settle()
            track.witness.aim()
        start, end = (_Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        before = int(track.counter) if track.graph is not None and track.counter is not None else 0
        if track.graph is not None:
            _spin(LEAD_CYCLES)  # type: ignore[no-untyped-call]
        _record(start)
        if track.graph is not None:
            for _ in range(count):
                _replay(track.graph)
        else:
            call_rounds(track, sets, count)
        _record(end)
        _synchronize()
        if track.witness is not None and count:
            track.witness.replayed()
            track.looks += count
        done = int(track.counter) - before if track.graph is not None and track.counter is not None else count
        return {"rounds": done, "event_ms": float(_elapsed_time(start, end))}

    def eager(self, track: Track, args: Args, count: int) -> None:
        """`count` single calls, each waited for."""
        for _ in range(count):
            track.call(*args)
            _synchronize()

    def replay_marked(self, track: Track) -> None:
        """One replay behind a kernel that only spins, by which the profiler's list can be parted."""
        _spin(MARK_CYCLES)  # type: ignore[no-untyped-call]
        _replay(track.graph)
        if track.witness is not None:
            track.witness.replayed()


Machine = Cpu | Cuda


def digests(results: Sequence[Sequence[torch.Tensor]], offset: int) -> list[list[int]]:
    """For each result two sums over the bits of each of its outputs: of all, and of every 61st from `offset` on."""
    sums = [part(as_integers(t), offset) for found in results for t in found for part in (_all, _sparse)]
    flat = torch.stack(sums).tolist() if sums else []
    answer = []
    for found in results:
        answer.append(flat[: 2 * len(found)])
        flat = flat[2 * len(found) :]
    return answer


def _all(bits: torch.Tensor, offset: int) -> torch.Tensor:
    return bits.sum(dtype=torch.int64)


def _sparse(bits: torch.Tensor, offset: int) -> torch.Tensor:
    return bits[offset % STRIDE :: STRIDE].sum(dtype=torch.int64)


def as_integers(tensor: torch.Tensor) -> torch.Tensor:
    """The bits of a tensor as a flat one of the widest integers that divide it, which are the quickest to sum."""
    octets = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    size = octets.numel()
    return octets.view(torch.int64) if size % 8 == 0 else octets.view(torch.int16) if size % 2 == 0 else octets


def poison(sizes: Sequence[int], device: str) -> None:
    """Fill freed memory of the outputs' sizes with NaN, so that memory nobody wrote does not look like an answer."""
    blocks = [torch.empty(size, dtype=torch.uint8, device=device) for size in sizes for _ in range(2)]
    for block in blocks:
        block.fill_(0xFF)


def poison_tensor(tensor: torch.Tensor) -> None:
    """Overwrite a tensor with NaN, or with ones in every bit where it holds no floating-point numbers."""
    if tensor.is_floating_point():
        tensor.fill_(float("nan"))
    elif tensor.is_contiguous():
        tensor.view(-1).view(torch.uint8).fill_(255)
