"""The judge's program: reads a request, starts the children, checks, times, and says its verdict as lines of JSON."""

from __future__ import annotations

import json
import os
import platform
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from .bandwidth import copy_gbps
from .checks import candidate_failed, check_all
from .children import Child, ChildFailedError, ChildRaisedError
from .timing import time_all
from .trial import START_S, BrokenProblemError, RefusedError, Trial, emit


def main(arguments: list[str]) -> int:
    """Judge what the request file ``arguments[0]`` says; the last line on stdout is a `result` or an `error`."""
    request = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    signal.signal(signal.SIGTERM, _stop)
    torch.set_grad_enabled(False)
    torch.set_num_threads(max(1, torch.get_num_threads() // 2))
    trial = Trial(request)
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
        trial.close()
    emit("result", **result(trial))
    return 0


def _stop(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def judge(trial: Trial) -> None:
    """All phases in order."""
    emit("progress", stage="starting", message="importing torch in the judge and its children", fraction=0.02)
    trial.describe_problem()
    if not _load_candidate(trial):
        return
    warming = _load_baselines(trial)
    check_all(trial)
    if trial.findings.count("incorrect", "rejected", "invalid"):
        _abandon(trial, warming)
    else:
        _wait_for_compiler(trial, warming)
        emit("progress", stage="timing", message="measuring the copy bandwidth", fraction=0.5)
        trial.method["copy_gbps"] = copy_gbps(trial.device)
        time_all(trial)
    _look_for_tampering(trial)


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


def _load_baselines(trial: Trial) -> threading.Thread | None:
    """Load every baseline; `compile` compiles all shapes in the background while correctness is checked."""
    named = [name for name in trial.request["baselines"] if name != "compile"]
    if trial.baselines is not None:
        _load(trial, trial.baselines, named)
    if trial.compiler is None or not _load(trial, trial.compiler, ["compile"]):
        return None
    warming = threading.Thread(target=_warm, args=(trial, trial.compiler), daemon=True)
    warming.start()
    return warming


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
    try:
        for row in trial.rows:
            child.ask("warm", trial.request["compile_s"], name="compile", shape=list(row.config.shape), dtype=row.config.dtype)
    except (ChildRaisedError, ChildFailedError) as error:
        trial.absent["compile"] = f"it failed: {error}"[:400]


def _wait_for_compiler(trial: Trial, warming: threading.Thread | None) -> None:
    if warming is None or trial.compiler is None:
        return
    emit("progress", stage="compiling", message="waiting for torch.compile of the reference", fraction=0.5)
    warming.join(trial.request["compile_s"])
    if warming.is_alive():
        trial.absent["compile"] = f"it took more than {trial.request['compile_s']:.0f} s to compile"
        _abandon(trial, warming)


def _abandon(trial: Trial, warming: threading.Thread | None) -> None:
    if warming is not None and trial.compiler is not None:
        trial.compiler.close()
        warming.join(20)


def _look_for_tampering(trial: Trial) -> None:
    if not trial.candidate.alive:
        return
    try:
        changes = trial.candidate.ask("changes", 30.0)["changes"]
    except (ChildRaisedError, ChildFailedError):
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
