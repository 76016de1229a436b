"""What a package must leave alone in its process: torch's global settings, the environment, functions that others rely on."""

from __future__ import annotations

import builtins
import os
import threading
import time
from typing import Any

import torch

# The profiler and the compiler of torch leave notes to themselves in the environment.
OWN_OF_TORCH = ("TORCH", "KINETO", "TRITON", "PYTORCH", "CUPTI", "CUDA_MODULE", "DISABLE_CUPTI", "TEARDOWN_CUPTI")

WATCHED: tuple[tuple[str, Any, str], ...] = (
    ("time.perf_counter", time, "perf_counter"),
    ("time.perf_counter_ns", time, "perf_counter_ns"),
    ("time.time", time, "time"),
    ("time.monotonic", time, "monotonic"),
    ("torch.cuda.synchronize", torch.cuda, "synchronize"),
    ("torch.cuda.Event", torch.cuda, "Event"),
    ("torch.cuda.Event.record", torch.cuda.Event, "record"),
    ("torch.cuda.Event.elapsed_time", torch.cuda.Event, "elapsed_time"),
    ("torch.cuda.Event.synchronize", torch.cuda.Event, "synchronize"),
    ("torch.cuda.Stream.synchronize", torch.cuda.Stream, "synchronize"),
    ("torch.cuda.CUDAGraph", torch.cuda, "CUDAGraph"),
    ("torch.cuda.CUDAGraph.replay", torch.cuda.CUDAGraph, "replay"),
    ("torch.cuda.graph", torch.cuda, "graph"),
    ("torch.allclose", torch, "allclose"),
    ("torch.equal", torch, "equal"),
    ("torch.isclose", torch, "isclose"),
    ("torch.testing.assert_close", torch.testing, "assert_close"),
    ("torch.frombuffer", torch, "frombuffer"),
    ("torch.Tensor.clone", torch.Tensor, "clone"),
    ("torch.Tensor.copy_", torch.Tensor, "copy_"),
    ("torch.Tensor.cpu", torch.Tensor, "cpu"),
    ("torch.Tensor.to", torch.Tensor, "to"),
    ("torch.Tensor.__eq__", torch.Tensor, "__eq__"),
    ("torch.Tensor.sum", torch.Tensor, "sum"),
    ("os.write", os, "write"),
    ("os.read", os, "read"),
    ("builtins.open", builtins, "open"),
    ("builtins.isinstance", builtins, "isinstance"),
    ("threading.Thread.start", threading.Thread, "start"),
)


def functions() -> dict[str, int]:
    """Identity of every watched function."""
    return {name: id(getattr(owner, attribute, None)) for name, owner, attribute in WATCHED}


def settings() -> dict[str, str]:
    """torch's global settings and the environment, as text."""
    found: dict[str, Any] = {
        "default dtype": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
        "grad mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "threads": torch.get_num_threads(),
        "float32 matmul precision": torch.get_float32_matmul_precision(),
        "cuda.matmul.allow_tf32": torch.backends.cuda.matmul.allow_tf32,
        "cuda.matmul.allow_fp16_reduced_precision_reduction": torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction,
        "cuda.matmul.allow_bf16_reduced_precision_reduction": torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction,
        "cudnn.allow_tf32": torch.backends.cudnn.allow_tf32,
        "cudnn.benchmark": torch.backends.cudnn.benchmark,
        "flush denormal": bool((torch.tensor([1e-40]) * 1.0 == 0.0).item()),
    }
    return {name: str(value) for name, value in found.items()} | {
        f"the environment's {name}": value for name, value in os.environ.items() if not name.startswith(OWN_OF_TORCH)
    }


class Watch:
    """Compares the process with what it was when the watch began."""

    def __init__(self) -> None:
        self.functions, self.settings = functions(), settings()

    def changes(self) -> list[str]:
        """What was replaced or set since, by name."""
        now, before = settings(), self.settings
        replaced = [f"replaced {name}" for name, identity in functions().items() if identity != self.functions[name]]
        names = sorted(now.keys() | before.keys())
        return replaced + [f"changed {name} to {now.get(name)}" for name in names if now.get(name) != before.get(name)]
