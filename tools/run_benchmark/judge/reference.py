"""The reference child: runs `problem.py` to make inputs and expected outputs from the judge's seeds.

It never sees the candidate, and the candidate never sees it or what it writes into the arena of expected outputs.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch

from .arena import Arena
from .child import attribute, connect, import_file, serve
from .values import map_tensors, outputs, pack, tensors
from .variations import distribute, disturb, exchange
from .wire import Message

# What it means that torch or a vendor's library does a third of the work or more: it is suspicious, rejected, or only told.
FALLBACKS = ("flag", "reject", "report")
NARROW = (torch.bfloat16, torch.float16)


class Reference:
    """One `problem.py`, loaded."""

    def __init__(self, inputs: Arena, expected: Arena) -> None:
        self.inputs, self.expected = inputs, expected
        self.problem: ModuleType | None = None
        self.device = "cpu"
        self.base: tuple[Any, ...] = ()

    def load(self, path: str, device: str) -> Message:
        """Import `problem.py` and say what it declares."""
        self.device = device
        self.problem = problem = import_file("problem", path)
        for name in ("inputs", "reference"):
            if not callable(getattr(problem, name, None)):
                raise AttributeError(f"problem.py has no function {name!r}")
        shapes = attribute(problem, "shapes", (list, tuple))
        dtypes = attribute(problem, "dtypes", (list, tuple))
        mutates = attribute(problem, "mutates", (list, tuple), ()) or ()
        self.mutates = tuple(int(i) for i in mutates)
        own_shapes = attribute(problem, f"{device}_shapes", (list, tuple))
        tolerance = attribute(problem, "tolerance", dict, {}) or {}
        fallback = attribute(problem, "fallback", str, FALLBACKS[0])
        if fallback not in FALLBACKS:
            raise ValueError(f"fallback must be one of {', '.join(FALLBACKS)}, not {fallback!r}")
        return {
            "entry": attribute(problem, "entry", str),
            "shapes": [[int(n) for n in shape] for shape in shapes or []],
            "device_shapes": [[int(n) for n in shape] for shape in own_shapes or []],
            "dtypes": [str(d).removeprefix("torch.") for d in dtypes or []],
            "mutates": list(self.mutates),
            "setup": callable(getattr(problem, "setup", None)),
            "baselines": list((attribute(problem, "baselines", dict, {}) or {}).keys()),
            "tolerance": {str(k).removeprefix("torch."): float(v) for k, v in tolerance.items()},
            "fallback": fallback,
            "noncontiguous": bool(getattr(problem, "noncontiguous", False)),
        }

    def make(
        self,
        shape: list[int],
        dtype: str,
        seed: int,
        distribution: str = "normal",
        disturbed: int | None = None,
        answers: bool = True,
    ) -> Message:
        """Draw inputs into their arena, and with `answers` expected outputs in float64 and in the inputs' own dtype."""
        assert self.problem is not None
        self.inputs.reset()
        generator = torch.Generator(device=self.device).manual_seed(seed)
        args = self.problem.inputs(tuple(shape), getattr(torch, dtype), self.device, generator)
        if not isinstance(args, tuple):
            raise TypeError(f"inputs() must return a tuple of arguments, not {type(args).__name__}")
        args = distribute(args, distribution, seed)
        if disturbed is not None:
            changed = disturb(args, disturbed, seed)
            if changed is None:
                return {"skipped": True}
            args = changed
        self.base = args
        packed = [pack(arg, self.inputs) for arg in args]
        floats = [i for i, arg in enumerate(args) if isinstance(arg, float) or any(t.numel() for t in tensors(arg))]
        reply: Message = {"args": packed, "perturbable": floats}
        if answers:
            reply |= self.answer()
        cost = getattr(self.problem, "cost", None)
        if callable(cost):
            moved, operations = cost(tuple(shape), getattr(torch, dtype))
            reply["cost"] = [float(moved), float(operations)]
        return reply

    def answer(self, exchanged: int | None = None) -> Message:
        """Expected outputs for the inputs drawn last, or for those after `exchange` with the given seed."""
        self.expected.reset()
        args = tuple(map_tensors(arg, lambda t: t.clone()) for arg in self.base)
        if exchanged is not None:
            exchange(args, exchanged)
        wide = tuple(map_tensors(arg, lambda t: t.double() if t.is_floating_point() else t.clone()) for arg in args)
        native = self._run(args)
        exact = self._run(wide)
        if [tuple(t.shape) for t in native] != [tuple(t.shape) for t in exact]:
            raise ValueError("reference() returns other shapes in float64 than in the dtype of the inputs")
        kept = []
        for own, wide_one in zip(native, exact, strict=True):
            # A float32 holds what a half type is compared with; anything wider is compared in float64.
            target = torch.float32 if own.dtype in NARROW else torch.float64
            stored = wide_one.to(target) if own.dtype.is_floating_point else wide_one.to(own.dtype)
            kept.append({"exact": self.expected.put(stored), "native": self.expected.put(own)})
        return {"expected": kept}

    def _run(self, args: tuple[Any, ...]) -> list[torch.Tensor]:
        assert self.problem is not None
        with torch.no_grad():
            returned = self.problem.reference(*args)
        if returned is not None and not isinstance(returned, torch.Tensor | tuple | list):
            raise TypeError(f"reference() must return a tensor or a tuple of tensors, not {type(returned).__name__}")
        found = outputs(returned, args, self.mutates)
        if not found:
            raise TypeError("reference() returned no tensor")
        return found


def main(arguments: list[str]) -> int:
    """Serve the judge over the descriptors that ``arguments[0]`` names."""
    wire, (inputs, expected) = connect(arguments[0])
    child = Reference(inputs, expected)
    return serve(wire, {"load": child.load, "make": child.make, "answer": child.answer})
