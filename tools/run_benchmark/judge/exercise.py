"""Calls the package a few times without measuring anything, for compute-sanitizer to watch."""

from __future__ import annotations

import json
from typing import Any

import torch

from .child import import_file


def main(arguments: list[str]) -> int:
    """Call what the JSON in ``arguments[0]`` names: problem, package, path, device and configs of shape and dtype."""
    asked: dict[str, Any] = json.loads(arguments[0])
    torch.set_grad_enabled(False)
    problem = import_file("problem", asked["problem"])
    package = import_file(asked["package"], f"{asked['path']}/__init__.py", [asked["path"]])
    entry = getattr(package, problem.entry)
    setup = getattr(problem, "setup", None)
    for shape, dtype in asked["configs"]:
        generator = torch.Generator(device=asked["device"]).manual_seed(0)
        args = problem.inputs(tuple(shape), getattr(torch, dtype), asked["device"], generator)
        if setup is not None:
            prepared = setup(package, *args)
            args = prepared if isinstance(prepared, tuple) else (prepared,)
        entry(*args)
        torch.cuda.synchronize()
    return 0
