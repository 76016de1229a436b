"""Functions in processes of their own, forked from one that has loaded torch: a crash is an exit code, and costs no import."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from pathlib import Path

from kernelwright.tools.run_benchmark.judge import first_calls

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["torch", "torch._dynamo.testing", "torch.library", "kernels", "pytest", "hypothesis"])


def run(function: Callable[..., object], *arguments: object, folder: Path, seconds: float = 240) -> str:
    """What `function(*arguments)` wrote; raises AssertionError with it where it raised, exited, crashed or took too long.

    `function` must be importable by its name. The child sees no GPU, and `folder` gets what it writes.
    """
    log = folder / f"{function.__name__}.log"
    child = _CONTEXT.Process(target=_enter, args=(str(log), function, arguments))
    child.start()
    child.join(seconds)
    if child.is_alive():
        child.kill()
        child.join()
    text = log.read_text(errors="replace") if log.exists() else ""
    assert child.exitcode == 0, f"{function.__name__} ended with {child.exitcode}:\n{text[-4000:]}"
    return text


def _enter(log: str, function: Callable[..., object], arguments: tuple[object, ...]) -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(file, stream)
    sys.dont_write_bytecode = True
    first_calls.settle()
    function(*arguments)
