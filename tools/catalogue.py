"""The catalogue of kernels: which operations there are, their files, and which of them a problem.py belongs to."""

from __future__ import annotations

import difflib
import hashlib
from functools import cache
from importlib.resources import files as package_files
from pathlib import Path, PurePosixPath

from kernelwright.tools.tool import ToolError

# What a kernel of one's own starts from: complete as a project, but it computes nothing yet.
SKELETON = "custom"
ROOT = Path(str(package_files("kernelwright.kernels_src")))

# What building or testing a project in place leaves behind is no part of it.
_LEFT_BEHIND = {"build", "__pycache__", "result"}


def ops() -> tuple[str, ...]:
    """Names of all operations that are complete, in alphabetical order."""
    return tuple(name for name in names() if name != SKELETON)


def names() -> tuple[str, ...]:
    """Everything that a project can be made from: the operations and the skeleton, in alphabetical order."""
    return tuple(sorted(p.parent.name for p in ROOT.glob("*/build.toml")))


def folder(op: str) -> Path:
    """The project of `op`; raises ToolError `unknown_op` that names the nearest."""
    known = names()
    if op in known:
        return ROOT / op
    near = difflib.get_close_matches(op.lower().replace("-", "_"), known, n=3, cutoff=0.4)
    hint = f"Did you mean {' or '.join(near)}? " if near else ""
    raise ToolError("unknown_op", f"There is no op {op!r} in the catalogue.", f"{hint}Pass one of: {', '.join(known)}.")


def files(op: str) -> tuple[PurePosixPath, ...]:
    """The files of `op`'s project, relative to it, sorted."""
    root = folder(op)
    found = (PurePosixPath(p.relative_to(root).as_posix()) for p in root.rglob("*") if p.is_file())
    return tuple(sorted(p for p in found if not _LEFT_BEHIND.intersection(p.parts) and not p.name.startswith(".")))


def summary(op: str) -> str:
    """What `op` computes, in a line: the first paragraph of its card."""
    lines = (folder(op) / "CARD.md").read_text(encoding="utf-8").split("---", 2)[2].splitlines()
    paragraphs = "\n".join(line for line in lines if not line.startswith("#")).strip().split("\n\n")
    return " ".join(paragraphs[0].split())


@cache
def _references() -> dict[str, str]:
    return {hashlib.sha256((ROOT / op / "problem.py").read_bytes()).hexdigest(): op for op in ops()}


def reference_op(sha256: str) -> str | None:
    """The op whose problem.py has this hash (hexadecimal), or None: then the reference is a claim of the project's own."""
    return _references().get(sha256)
