"""What a package imports besides torch: what it may count on, and what to do about a module that is not there."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from kernelwright.tools.compile_kernel.checker import ABSENT_WITHOUT_CUDA, Loaded
from kernelwright.tools.compile_kernel.contract import Diagnostic
from kernelwright.tools.compile_kernel.diagnostics import make
from kernelwright.tools.compile_kernel.sources import Sources
from kernelwright.tools.compile_kernel.target import Target
from kernelwright.tools.project import Project

# Torch for CUDA brings triton; the framework tvm-ffi is what its packages are built on.
_GIVEN = {"triton", "tvm_ffi"}


def excused(loaded: Loaded, project: Project, target: Target) -> Loaded:
    """An import that failed for want of something that the package may count on and this host lacks is not its fault."""
    problem = loaded.problem or {}
    if problem.get("kind") == "ModuleNotFoundError":
        module = str(problem.get("module") or "").split(".")[0]
        if module in _GIVEN or module in _declared(project, target.backend).values():
            return Loaded(ok=True, log=loaded.log, skipped=f"import check: {module} is not installed in host_python")
    undefined = re.search(r"undefined symbol: (\w+)", str(problem.get("message")))
    foreign = target.backend == "cuda" and target.toolchain.need_torch().cuda is None
    if foreign and undefined and undefined[1].startswith(ABSENT_WITHOUT_CUDA):
        return Loaded(
            ok=True, log=loaded.log, skipped="import check: the torch of host_python has no CUDA, which this package needs"
        )
    return loaded


def advice(module: str, project: Project, backend: str) -> str:
    """The ways out for a package that imports `module`, which is not there."""
    top = module.split(".")[0]
    if re.fullmatch(rf"_{project.python_name}_{backend}_[0-9a-f]{{7}}", top):
        place = f"{project.package_dir.relative_to(project.path)}/{module.partition('.')[2].replace('.', '/')}.py"
        return f"The package has no such module: write {place}, or mend the import."
    if top == project.python_name:
        return "The package has another name when it is loaded: import relatively, from .module import …"
    if not top or (project.package_dir / top).is_dir() or (project.package_dir / f"{top}.py").is_file():
        return f"It is the package's own: import it relatively, from .{top or 'module'} import …"
    known = _known(backend)
    name = next((name for name, (_, imported) in known.items() if imported == top), "")
    wheel = known[name][0] if name else top
    install = f"pip install {wheel} into host_python"
    if name:
        return (
            f'Declare it in build.toml, python-depends = ["{name}"] under [general] or [general.{backend}]: then it may be '
            f"missing where the package is only built. Or {install}, as whoever loads it must."
        )
    listed = ", ".join(sorted(known))
    return (
        f"Import it inside the function that needs it, or {install}, as whoever loads the kernel must then. python-depends can "
        f"declare only {listed}."
    )


def undeclarable(project: Project, backend: str, sources: Sources) -> list[Diagnostic]:
    """A warning if python-depends names what no loader of the Hub's kernels takes: it refuses the package for it."""
    known = _known(backend)
    names = [name for name in project.build.python_depends.get(backend, ()) if name not in known] if known else []
    if not names:
        return []
    place = sources.search(rf"[\"']{re.escape(names[0])}[\"']", ["build.toml"])
    message = (
        f"python-depends names {', '.join(names)}, which `kernels` does not know: it refuses to load the package for {backend}"
    )
    text = f"Take it out: for {backend} these are known: {', '.join(sorted(known))}. Import anything else where it is used."
    return [make("warning", message, place, sources, text)]


def _declared(project: Project, backend: str) -> dict[str, str]:
    """What `python-depends` names, with the module that each one is imported as."""
    known = _known(backend)
    names = project.build.python_depends.get(backend, ())
    return {name: known[name][1] if name in known else name.replace("-", "_") for name in names}


@cache
def _known(backend: str) -> Mapping[str, tuple[str, str]]:
    """Names that `python-depends` may hold, each with its wheel and the module that is imported, as `kernels` lists them."""
    package = importlib.util.find_spec("kernels")
    places = [Path(place) / "python_depends.json" for place in (package.submodule_search_locations or [])] if package else []
    listed: dict[str, Any] = next((json.loads(place.read_text(encoding="utf-8")) for place in places if place.is_file()), {})
    both: dict[str, Any] = {**listed.get("general", {}), **listed.get("backends", {}).get(backend, {})}
    found: dict[str, Any] = {name: next(iter(entry.get("python", [])), {}) for name, entry in both.items()}
    return {name: (wheel["pkg"], wheel["import"]) for name, wheel in found.items() if wheel.get("import")}
