"""What a fresh process computes first is what it computes later, though threads share the work."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.connection import Connection

import torch

from kernelwright.tools.run_benchmark.judge.child import connect
from kernelwright.tools.run_benchmark.judge.first_calls import DTYPES, FUNCTIONS


def _two_answers(pipe: Connection, function: str, dtype: torch.dtype) -> None:
    # Without `connect` calling `settle`, 2 to 12 of 100 such processes get it wrong, whose threads start with the call.
    torch.set_num_threads(2)
    here, there = os.pipe()
    connect(f"{here},{there}")
    given = torch.linspace(0.01, 0.99, 8192, dtype=dtype)
    first, second = (getattr(torch, function)(given) for _ in range(2))
    pipe.send((first.double() - second.double()).abs().max().item())


def test_the_first_answer_of_a_process_is_as_exact_as_the_next() -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch"])
    for function in FUNCTIONS:
        answers = {}
        for dtype in DTYPES:
            answers[dtype], there = context.Pipe(duplex=False)
            context.Process(target=_two_answers, args=(there, function, dtype)).start()
            there.close()
        assert {dtype: answer.recv() for dtype, answer in answers.items()} == dict.fromkeys(DTYPES, 0.0), function
