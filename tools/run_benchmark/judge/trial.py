"""One trial: the request, the children, the problem they agreed on, and what was found so far."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .arena import Arena
from .children import Child, ChildFailedError, ChildRaisedError
from .findings import Findings

# Seconds that a child may take to start and import torch, to make inputs and answers, to answer one call or batch.
START_S, MAKE_S, CALL_S = 90.0, 90.0, 30.0


class RefusedError(Exception):
    """The request cannot be carried out as asked; becomes an error, not a verdict."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.code, self.message, self.hint = code, message, hint


@dataclass(frozen=True)
class Config:
    """One shape and dtype that is checked and timed."""

    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        return f"{'x'.join(map(str, self.shape))} {self.dtype}"


@dataclass
class Row:
    """What is known of one config."""

    config: Config
    errors: list[float] = field(default_factory=list)
    tolerance: float | None = None
    correct: bool = True
    times: dict[str, Any] = field(default_factory=dict)


def emit(event: str, **data: Any) -> None:
    """One line for the worker."""
    sys.stdout.write(json.dumps({"event": event, **data}) + "\n")
    sys.stdout.flush()


class Trial:
    """Everything one job works with. Children are started at once, so that they import torch side by side."""

    def __init__(
        self,
        request: dict[str, Any],
        reference: Child | None = None,
        candidate: Child | None = None,
        arenas: Sequence[Arena] = (),
    ) -> None:
        """Start what `request` asks for. Children that run already come with their `arenas`: inputs, expected, results."""
        self.began = time.monotonic()
        self.request = request
        self.device: str = request["device"]
        self.seed: int = request["seed"]
        self.random = random.Random(self.seed)
        self.findings = Findings()
        self.rows: list[Row] = []
        self.profiled: list[Row] = []
        self.cases: list[dict[str, Any]] = []
        self.method: dict[str, Any] = {}
        self.absent: dict[str, str] = {}
        self.problem: dict[str, Any] = {}
        self.inputs, self.expected, self.results = arenas or [Arena.create(n) for n in ("inputs", "expected", "results")]
        commands = request["commands"]
        shared = self.inputs.read_only()
        self.reference = reference or Child("reference", commands["reference"], [self.inputs, self.expected])
        self.candidate = candidate or Child("candidate", commands["candidate"], [shared, self.results])
        named = set(request["baselines"])
        self.baselines = self._baselines("baselines", shared) if named - {"compile"} else None
        self.compiler = self._baselines("compile", shared) if "compile" in named else None
        # They compile ahead into the cache that the compiler reads, and are gone before anything is timed.
        self.helpers = [self._baselines("compile", shared) for _ in range(request["compile_helpers"] if self.compiler else 0)]

    def _baselines(self, role: str, shared: Arena) -> Child:
        return Child(role, self.request["commands"][role], [shared, Arena.create(role)])

    def new_seed(self) -> int:
        """A seed that no child can foresee."""
        return self.random.getrandbits(48)

    def describe_problem(self) -> None:
        """Have the reference child import `problem.py`; sets `problem`, `rows` and the baselines' absence."""
        try:
            self.problem = self.reference.ask("load", START_S, path=self.request["problem"], device=self.device)
        except ChildRaisedError as error:
            raise BrokenProblemError(f"problem.py cannot be used: {error}", error.trace) from None
        except ChildFailedError as error:
            raise BrokenProblemError(f"problem.py cannot be imported: it {error.detail}", "") from None
        if not self.problem["entry"]:
            raise BrokenProblemError("problem.py names no entry: set entry to the package's function", "")
        self.rows = [Row(config) for config in self._configs()]
        known = ["eager", "compile", *self.problem["baselines"]]
        for name in self.request["baselines"]:
            if name not in known:
                raise RefusedError("bad_argument", f"problem.py has no baseline {name!r}.", f"Choose from {', '.join(known)}.")

    def _configs(self) -> list[Config]:
        given, declared = self.request["shapes"], self.problem["shapes"]
        if not given and not declared:
            raise RefusedError("bad_argument", "problem.py declares no shapes.", "Pass shapes, or set shapes in problem.py.")
        if declared and given:
            ranks = {len(shape) for shape in declared}
            for shape in given:
                if len(shape) not in ranks or any(n < 1 for n in shape):
                    example = list(declared[0])
                    raise RefusedError(
                        "bad_argument",
                        f"Shape {shape} does not fit this problem.",
                        f"Give shapes like {example}, all positive.",
                    )
        dtypes = self.request["dtypes"] or self.problem["dtypes"] or ["float32"]
        for dtype in dtypes:
            if self.problem["dtypes"] and dtype not in self.problem["dtypes"]:
                raise RefusedError(
                    "bad_argument",
                    f"This problem is not declared for dtype {dtype!r}.",
                    f"Choose from {self.problem['dtypes']}.",
                )
        shapes = given or self.problem["device_shapes"] or declared
        return [Config(tuple(shape), dtype) for shape in shapes for dtype in dtypes]

    def make(self, config: Config, seed: int, **how: Any) -> dict[str, Any]:
        """Have the reference child draw inputs (and answers) for a config."""
        return self.reference.ask("make", MAKE_S, shape=list(config.shape), dtype=config.dtype, seed=seed, **how)

    def subjects(self) -> Sequence[Child]:
        """Every child that is timed; baselines first, so that nobody's inputs are touched before theirs are read."""
        return [child for child in (self.baselines, self.compiler, self.candidate) if child is not None]

    def close_children(self) -> None:
        """End all children."""
        for child in (*self.subjects(), *self.helpers, self.reference):
            child.close()

    def close(self) -> None:
        """End all children and free their memory."""
        self.close_children()
        for arena in (self.inputs, self.expected, self.results):
            arena.close()


class BrokenProblemError(Exception):
    """`problem.py` does not say what must be computed."""

    def __init__(self, reason: str, trace: str) -> None:
        super().__init__(reason)
        self.reason, self.trace = reason, trace
