"""The judge's program: reads a request, starts the children, checks, times, and says its verdict as lines of JSON."""

from __future__ import annotations

import contextlib
import itertools
import os
import platform
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from .bandwidth import copy_gbps
from .checks import candidate_failed, check_all
from .children import Child, ChildFailedError, ChildRaisedError
from .first_calls import settle
from .timing import time_all
from .trial import START_S, BrokenProblemError, RefusedError, Row, Trial, emit

# Below this share of what it copied before, somebody else must be using the GPU.
COMPANY = 0.8
# With fewer a judge that stays awake while it waits could keep those processors that it waits for.
FEWEST_PROCESSORS = 4


@dataclass
class Loading:
    """A child that gets ready in the background, and the baselines it holds: none where it only helps."""

    child: Child
    names: list[str]
    thread: threading.Thread


def conduct(trial: Trial) -> int:
    """Judge and say the verdict; the children run already."""
    request = trial.request
    torch.set_grad_enabled(False)
    torch.set_num_threads(max(1, torch.get_num_threads() // 2))
    settle()
    if trial.device == "cuda":
        request["cache_bytes"] = torch.cuda.get_device_properties(0).L2_cache_size
        request["set_bytes"] = torch.cuda.mem_get_info()[0] // 6
    try:
        judge(trial)
    except BrokenProblemError as error:
        trial.findings.add("invalid", "problem", error.reason)
        if error.trace:
            trial.findings.note(error.trace)
    except RefusedError as error:
        emit("error", code=error.code, message=error.message, hint=error.hint)
        return 0
    finally:
        trial.close_children()
    emit("result", **result(trial))
    return 0


def judge(trial: Trial) -> None:
    """All phases in order."""
    emit("progress", stage="starting", message="importing torch in the judge and its children", fraction=0.02)
    with phase(trial, "starting"):
        trial.describe_problem()
        # Nothing of the candidate's runs yet: what the machine does when left alone.
        alone = copy_gbps(trial.device) if trial.device == "cuda" else 0.0
        loading = _load_baselines(trial)
        loaded = _load_candidate(trial)
    if not loaded:
        _abandon(loading)
        return
    with phase(trial, "checking"):
        check_all(trial)
    if trial.findings.count("incorrect", "rejected", "invalid"):
        _abandon(loading)
    else:
        with phase(trial, "compiling"):
            _wait_for_baselines(trial, loading)
        with phase(trial, "timing"):
            emit("progress", stage="timing", message="measuring the copy bandwidth", fraction=0.5)
            trial.method["copy_gbps"] = copy_gbps(trial.device)
            for child in trial.subjects():
                # On the CPU the processors are what is timed.
                child.watched = trial.device == "cuda" and len(os.sched_getaffinity(0)) >= FEWEST_PROCESSORS
            _look_for_company(trial, alone)
            time_all(trial)
        trial.findings.allow_for_noise()
    _look_for_tampering(trial)


@contextlib.contextmanager
def phase(trial: Trial, name: str) -> Iterator[None]:
    """Note how long a phase took."""
    started = time.monotonic()
    yield
    # The first one began before torch was imported here.
    started = trial.began if not trial.method.get("phase_seconds") else started
    trial.method.setdefault("phase_seconds", {})[name] = round(time.monotonic() - started, 2)


def _look_for_company(trial: Trial, alone_gbps: float) -> None:
    copy = trial.method["copy_gbps"]
    if copy < COMPANY * alone_gbps:
        reason = (
            f"The GPU copied {alone_gbps:.0f} GB/s before the candidate was loaded, {copy:.0f} GB/s after: it is not alone."
        )
        trial.findings.add("inconclusive", "company", reason)


def _load_candidate(trial: Trial) -> bool:
    request, problem = trial.request, trial.problem
    setup = Path(request["problem"]).read_text(encoding="utf-8") if problem["setup"] else ""
    try:
        started = trial.candidate.ask("start", START_S, device=trial.device)
        trial.method["torch"] = started["torch"]
        trial.candidate.ask(
            "load_package",
            START_S,
            name=request["package"],
            path=request["package_path"],
            entry=problem["entry"],
            mutates=problem["mutates"],
            setup_source=setup,
        )
    except ChildRaisedError as error:
        trial.findings.add("invalid", "package", f"The built package cannot be loaded: {error}.")
        return False
    except ChildFailedError as error:
        candidate_failed(trial, None, error)
        return False
    return True


def _load_baselines(trial: Trial) -> list[Loading]:
    """Load every baseline in the background; `compile` also compiles all shapes, while correctness is checked."""
    named = [name for name in trial.request["baselines"] if name != "compile"]
    loading = []
    if trial.baselines is not None:
        loading.append(Loading(trial.baselines, named, threading.Thread(target=_load, args=(trial, trial.baselines, named))))
    if trial.compiler is not None:
        loading.append(Loading(trial.compiler, ["compile"], threading.Thread(target=_warm, args=(trial, trial.compiler))))
    # The compiler begins with the first rows, so its helpers share the rest.
    _own, *others = shares(trial.rows, 1 + len(trial.helpers))
    for child, rows in zip(trial.helpers, others, strict=True):
        loading.append(Loading(child, [], threading.Thread(target=_help, args=(trial, child, rows))))
    for one in loading:
        one.thread.daemon = True
        one.thread.start()
    return loading


def _load(trial: Trial, child: Child, names: list[str]) -> bool:
    try:
        child.ask("start", START_S, device=trial.device)
        child.ask("load_baselines", START_S, path=trial.request["problem"], names=names, mutates=trial.problem["mutates"])
    except (ChildRaisedError, ChildFailedError) as error:
        for name in names:
            trial.absent[name] = f"it could not be loaded: {error}"
        return False
    return True


def _warm(trial: Trial, child: Child) -> None:
    if not _load(trial, child, ["compile"]):
        return
    try:
        _compile(trial, child, trial.rows)
    except (ChildRaisedError, ChildFailedError) as error:
        trial.absent["compile"] = f"it failed: {error}"[:400]


def _help(trial: Trial, child: Child, rows: Sequence[Row]) -> None:
    """Compile ahead of the compiler; where that fails it finds nothing in the cache, and says itself what is wrong."""
    with contextlib.suppress(ChildRaisedError, ChildFailedError):
        child.ask("start", START_S, device=trial.device)
        child.ask("load_baselines", START_S, path=trial.request["problem"], names=["compile"], mutates=trial.problem["mutates"])
        _compile(trial, child, rows)
    child.close()


def _compile(trial: Trial, child: Child, rows: Sequence[Row]) -> None:
    for row in rows:
        child.ask("warm", trial.request["compile_s"], name="compile", shape=list(row.config.shape), dtype=row.config.dtype)


def shares(rows: Sequence[Row], parts: int) -> list[Sequence[Row]]:
    """`rows` in so many parts one after the other, as long as each other but for one."""
    bounds = [part * len(rows) // parts for part in range(parts + 1)]
    return [rows[start:end] for start, end in itertools.pairwise(bounds)]


def _wait_for_baselines(trial: Trial, loading: list[Loading]) -> None:
    if any(one.thread.is_alive() for one in loading):
        emit("progress", stage="compiling", message="waiting for torch.compile of the reference", fraction=0.5)
    until = time.monotonic() + trial.request["compile_s"]
    for one in loading:
        # Helpers stand last: when the compiler is done there is nothing left to help with.
        if one.names:
            one.thread.join(max(0.0, until - time.monotonic()))
        if one.thread.is_alive():
            _abandon([one])
            trial.absent |= dict.fromkeys(one.names, f"it took more than {trial.request['compile_s']:.0f} s to get ready")


def _abandon(loading: list[Loading]) -> None:
    for one in loading:
        one.child.close()
        one.thread.join(20)


def _look_for_tampering(trial: Trial) -> None:
    if not trial.candidate.alive:
        return
    try:
        changes = trial.candidate.ask("changes", 30.0)["changes"]
        changes = [str(change)[:300] for change in changes]
    except (ChildRaisedError, ChildFailedError, KeyError, TypeError):
        changes = ["broke the functions by which this is looked at"]
    for change in changes:
        trial.findings.add("invalid", "tampering", f"The candidate {change} in its process, which is not its own.")


def result(trial: Trial) -> dict[str, Any]:
    """Everything the worker needs for the report."""
    rows = [
        {
            "shape": list(row.config.shape),
            "dtype": row.config.dtype,
            "correct": row.correct and bool(row.errors),
            "error": max(row.errors) if row.errors else None,
            "tolerance": row.tolerance,
            **row.times,
        }
        for row in trial.rows
    ]
    method = {
        **trial.method,
        "seed": trial.seed,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": os.cpu_count() if trial.device == "cpu" else None,
        "cases": trial.cases,
        "absent_baselines": trial.absent,
    }
    verdict = trial.findings.verdict()
    return {"verdict": verdict, "reasons": trial.findings.reasons(), "rows": rows, "method": method, **trial.findings.as_data()}
