"""The child that holds what is timed: the package under test, or the baselines of `problem.py`.

It does as the judge asks and says what it did; it holds no expected output, no clock that counts and no verdict.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch

from . import machine as machines
from .arena import Arena
from .child import connect, import_file, serve
from .guards import Watch
from .machine import Args, Machine, Track
from .profiled import what_ran
from .sets import copied, refill, same_form, with_gaps
from .values import map_tensors, outputs, pack, tensors, unpack
from .variations import exchange_all
from .wire import Message

# Larger outputs are not sent twice to see whether they changed after the call.
SNAPSHOT_BYTES = 64 << 20
# Long enough for a thread or a stream that nobody waited for to be late; in GPU cycles about one millisecond.
LATE_S, SPIN_CYCLES = 0.01, 2_000_000
PROFILED_SETS = 8


class Subject:
    """The callables under test with their sets of arguments. Sets are shared by all tracks; each track keeps its results."""

    def __init__(self, inputs: Arena, out: Arena) -> None:
        self.inputs, self.out = inputs, out
        self.machine: Machine = machines.Cpu()
        self.tracks: dict[str, Track] = {}
        self.sets: list[Args] = []
        self.prepared: list[Args] = []
        self.setup: Callable[..., Any] | None = None
        self.package: ModuleType | None = None
        self.problem: ModuleType | None = None
        self.mutates: tuple[int, ...] = ()
        self.watch: Watch | None = None
        self.last: list[int] = []

    def start(self, device: str) -> Message:
        """Choose the machine and say what it is, before any of the agent's code is here."""
        self.machine = machines.Cuda() if device == "cuda" else machines.Cpu()
        torch.set_grad_enabled(False)
        self.watch = Watch()
        return {"torch": torch.__version__}

    def load_package(self, name: str, path: str, entry: str, mutates: list[int], setup_source: str) -> Message:
        """Import the built package and find its entry; `setup_source` is `problem.py` where that declares a `setup`."""
        self.package = import_file(name, f"{path}/__init__.py", [path])
        call = getattr(self.package, entry, None)
        if not callable(call):
            raise AttributeError(f"the package {name!r} has no function {entry!r}")
        self.mutates = tuple(mutates)
        self.tracks["candidate"] = Track(call)
        if setup_source:
            space: dict[str, Any] = {"__name__": "problem"}
            exec(compile(setup_source, "problem.py", "exec"), space)
            self.setup = space["setup"]
        return {}

    def load_baselines(self, path: str, names: list[str], mutates: list[int]) -> Message:
        """Make a track of each baseline: the reference as it is, compiled, or one that `problem.py` names."""
        self.problem = import_file("problem", path)
        self.mutates = tuple(mutates)
        named = getattr(self.problem, "baselines", None) or {}
        for name in names:
            if name == "eager":
                self.tracks[name] = Track(self.problem.reference)
            elif name == "compile":
                # Every shape is compiled for itself, as a benchmark of one shape would.
                for setting in ("recompile_limit", "cache_size_limit"):
                    if hasattr(torch._dynamo.config, setting):
                        setattr(torch._dynamo.config, setting, 512)
                self.tracks[name] = Track(torch.compile(self.problem.reference, dynamic=False))
            else:
                self.tracks[name] = Track(named[name])
        return {}

    def warm(self, name: str, shape: list[int], dtype: str) -> Message:
        """Call a baseline once on inputs of its own making, so that it compiles before anything is timed."""
        assert self.problem is not None
        device = self.machine.name
        generator = torch.Generator(device=device).manual_seed(0)
        self.tracks[name].call(*self.problem.inputs(tuple(shape), getattr(torch, dtype), device, generator))
        self.machine.synchronize()
        return {}

    def place(self, args: list[Any], count: int, exchanged: list[int] | None = None, strided: bool = False) -> Message:
        """Fill `count` sets with these arguments, into the same memory as before where they have the same form.

        `exchanged` gives each set a seed by which a few of its elements differ; `strided` makes the tensors views with gaps.
        """
        device = self.machine.name
        base = tuple(unpack(arg, self.inputs, device) for arg in args)
        if strided:
            base = tuple(map_tensors(arg, with_gaps) for arg in base)
        anew = len(self.sets) != count or strided or not all(same_form(base, old) for old in self.sets[:1])
        if anew:
            self.drop()
            self.sets = [base, *(copied(base) for _ in range(count - 1))]
        else:
            self.sets = refill(self.sets, [base] * count)
        if exchanged:
            exchange_all(self.sets, exchanged)
        stale = self._prepare()
        self.machine.synchronize()
        return {"bytes": sum(t.numel() * t.element_size() for t in tensors(base)), "recapture": stale or anew}

    def move(self, order: list[int]) -> Message:
        """Have the sets lie elsewhere in memory, in this order and else as they are.

        Graphs and results are lost, what was seen of them is not. Where memory does not suffice, nothing has changed.
        """
        moved = [copied(self.sets[index]) for index in order]
        prepared = moved if self.setup is None else self._set_up(moved)
        for track in self.tracks.values():
            track.settle()
            track.forget()
        self.sets, self.prepared, self.last = moved, prepared, []
        if self.machine.name == "cuda":
            torch.cuda.empty_cache()
        self.machine.synchronize()
        return {}

    def _prepare(self) -> bool:
        # A graph holds the pointers of what setup made, so new results go where the old ones lie, if they fit there.
        if self.setup is None:
            self.prepared = self.sets
            return False
        fresh = self._set_up(self.sets)
        fits = len(self.prepared) == len(fresh) and all(map(same_form, fresh, self.prepared))
        self.prepared = refill(self.prepared, fresh) if fits else fresh
        return not fits

    def _set_up(self, sets: list[Args]) -> list[Args]:
        assert self.setup is not None
        return [_as_tuple(self.setup(self.package, *args)) for args in sets]

    def drop(self) -> Message:
        """Forget sets, results and graphs, and give their memory back."""
        self.sets, self.prepared, self.last = [], [], []
        for track in self.tracks.values():
            track.forget()
            track.looks = track.left = 0
        if self.machine.name == "cuda":
            torch.cuda.empty_cache()
        return {}

    def call(self, unchanged: bool = True) -> Message:
        """Call the candidate once on the first set; its outputs right after the call and after a pause, and its arguments."""
        self.out.reset()
        args, track = self.prepared[0], self.tracks["candidate"]
        with self.machine.apart():
            machines.poison(self.last, self.machine.name)
            self._delay_inputs(args)
            found = outputs(track.call(*args), args, self.mutates)
            early = [t.clone() for t in found] if _bytes(found) <= SNAPSHOT_BYTES else []
        self.machine.synchronize()
        time.sleep(LATE_S)
        self.machine.synchronize()
        reply: Message = {
            "facts": [_facts(t) for t in found],
            "early": [self.out.put(t) for t in early],
            "outputs": [self.out.put(t) for t in found],
        }
        if unchanged and _bytes(list(tensors(self.sets[0]))) <= SNAPSHOT_BYTES:
            reply["args"] = [pack(arg, self.out) for arg in self.sets[0]]
        self.last = [t.numel() * t.element_size() for t in found]
        return reply

    def _delay_inputs(self, args: Args) -> None:
        # Work that does not wait for the current stream reads what the inputs were before they were written.
        if self.machine.name != "cuda":
            return
        held = [t for t in tensors(args) if t.is_floating_point()]
        real = [t.clone() for t in held]
        for t in held:
            t.fill_(float("nan"))
        torch.cuda._sleep(SPIN_CYCLES)  # type: ignore[no-untyped-call]
        for t, value in zip(held, real, strict=True):
            t.copy_(value)

    def repeat(self, count: int) -> Message:
        """A track that calls the candidate `count` times on one set, beside the track that calls it on all sets."""
        self.tracks["again"] = Track(self.tracks["candidate"].call, again=count)
        return {}

    def capture(self, name: str) -> Message:
        """Make ready to be timed; `why_not` says why there is no graph."""
        return {"why_not": self.machine.capture(self.tracks[name], self.prepared)}

    def blank(self, name: str) -> Message:
        """Overwrite every result of a track, so that only what is computed from now on can be right."""
        track = self.tracks[name]
        track.settle()
        if track.graph is None:
            track.returned = [None] * len(self.prepared)
            return {}
        arguments = {t.untyped_storage().data_ptr() for t in tensors(self.prepared)}
        for t in tensors(track.returned):
            if t.untyped_storage().data_ptr() not in arguments:
                machines.poison_tensor(t)
        self.machine.synchronize()
        return {}

    def rounds(self, name: str, count: int) -> Message:
        """Call all sets `count` times, waited for."""
        reply: Message = self.machine.rounds(self.tracks[name], self.prepared, count)
        return reply

    def digest(self, name: str, digest: int, sets: list[int]) -> Message:
        """Sums over the bits of every result of these sets; `digest` is where the sparse one begins."""
        self.tracks[name].settle()
        returned = self.tracks[name].returned
        return {"digests": machines.digests([outputs(returned[i], self.prepared[i], self.mutates) for i in sets], digest)}

    def witnessed(self, name: str) -> Message:
        """How many rounds were looked at since the sets were made, and at how many places nothing had been written in one."""
        track = self.tracks[name]
        track.settle()
        return {"looks": track.looks, "left": track.left}

    def fetch(self, name: str, sets: list[int]) -> Message:
        """The results of these sets, through the arena."""
        self.out.reset()
        self.tracks[name].settle()
        found = [outputs(self.tracks[name].returned[i], self.prepared[i], self.mutates) for i in sets]
        return {"outputs": [[self.out.put(t) for t in of_set] for of_set in found]}

    def eager(self, name: str, count: int) -> Message:
        """Single calls on the first set, each waited for."""
        self.machine.eager(self.tracks[name], self.prepared[0], count)
        return {}

    def profile(self, name: str) -> Message:
        """What runs during one call of each of the first sets, and in the graph of all; see `what_ran`."""
        sets, track, machine = self.prepared[:PROFILED_SETS], self.tracks[name], self.machine

        def run() -> None:
            for args in sets:
                track.call(*args)

        replay = None
        if isinstance(machine, machines.Cuda) and track.graph is not None:
            replay = functools.partial(machine.replay_marked, track)
        found = what_ran(run, machine.name == "cuda", replay)
        return {**found, "calls": len(sets), "replayed_calls": len(self.prepared)}

    def changes(self) -> Message:
        """What the agent's code changed in this process beside its own."""
        return {"changes": self.watch.changes() if self.watch else []}


def _as_tuple(value: Any) -> Args:
    return value if isinstance(value, tuple) else (value,)


def _bytes(found: list[torch.Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in found)


def _facts(t: torch.Tensor) -> dict[str, Any]:
    return {
        # A class of the candidate's may well be called Tensor, too.
        "type": "Tensor" if type(t) is torch.Tensor else f"subclass {type(t).__name__}",
        "device": t.device.type,
        "dtype": str(t.dtype).removeprefix("torch."),
        "shape": list(t.shape),
        "layout": str(t.layout).removeprefix("torch."),
        "grad": t.requires_grad,
        "empty_storage": t.numel() > 0 and t.layout == torch.strided and t.data_ptr() == 0,
    }


def main(arguments: list[str]) -> int:
    """Serve the judge over the descriptors that ``arguments[0]`` names."""
    wire, (inputs, out) = connect(arguments[0])
    subject = Subject(inputs, out)
    # What the judge may ask for; all else is out of its reach.
    names = (
        "start load_package load_baselines warm place move drop call repeat capture blank rounds digest fetch witnessed",
        "eager profile changes",
    )
    return serve(wire, {name: getattr(subject, name) for name in " ".join(names).split()})
