"""What a failed or incomplete build means: limits that were hit, imports that failed, ops that lack a part."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from kernelwright.tools.compile_kernel import compilers, diagnostics, imports, namespaces, registrations, resources
from kernelwright.tools.compile_kernel.checker import Loaded
from kernelwright.tools.compile_kernel.contract import Abi, Diagnostic, KernelUse
from kernelwright.tools.compile_kernel.diagnostics import Place, Sources, make
from kernelwright.tools.compile_kernel.target import Target
from kernelwright.tools.compile_kernel.work import Compiled, Outcome
from kernelwright.tools.project import Project
from kernelwright.tools.tool import summarise

_ADVICE = {
    "memory": "Split the source or instantiate fewer templates: the compilers together may use "
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
        unit = failed[0].unit.source if failed else ""
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
        return [*_failed_import(loaded, project, target.backend, staged, sources), *unknown]
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


def _failed_import(loaded: Loaded, project: Project, backend: str, staged: Path, sources: Sources) -> list[Diagnostic]:
    problem = loaded.problem or {}
    package_dir = str(project.package_dir.relative_to(project.path))
    kind, message = str(problem.get("kind")), str(problem.get("message")).replace(str(staged), package_dir)
    binding = project.build.binding.sources
    if kind == "undefined":
        return [_undefined(symbol, project, sources) for symbol in list(problem.get("symbols", ()))[: diagnostics.MAX_ERRORS]]
    if kind == "dangling":
        name = str(problem["ops"][0])
        place = sources.search(rf'impl\(\s*"{re.escape(name)}"', binding)
        return [make("error", f"ops.impl names {name!r}, which no ops.def declares", place, sources)]
    if kind == "crash":
        return [_crash(message, loaded.log, binding, f"{package_dir}/__init__.py", sources)]
    place = Place()
    for name, line in problem.get("frames", ()):
        path = Path(str(name))
        if path.is_relative_to(staged) and path.name != "_ops.py":
            place = Place(f"{package_dir}/{path.relative_to(staged)}", int(line))
    if "module export function" in message and binding:
        place = Place(binding[0])
    advice = imports.advice(str(problem.get("module") or ""), project, backend) if kind == "ModuleNotFoundError" else ""
    return [make("error", f"import of the built package failed: {kind}: {message}", place, sources, advice)]


def _crash(message: str, log: str, binding: Sequence[str], init: str, sources: Sources) -> Diagnostic:
    """Under the stable ABI a bad registration ends the process; its last words name the call that failed."""
    thrown = re.findall(r"^\s*what\(\):\s*(.*)$", log, re.MULTILINE)
    words = re.sub(r" at /\S+, line \d+", "", thrown[-1]) if thrown else ""
    place = Place(init)
    if "library_def" in words:
        place = sources.search(r"\bdef\(", binding)
    elif "library_impl" in words:
        place = sources.search(r"\bimpl\(", binding)
    elif "library" in words:
        place = sources.search(r"TORCH_LIBRARY", binding)
    return make("error", f"import of the built package failed: {message}" + (f": {words}" if words else ""), place, sources)


def _undefined(symbol: str, project: Project, sources: Sources) -> Diagnostic:
    name = resources.demangled([symbol])[symbol]
    base = re.sub(r"\W.*", "", resources.short(name).rsplit("::", 1)[-1])
    own = [s for s in (*project.build.binding.sources, *project.sources) if Path(s).suffix not in {".md"}]
    place = sources.search(rf"\b{re.escape(base)}\s*\(", own) if base else Place()
    advice = f"Nothing defines it: is the source with {base}() listed under src, with exactly this signature?"
    return make("error", f"undefined symbol {name}", place, sources, advice)
