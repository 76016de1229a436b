"""What build.toml says of each source that is compiled: its GPUs, its flags, its folders of headers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from kernelwright.tools.build_toml import Component
from kernelwright.tools.compile_kernel import flags, gpu_archs
from kernelwright.tools.compile_kernel.gpu_archs import Capability
from kernelwright.tools.compile_kernel.target import Target
from kernelwright.tools.project import Project
from kernelwright.tools.toolchain import version_numbers

CUDA_SUFFIXES = (".cu",)
CXX_SUFFIXES = (".cpp", ".cc", ".cxx", ".c++")


@dataclass(frozen=True)
class Part:
    """A source with what one table of build.toml says of it."""

    source: str
    capabilities: tuple[Capability, ...]
    cuda_flags: tuple[str, ...]
    cxx_flags: tuple[str, ...]
    include: tuple[str, ...]

    def joined(self, other: Part) -> Part:
        """This source with what both tables say of it, as CMake has it: each source is compiled once."""
        return Part(
            self.source,
            tuple(dict.fromkeys(self.capabilities + other.capabilities)),
            tuple(dict.fromkeys(self.cuda_flags + other.cuda_flags)),
            tuple(dict.fromkeys(self.cxx_flags + other.cxx_flags)),
            tuple(dict.fromkeys(self.include + other.include)),
        )


def of_component(project: Project, component: Component, target: Target, linked: bool) -> tuple[list[Part], list[str]]:
    where = f"[kernel.{component.name}]"
    cxx_flags = flags.checked_cxx(component.cxx_flags, where)
    cuda_flags = flags.checked_cuda(component.cuda_flags, where)
    include = include_flags(project, component.include)
    capabilities: tuple[Capability, ...] = ()
    skipped: list[str] = []
    if target.backend == "cuda" and target.wanted:
        nvcc = target.toolchain.need_nvcc()
        if component.cuda_minver and nvcc.numbers < version_numbers(component.cuda_minver):
            return [], [f"{where}: needs CUDA {component.cuda_minver}, this nvcc is {nvcc.version}"]
        declared = component.cuda_capabilities
        capabilities, skipped = gpu_archs.chosen(target.wanted, declared, nvcc.version, where, target.mode, linked=linked)
    sources = [source for source in component.sources if source.endswith((*CUDA_SUFFIXES, *CXX_SUFFIXES))]
    return [Part(source, capabilities, cuda_flags, cxx_flags, include) for source in sources], skipped


def of_binding(project: Project, target: Target) -> list[Part]:
    binding = project.build.binding
    cxx_flags = flags.checked_cxx(binding.cxx_flags, f"[{binding.framework}]")
    # What is written against the stable ABI is glue: -O3 buys nothing there and costs a fifth of the compile.
    flags_of_glue = ("-O2", *cxx_flags) if target.stable_abi else cxx_flags
    include = include_flags(project, binding.include)
    capabilities = target.wanted.capabilities if target.wanted else ()
    able = (*CXX_SUFFIXES, *(CUDA_SUFFIXES if target.backend == "cuda" else ()))
    return [Part(s, capabilities, (), flags_of_glue, include) for s in binding.sources if s.endswith(able)]


def merged(parts: Sequence[Part]) -> list[Part]:
    found: dict[PurePosixPath, Part] = {}
    for part in parts:
        known = found.get(PurePosixPath(part.source))
        found[PurePosixPath(part.source)] = known.joined(part) if known else part
    return list(found.values())


def include_flags(project: Project, folders: Sequence[str]) -> tuple[str, ...]:
    """Relative, because compilers run in the project's folder: the same sources give the same objects wherever they lie."""
    return tuple(f"-I{project.resolve(folder, 'include').relative_to(project.path)}" for folder in folders)
