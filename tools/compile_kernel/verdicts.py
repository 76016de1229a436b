"""What a failed or incomplete build means: limits that were hit, imports that failed, ops that lack a part."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from kernelwright.tools.compile_kernel import (
    compilers,
    diagnostics,
    failed_import,
    imports,
    namespaces,
    registrations,
    resources,
)
from kernelwright.tools.compile_kernel.checker import Loaded
from kernelwright.tools.compile_kernel.contract import Abi, Diagnostic, KernelUse
from kernelwright.tools.compile_kernel.diagnostics import make
from kernelwright.tools.compile_kernel.sources import Place, Sources
from kernelwright.tools.compile_kernel.target import Target
from kernelwright.tools.compile_kernel.work import Compiled, Outcome
from kernelwright.tools.project import Project
from kernelwright.tools.tool import summarise

_ADVICE = {
    "memory": "Split the source or instantiate fewer templates: the compilers may use "
    f"{compilers.LIMITS.memory_bytes >> 30} GiB.",
    "processes": "The compilers started too many processes.",
    "time": "What is compiled by now is kept: compile again, and it goes on with the rest. A single source that takes an hour "
    "must be split.",
    "cancelled": "",
}


_DYNAMIC = (
    "Make it extern __shared__, pass its bytes at the launch, and before that raise the limit: "
    "cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes)."
)


def unexplained(
    outcome: Outcome, failed: Sequence[Compiled], found: Sequence[Diagnostic], sources: Sources
) -> list[Diagnostic]:
    """A diagnostic for what failed without any compiler saying why: a limit, a crash, words nobody parsed."""
    if outcome.killed:
        unit = next((compiled.unit.source for compiled in failed if compiled.begun), "")
        message = f"the compile was ended at its limit of {outcome.killed}"
        return [make("error", message, Place(unit), sources, _ADVICE.get(outcome.killed, ""))]
    if any(diagnostic.severity == "error" for diagnostic in found):
        return []
    said = [(compiled.unit.source, compiled.log) for compiled in failed] or [("", outcome.link_log)]
    if outcome.library is not None:
        return []
    return [make("error", _last_words(log), Place(source), sources, "The whole log is at log_uri.") for source, log in said[:2]]


def unlaunchable(kernels: Iterable[tuple[str, KernelUse]], sources: Sources) -> list[Diagnostic]:
    """Kernels, each with its source, that declare more shared memory than a launch is granted; one line for all instances."""
    worst: dict[tuple[str, str], KernelUse] = {}
    for source, kernel in kernels:
        which = (source, re.sub(r"<.*", "", kernel.name).rpartition("::")[2])
        if kernel.shared_bytes > max(resources.MAX_STATIC_SHARED, worst[which].shared_bytes if which in worst else 0):
            worst[which] = kernel
    found: list[Diagnostic] = []
    for (source, base), kernel in worst.items():
        place = sources.search(rf"\b{re.escape(base)}\b\s*\(", [source])
        message = (
            f"{kernel.name} declares {kernel.shared_bytes} bytes of static shared memory ({kernel.arch}), a block may declare "
            f"{resources.MAX_STATIC_SHARED}: it compiles, and every launch of it fails"
        )
        found.append(make("warning", message, place if place.file else Place(source), sources, _DYNAMIC))
    return found


def changed_meanwhile(files: Sequence[str]) -> list[Diagnostic]:
    """Whoever edits while a compile runs gets an answer that may be about neither text."""
    message = "it was changed while it was compiled: this build may hold the text before or after"
    return [Diagnostic(severity="warning", message=message, file=f, hint="Compile again.") for f in dict.fromkeys(files)]


def _last_words(log: str) -> str:
    lines = [line for line in log.splitlines() if line.strip() and not line.startswith("ptxas info")]
    return " / ".join(lines[-3:]) or "the compiler ended without a word"


def not_portable(abi: Abi) -> Diagnostic:
    """A release that would not load on the systems that the Hub's kernels promise."""
    return Diagnostic(
        severity="error",
        message=summarise(f"the binary is not portable: {abi.problems[0]}", diagnostics.MAX_MESSAGE),
        hint="Avoid what brings that symbol in; all of them stand in abi.problems.",
    )


def of_import(loaded: Loaded, project: Project, target: Target, staged: Path, sources: Sources) -> list[Diagnostic]:
    """What the import check found, as diagnostics."""
    unknown = imports.undeclarable(project, target.backend, sources)
    if not loaded.ok:
        return [*failed_import.diagnosed(loaded, project, target.backend, staged, sources), *unknown]
    found = unknown
    device = "CUDA" if target.backend == "cuda" else "CPU"
    places = {op.name: _definition(op.name, project, sources) for op in loaded.ops}
    for op in loaded.ops:
        if not op.keys:
            advice = f"Register it: ..._LIBRARY_IMPL_EXPAND(TORCH_EXTENSION_NAME, {device}, ops) {{ ops.impl(...); }}."
            found.append(make("warning", f"the op {op.name} has no kernel for {device}", places[op.name], sources, advice))
        elif not op.fake:
            text = f"the op {op.name} has no fake kernel: torch.compile breaks the graph there"
            advice = f"@torch.library.register_fake(add_op_namespace_prefix({op.name!r})) in __init__.py."
            found.append(make("warning", text, places[op.name], sources, advice))
    found = [*registrations.disagreements(loaded.ops, loaded.functions, project, sources, places), *found]
    return [*namespaces.hard_coded(loaded.elsewhere, project, sources), *found]


def _definition(name: str, project: Project, sources: Sources) -> Place:
    return sources.search(rf'def\(\s*"{re.escape(name)}\b', project.build.binding.sources)
