"""What a package must leave alone in its process: torch's global settings, the environment, functions that others rely on."""

from __future__ import annotations

import builtins
import json
import mmap
import os
import signal
import sys
import threading
import time
from typing import Any

import torch

# The profiler and the compiler of torch leave notes to themselves in the environment.
OWN_OF_TORCH = ("TORCH", "KINETO", "TRITON", "PYTORCH", "CUPTI", "CUDA_MODULE", "DISABLE_CUPTI", "TEARDOWN_CUPTI")

# Where every function that is there at the start must be the same at the end; what is added later is nobody's business.
OWNERS: tuple[tuple[str, Any], ...] = (
    ("torch", torch),
    ("torch.Tensor", torch.Tensor),
    ("torch.autograd", torch.autograd),
    ("torch.testing", torch.testing),
    ("torch.cuda.Event", torch.cuda.Event),
    ("torch.cuda.Stream", torch.cuda.Stream),
    ("torch.cuda.CUDAGraph", torch.cuda.CUDAGraph),
    ("time", time),
    ("os", os),
    ("builtins", builtins),
    ("json", json),
    ("mmap", mmap),
    ("threading.Thread", threading.Thread),
)
# Of torch.cuda, which fills itself as it is used, only these.
OF_CUDA = ("synchronize", "Event", "Stream", "CUDAGraph", "graph", "stream", "current_stream", "_sleep")
# torch's compiler wraps it when it is imported.
OFTEN_REPLACED = ("torch.manual_seed",)
Functions = dict[str, Any]


def functions() -> Functions:
    """Every watched function itself: one that is only remembered by its address might lie where another one lay."""
    found = {f"{name}.{key}": value for name, owner in _owners() for key, value in vars(owner).items() if callable(value)}
    found |= {f"torch.cuda.{key}": getattr(torch.cuda, key) for key in OF_CUDA}
    return {name: value for name, value in found.items() if name not in OFTEN_REPLACED}


def _owners() -> list[tuple[str, Any]]:
    # The harness itself is on the list: its modules and their classes.
    package = __name__.rpartition(".")[0]
    modules = [(name, module) for name, module in list(sys.modules.items()) if name.startswith(f"{package}.")]
    classes = [
        (f"{name}.{key}", value)
        for name, module in modules
        for key, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == name
    ]
    return [*OWNERS, *modules, *classes]


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
        "the function that traces": sys.gettrace() or threading.gettrace(),
        "the function that profiles": sys.getprofile() or threading.getprofile(),
        "flush denormal": bool((torch.tensor([1e-40]) * 1.0 == 0.0).item()),
    }
    handlers = {f"the handler of {number.name}": str(signal.getsignal(number)) for number in signal.Signals}
    return (
        {name: str(value) for name, value in found.items()}
        | handlers
        | {f"the environment's {name}": value for name, value in os.environ.items() if not name.startswith(OWN_OF_TORCH)}
    )


class Watch:
    """Compares the process with what it was when the watch began."""

    def __init__(self) -> None:
        self.functions, self.settings = functions(), settings()

    def changes(self) -> list[str]:
        """What was replaced or set since, by name."""
        now, before = settings(), self.settings
        found = functions()
        replaced = [f"replaced {name}" for name, value in self.functions.items() if found.get(name) is not value]
        names = sorted(now.keys() | before.keys())
        return replaced + [f"changed {name} to {now.get(name)}" for name in names if now.get(name) != before.get(name)]
