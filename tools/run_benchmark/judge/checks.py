"""The correctness phase: every announced shape, and on the smallest one everything that a kernel may be blind to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from .arena import BadDescriptorError
from .children import ChildFailedError, ChildRaisedError
from .compare import Errors, Tolerance, lower_precision, measure, tolerance, trivial_answers
from .machine import as_integers
from .repeat import check_again, kept
from .trial import BrokenProblemError, Config, RefusedError, Row, Trial, emit
from .values import tensors, unpack
from .variations import DISTRIBUTIONS

ENOUGH_FAILURES = 3
FIRST_CALL_S = 90.0
# What reading an answer raises that the harness never sends.
FORGED = (BadDescriptorError, AttributeError, KeyError, IndexError, TypeError, ValueError)


@dataclass(frozen=True)
class Case:
    """One set of inputs to be right on. `announced` ones are of a shape that the kernel knows it will meet."""

    config: Config
    row: Row
    seed: int
    distribution: str = "normal"
    disturbed: int | None = None
    strided: bool = False
    announced: bool = True

    @property
    def plain(self) -> bool:
        """Whether it is an announced shape with nothing changed."""
        return self.announced and self.distribution == "normal" and self.disturbed is None and not self.strided

    def __str__(self) -> str:
        kind = f"{self.distribution.replace('_', ' ')} inputs"
        if self.disturbed is not None:
            kind = f"argument {self.disturbed} changed"
        if self.strided:
            kind = "inputs with gaps between rows"
        return f"{self.config}, {kind}" + ("" if self.announced else ", a shape not announced")


def check_all(trial: Trial) -> None:
    """Run every case; findings go to the trial."""
    try:
        cases = plan(trial)
    except ChildFailedError as error:
        raise BrokenProblemError(f"problem.py: its process {error.detail} while making inputs", "") from None
    for number, case in enumerate(cases):
        emit("progress", stage="checking", message=str(case), fraction=0.1 + 0.4 * number / len(cases))
        try:
            check(trial, case)
        except ChildFailedError as error:
            if error.role == "reference":
                _reference_failed(trial, case, error)
                continue
            candidate_failed(trial, case.config, error)
            return
        if trial.findings.count("incorrect", "rejected", "invalid") >= ENOUGH_FAILURES:
            return


def plan(trial: Trial) -> list[Case]:
    """All cases; announced shapes first, the rest in an order that nobody can foresee."""
    first: list[Case] = []
    rest: list[Case] = []
    for row in trial.rows:
        first += [Case(row.config, row, trial.new_seed())]
    for dtype in dict.fromkeys(row.config.dtype for row in trial.rows):
        row = min((r for r in trial.rows if r.config.dtype == dtype), key=lambda r: _volume(r.config.shape))
        config = row.config
        rest += [Case(config, row, trial.new_seed()) for _ in range(2)]
        rest += [Case(config, row, trial.new_seed(), distribution=kind) for kind in DISTRIBUTIONS[1:]]
        rest += [Case(config, row, trial.new_seed(), disturbed=index) for index in _arguments(trial, config)]
        rest.append(Case(config, row, trial.new_seed(), strided=True))
        rest += [
            Case(Config(shape, dtype), row, trial.new_seed(), announced=False) for shape in secret_shapes(trial, config.shape)
        ]
    trial.random.shuffle(rest)
    return first + rest


def _arguments(trial: Trial, config: Config) -> list[int]:
    try:
        made = trial.make(config, trial.new_seed(), answers=False)
    except ChildRaisedError:
        return []
    return list(made["perturbable"])[: trial.request["most_arguments"]]


def secret_shapes(trial: Trial, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Shapes near an announced one that nobody announced: other and odd counts of rows, a ragged last dimension."""
    rows, last = shape[0], shape[-1]
    draw = trial.random
    found = [(max(1, rows - 1 - draw.randrange(max(1, rows // 4))), *shape[1:]), (1, *shape[1:])]
    found.append((min(rows, 64) + 1 + draw.randrange(13), *shape[1:]))
    if len(shape) > 1:
        small = (min(rows, 64), *shape[1:-1])
        found += [(*small, max(8, 3 * last // 4 // 8 * 8)), (*small, max(1, last - 1 - 2 * draw.randrange(8)))]
    return [s for s in dict.fromkeys(found) if s != shape]


def check(trial: Trial, case: Case) -> None:
    """One case: draw, call, compare."""
    made = _draw(trial, case)
    if made is None or made.get("skipped"):
        return
    trial.cases.append({"case": str(case), "seed": case.seed, "shape": list(case.config.shape), "dtype": case.config.dtype})
    try:
        trial.candidate.ask("place", FIRST_CALL_S, args=made["args"], count=1, strided=case.strided)
        reply = trial.candidate.ask("call", FIRST_CALL_S)
        right = compare_case(trial, case, made, reply)
        first = kept(trial, reply) if right and case.plain else None
        if first is not None and not check_again(trial, case.config, made, first):
            case.row.correct = False
    except ChildRaisedError as error:
        _candidate_raised(trial, case, error)
    except FORGED as error:
        trial.findings.add("rejected", "protocol", f"The candidate's process sent the judge a forged answer: {error}.")


def _draw(trial: Trial, case: Case) -> dict[str, Any] | None:
    optional = not case.announced or case.disturbed is not None or case.distribution != "normal" or case.strided
    try:
        return trial.make(case.config, case.seed, distribution=case.distribution, disturbed=case.disturbed)
    except ChildRaisedError as error:
        if optional:
            return None
        if "out of memory" in str(error).lower() or error.kind in {"MemoryError", "OutOfMemoryError"}:
            raise _too_large(case.config) from None
        raise BrokenProblemError(f"problem.py fails at {case.config}: {error}", error.trace) from None


def _too_large(config: Config) -> RefusedError:
    return RefusedError("too_large", f"Shape {config} does not fit into the memory of this host.", "Pass smaller shapes.")


def _reference_failed(trial: Trial, case: Case, error: ChildFailedError) -> None:
    if error.how == "memory":
        raise _too_large(case.config)
    raise BrokenProblemError(f"problem.py at {case}: its process {error.detail}", "")


def compare_case(trial: Trial, case: Case, made: dict[str, Any], reply: dict[str, Any]) -> bool:
    """Compare what came back with what was expected: form, values, lateness, untouched arguments. Whether it passes."""
    before = len(trial.findings.found)
    where = "cuda" if trial.device == "cuda" else "cpu"
    expected = [(trial.expected.get(e["exact"]).to(where), trial.expected.get(e["native"]).to(where)) for e in made["expected"]]
    got = [trial.results.get(found) for found in reply["outputs"]]
    if not _form_is_right(trial, case, reply["facts"], got, [native for _, native in expected]):
        case.row.correct = case.row.correct and not case.announced
        return False
    for early, late in zip(reply["early"], got, strict=False):
        if not torch.equal(as_integers(trial.results.get(early)), as_integers(late)):
            trial.findings.add(
                "rejected", "late work", f"At {case} the output changed after the call had returned: work goes on behind it."
            )
    given = [unpack(arg, trial.inputs, "cpu") for arg in made["args"]]
    for index, arg in enumerate(reply.get("args", [])):
        if index not in trial.problem["mutates"] and not _same(given[index], unpack(arg, trial.results, "cpu")):
            trial.findings.add("incorrect", "inputs", f"At {case} it wrote argument {index}, which problem.py does not allow.")
    for number, ((exact, native), answer) in enumerate(zip(expected, got, strict=True)):
        _compare_output(trial, case, number, answer.to(where), exact, native, given)
    return len(trial.findings.found) == before


def _same(one: Any, other: Any) -> bool:
    pairs = zip(tensors(one), tensors(other), strict=True)
    return all(a.shape == b.shape and torch.equal(as_integers(a), as_integers(b)) for a, b in pairs)


def _form_is_right(trial: Trial, case: Case, facts: list[Any], got: list[torch.Tensor], native: list[torch.Tensor]) -> bool:
    if len(got) != len(native):
        trial.findings.add("incorrect", "form", f"At {case} it returned {len(got)} tensors, the reference {len(native)}.")
        return False
    right = True
    for number, (fact, answer, model) in enumerate(zip(facts, got, native, strict=True)):
        if fact["type"] != "Tensor" or fact["layout"] != "strided" or fact["empty_storage"]:
            trial.findings.add(
                "rejected",
                "lazy tensor",
                f"At {case} output {number} is a {fact['type']} of layout {fact['layout']}, not a plain tensor with memory.",
            )
            right = False
        elif (list(answer.shape), answer.dtype, fact["device"]) != (list(model.shape), model.dtype, trial.device):
            trial.findings.add(
                "incorrect",
                "form",
                f"At {case} output {number} is {list(answer.shape)} {answer.dtype} on {fact['device']}; "
                f"expected {list(model.shape)} {model.dtype} on {trial.device}.",
            )
            right = False
    return right


def _compare_output(
    trial: Trial,
    case: Case,
    number: int,
    answer: torch.Tensor,
    exact: torch.Tensor,
    native: torch.Tensor,
    given: list[Any],
) -> None:
    dtype = native.dtype
    allowed = tolerance(measure(native, exact, dtype), dtype, trial.problem["tolerance"].get(case.config.dtype))
    errors = measure(answer, exact, dtype)
    passed = allowed.admits(errors)
    if case.announced and case.distribution == "normal" and case.disturbed is None:
        case.row.errors.append(errors.worst)
        case.row.tolerance = max(allowed.worst, case.row.tolerance or 0.0)
        _doubt_the_task(trial, case, number, exact, dtype, allowed, given)
    if passed:
        return
    text = f"Wrong at {case}: {explain(errors, allowed)}."
    if case.strided and not trial.problem["noncontiguous"]:
        trial.findings.note(f"{text} problem.py does not claim noncontiguous inputs; refuse them with a clear error.")
        return
    case.row.correct = False
    trial.findings.add("incorrect", "wrong", text)


def explain(errors: Errors, allowed: Tolerance) -> str:
    """The errors that do not pass, in words."""
    parts = []
    if errors.misplaced:
        parts.append(f"{errors.misplaced} elements are NaN or infinite where they should not be, or the reverse")
    if errors.worst > allowed.worst:
        parts.append(f"largest relative error {errors.worst:.2g}, allowed {allowed.worst:.2g}")
    if errors.overall > allowed.overall:
        parts.append(f"relative error over the whole output {errors.overall:.2g}, allowed {allowed.overall:.2g}")
    return "; ".join(parts)


def _doubt_the_task(
    trial: Trial, case: Case, number: int, exact: torch.Tensor, dtype: torch.dtype, allowed: Tolerance, given: list[Any]
) -> None:
    # A task that an answer without work passes proves nothing, whatever the candidate answered.
    moved = [t.to(exact.device) for t in tensors(given)]
    for name, trivial in trivial_answers(moved, exact).items():
        if allowed.admits(measure(trivial.to(dtype), exact, dtype)):
            trial.findings.add(
                "invalid", "degenerate", f"The task is degenerate at {case.config}: {name} passes as output {number}."
            )
    lowered = lower_precision(exact, dtype)
    if lowered is not None and allowed.admits(measure(lowered, exact, dtype)):
        trial.findings.note(
            f"At {case.config} the tolerance also admits the next lower precision: the reference itself is that far off."
        )


def _candidate_raised(trial: Trial, case: Case, error: ChildRaisedError) -> None:
    text = f"{error.kind}: {error.text}".splitlines()[0][:300]
    fault = "CUDA error" in error.text or "illegal memory" in error.text
    if fault or (case.announced and not case.strided):
        case.row.correct = False
        trial.findings.add("incorrect", "raised", f"At {case} the kernel raised {text}.")
        if fault:
            raise ChildFailedError("candidate", "fault", f"broke the GPU context: {text}")
    else:
        trial.findings.note(f"At {case} the kernel refused with {text}.")


def candidate_failed(trial: Trial, config: Config | None, error: ChildFailedError) -> None:
    """What a candidate's process that is gone means: it took too much, or it is simply broken."""
    place = f" at {config}" if config else ""
    taking = {"memory", "processes", "output", "protocol"}
    for row in trial.rows:
        row.correct = False
    if error.how == "fault":
        return
    if error.how in taking:
        trial.findings.add("rejected", error.how, f"The candidate's process {error.detail}{place}.")
    else:
        trial.findings.add("incorrect", error.how, f"The candidate's process {error.detail}{place}.")


def _volume(shape: tuple[int, ...]) -> int:
    total = 1
    for n in shape:
        total *= n
    return total
