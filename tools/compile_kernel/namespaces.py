"""Ops whose namespace the package chose itself: two versions of it in one process collide, and its own `ops` lacks them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from kernelwright.tools.compile_kernel.checker import Loaded
from kernelwright.tools.compile_kernel.contract import Diagnostic
from kernelwright.tools.compile_kernel.diagnostics import make
from kernelwright.tools.compile_kernel.sources import Place, Sources
from kernelwright.tools.project import Project

_CXX = "Write STABLE_TORCH_LIBRARY_EXPAND(TORCH_EXTENSION_NAME, ops) (TORCH_LIBRARY_EXPAND with the full ABI)."
_PYTHON = (
    "Take the namespace of the build: from ._ops import add_op_namespace_prefix, and then "
    "@torch.library.custom_op(add_op_namespace_prefix({op!r}), mutates_args=...)."
)


def no_ops(loaded: Loaded, project: Project, sources: Sources) -> Diagnostic | None:
    """A library whose ops have a namespace of their own choice: two builds of it collide, and `ops` finds none of them."""
    place = sources.search(r"TORCH_LIBRARY(_FRAGMENT)?\(\s*(?!TORCH_EXTENSION_NAME)\w+", project.build.binding.sources)
    unnamed = (loaded.ok and not loaded.ops) or (loaded.problem or {}).get("kind") in {
        "dangling",
        "RuntimeError",
        "AttributeError",
    }
    if not place.file or not unnamed:
        return None
    message = "the ops are registered under a hard-coded namespace, so the package's `ops` has none of them"
    return make("error", message, place, sources, _CXX)


def hard_coded(elsewhere: Iterable[str], project: Project, sources: Sources) -> list[Diagnostic]:
    """A warning for each namespace of the ops `elsewhere` that the project itself writes down; other packages bring theirs."""
    root = project.package_dir.relative_to(project.path)
    own = [name for name, _ in project.files if name.endswith(".py") and PurePosixPath(name).is_relative_to(root)]
    first: dict[str, str] = {}
    for qualified in elsewhere:
        namespace, _, op = qualified.partition("::")
        first.setdefault(namespace, op.partition(".")[0])
    found: list[Diagnostic] = []
    for namespace, op in first.items():
        # An op's name comes before a bare word, which may be anything: `"silu::forward"` before `"silu"`.
        quoted = (rf"[\"']{re.escape(namespace)}{rest}[\"']" for rest in (rf"::{re.escape(op)}", r"::\w+", ""))
        python = next((place for place in (sources.search(text, own) for text in quoted) if place.file), Place())
        library = rf"TORCH_LIBRARY(_FRAGMENT)?(_EXPAND)?\(\s*{re.escape(namespace)}\b"
        place = python if python.file else sources.search(library, project.build.binding.sources)
        if place.file:
            message = (
                f"the op {op} is registered in the hard-coded namespace {namespace}: two versions of this kernel in one "
                "process collide, and the package's `ops` does not have it"
            )
            found.append(make("warning", message, place, sources, _PYTHON.format(op=op) if python.file else _CXX))
    return found
