"""What a failed or incomplete build means: limits that were hit, imports that failed, ops that lack a part."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from kernelwright.tools.compile_kernel import diagnostics, resources
from kernelwright.tools.compile_kernel.checker import Loaded
from kernelwright.tools.compile_kernel.compilers import Compiled, Outcome
from kernelwright.tools.compile_kernel.contract import Diagnostic
from kernelwright.tools.compile_kernel.diagnostics import Place, Sources, make
from kernelwright.tools.compile_kernel.plan import Target
from kernelwright.tools.project import Project

_ADVICE = {
    "memory": "Split the source or instantiate fewer templates: the compilers together may use 16 GiB.",
    "processes": "The compilers started too many processes.",
    "time": "Split the source or instantiate fewer templates: a compile may take an hour.",
    "cancelled": "",
}


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


def _last_words(log: str) -> str:
    lines = [line for line in log.splitlines() if line.strip() and not line.startswith("ptxas info")]
    return " / ".join(lines[-3:]) or "the compiler ended without a word"


def excused(loaded: Loaded, project: Project, target: Target) -> Loaded:
    """An import that failed for want of something that this host lacks and the package may count on is no fault of the package."""
    problem = loaded.problem or {}
    if problem.get("kind") == "ModuleNotFoundError":
        module = str(problem.get("module") or "").split(".")[0]
        allowed = {"triton", "tvm_ffi", *(_import_name(d) for d in project.build.python_depends.get(target.backend, ()))}
        if module in allowed:
            return Loaded(True, log=loaded.log, skipped=f"import check: {module} is not installed in host_python")
    return loaded


def _import_name(dependency: str) -> str:
    return {"nvidia-cutlass-dsl": "cutlass", "tvm-ffi": "tvm_ffi"}.get(dependency, dependency.replace("-", "_"))


def of_import(loaded: Loaded, project: Project, target: Target, staged: Path, sources: Sources) -> list[Diagnostic]:
    """What the import check found, as diagnostics."""
    if not loaded.ok:
        return _failed_import(loaded, project, staged, sources)
    found: list[Diagnostic] = []
    device = "CUDA" if target.backend == "cuda" else "CPU"
    for op in loaded.ops:
        name = op["schema"].partition("(")[0].rpartition("::")[2]
        place = sources.search(rf'def\(\s*"{re.escape(name)}\b', project.build.binding.sources)
        if not op["keys"]:
            advice = f"Register it: TORCH_LIBRARY_IMPL_EXPAND(TORCH_EXTENSION_NAME, {device}, ops) {{ ops.impl(...); }}."
            found.append(make("warning", f"the op {name} has no kernel for {device}", place, sources, advice))
        elif not op["fake"]:
            advice = "Add torch.library.register_fake(add_op_namespace_prefix(...)) to __init__.py, or torch.compile breaks its graph here."
            found.append(make("warning", f"the op {name} has no fake kernel", place, sources, advice))
    return found


def _failed_import(loaded: Loaded, project: Project, staged: Path, sources: Sources) -> list[Diagnostic]:
    problem = loaded.problem or {}
    if problem.get("kind") == "undefined":
        return [_undefined(symbol, project, sources) for symbol in list(problem.get("symbols", ()))[: diagnostics.MAX_ERRORS]]
    place = Place()
    for name, line in problem.get("frames", ()):
        path = Path(str(name))
        if path.is_relative_to(staged):
            own = project.package_dir.relative_to(project.path) / path.relative_to(staged)
            place = Place(str(own), int(line))
    message = f"import of the built package failed: {problem.get('kind')}: {problem.get('message')}"
    return [make("error", message, place, sources)]


def _undefined(symbol: str, project: Project, sources: Sources) -> Diagnostic:
    name = resources.demangled([symbol])[symbol]
    base = re.sub(r"\W.*", "", resources.short(name).rsplit("::", 1)[-1])
    own = [s for s in (*project.build.binding.sources, *project.sources) if Path(s).suffix not in {".md"}]
    place = sources.search(rf"\b{re.escape(base)}\s*\(", own) if base else Place()
    advice = f"Nothing defines it: is the source with {base}() listed under src, with exactly this signature?"
    return make("error", f"undefined symbol {name}", place, sources, advice)
