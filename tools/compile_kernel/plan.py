"""From a project and a target to commands: which units are compiled with which arguments, and how they are linked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from kernelwright.tools.compile_kernel import gpu_archs
from kernelwright.tools.compile_kernel.arguments import Shared, link_arguments, stubs
from kernelwright.tools.compile_kernel.gpu_archs import Capability
from kernelwright.tools.compile_kernel.parts import CUDA_SUFFIXES, Part, merged, of_binding, of_component
from kernelwright.tools.compile_kernel.target import Target, namespace
from kernelwright.tools.project import Project
from kernelwright.tools.tool import ToolError
from kernelwright.tools.toolchain import Toolchain


@dataclass(frozen=True)
class Unit:
    """One source and the arguments that make an object of it, without the source's and the object's own names."""

    source: str
    compiler: Path
    arguments: tuple[str, ...]
    capabilities: tuple[Capability, ...] = ()
    generated: bool = False


@dataclass(frozen=True)
class Plan:
    """All that makes one shared library. `include_roots` must be readable where the compilers run."""

    target: Target
    units: tuple[Unit, ...]
    link: tuple[str, ...]
    stubs: tuple[str, ...]
    output: str
    include_roots: tuple[Path, ...]
    skipped: tuple[str, ...] = ()
    capabilities: tuple[Capability, ...] = field(default=())


def make(project: Project, target: Target, generated: Path, name: str = "") -> Plan:
    """The plan of one variant. `generated` is the folder that will hold the files that nobody writes by hand.

    `name` is the real namespace, for a target whose objects cannot be renamed later.
    """
    toolchain = target.toolchain
    components = [c for c in project.build.components if c.backend == target.backend]
    shared = Shared.of(project, target, toolchain, generated)
    nvcc = toolchain.nvcc.version if toolchain.nvcc else ""
    linked = any(target.wanted and gpu_archs.covers(target.wanted, c.cuda_capabilities, nvcc) for c in components)
    parts: list[Part] = []
    skipped: list[str] = []
    for component in components:
        more, reasons = of_component(project, component, target, linked)
        parts += more
        skipped += reasons
    if components and not parts and skipped:
        # The binding alone would link, and then miss every function at the import.
        raise ToolError(
            "toolchain_missing",
            f"Nothing of the project is for this nvcc: {'; '.join(skipped)}.",
            "Install such a toolkit and set CUDA_HOME, or change cuda-minver.",
        )
    units = [_unit(part, toolchain, shared) for part in merged([*parts, *of_binding(project, target)])]
    units = _named(units, project, target, name) if name else units
    if not units:
        raise ToolError(
            "bad_argument",
            f"build.toml names nothing to compile for {target.backend}.",
            f"Add a [kernel.…] table with backend = {target.backend!r}, or remove {target.backend!r} from backends.",
        )
    gxx = toolchain.need_gxx()
    standard = "-std=c++20" if gxx.numbers >= (11, 0) else "-std=c++17"
    units.append(Unit("old_systems.cpp", gxx.path, ("-O2", standard, "-fPIC"), generated=True))
    capabilities = tuple(dict.fromkeys(c for unit in units for c in unit.capabilities))
    return Plan(
        target=target,
        units=tuple(units),
        link=link_arguments(target, toolchain),
        stubs=stubs(target, toolchain),
        output=namespace(project, target.backend) + (".so" if target.framework == "tvm-ffi" else ".abi3.so"),
        include_roots=shared.roots,
        skipped=tuple(dict.fromkeys(skipped)),
        capabilities=capabilities,
    )


def _unit(part: Part, toolchain: Toolchain, shared: Shared) -> Unit:
    """The command that compiles `part`."""
    if part.source.endswith(CUDA_SUFFIXES):
        return _cuda_unit(part, toolchain, shared)
    compile_flags = tuple(flag for flag in part.cxx_flags if not flag.startswith("-l"))
    arguments = (*shared.cxx, *shared.defines, *compile_flags, *part.include, *shared.includes)
    return Unit(part.source, toolchain.need_gxx().path, arguments)


def _cuda_unit(part: Part, toolchain: Toolchain, shared: Shared) -> Unit:
    # nvcc takes one standard and one optimisation level; the project's own wins.
    own = {key for key in ("-std", "-O") if any(re.match(f"-?{key}", flag) for flag in part.cuda_flags)}
    common = [flag for flag in shared.cuda if not any(flag.startswith(key) for key in own)]
    gencode = [flag for capability in part.capabilities for flag in capability.gencode()]
    threads = [f"--threads={min(len(part.capabilities), 4)}"] if len(part.capabilities) > 1 else []
    threads = [] if any("threads" in flag for flag in part.cuda_flags) else threads
    arguments = (*common, *threads, *gencode, *shared.defines, *part.cuda_flags, *part.include, *shared.includes)
    return Unit(part.source, toolchain.need_nvcc().path, arguments, part.capabilities)


def _named(units: Sequence[Unit], project: Project, target: Target, name: str) -> list[Unit]:
    """`units`, those that use the namespace with the real one: an edit of the binding leaves the kernels as they are."""
    using = {file for file, _ in project.files if b"TORCH_EXTENSION_NAME" in (project.path / file).read_bytes()}
    using |= set(project.build.binding.sources)
    anywhere = any(PurePosixPath(file).suffix.startswith((".h", ".cuh", ".inc", ".inl")) for file in using)
    placeholder = namespace(project, target.backend)
    return [
        replace(unit, arguments=tuple(argument.replace(placeholder, name) for argument in unit.arguments))
        if anywhere or str(PurePosixPath(unit.source)) in using
        else unit
        for unit in units
    ]
