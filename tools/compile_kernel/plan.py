"""From a project and a target to commands: which units are compiled with which arguments, and how they are linked."""

from __future__ import annotations

import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from kernelwright.tools.build_toml import Component, Framework
from kernelwright.tools.compile_kernel import dependencies, flags, gpu_archs
from kernelwright.tools.compile_kernel.gpu_archs import Capability, Wanted
from kernelwright.tools.project import Project
from kernelwright.tools.tool import ToolError
from kernelwright.tools.toolchain import Toolchain, version_numbers

BuildBackend = Literal["cuda", "cpu"]
Mode = Literal["dev", "release"]
CUDA_SUFFIXES = (".cu",)
CXX_SUFFIXES = (".cpp", ".cc", ".cxx", ".c++")
# Stands for the seven digits that tell one build's ops from another's. Objects are compiled with it and get the real digits
# before the link, so that an edit of one source leaves the objects of all others as they are. The full ABI copies the name into
# a std::string, and compilers cut it into pieces for that: there the sources that use the name are compiled with the real one.
PLACEHOLDER = "0" * 7


@dataclass(frozen=True)
class Target:
    """One variant to build. `stable_abi` is the torch that its ABI goes back to, empty for the full C++ ABI."""

    backend: str
    framework: Framework
    variant: str
    stable_abi: str
    wanted: Wanted | None
    mode: Mode
    toolchain: Toolchain


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


def namespace(project: Project, backend: str, digits: str = PLACEHOLDER) -> str:
    """Namespace of the ops, which is also the module's name: `_rmsnorm_cuda_3fa2c01`."""
    return f"_{project.python_name}_{backend}_{digits}"


def capabilities_of(declared: Sequence[str]) -> tuple[Capability, ...]:
    """The capabilities that a project without compiled parts declares."""
    return tuple(Capability.parse(text) for text in declared)


def variant_name(framework: str, stable_abi: str, version: str, backend: str, cuda: str = "") -> str:
    """Name of a variant's folder, as kernel-builder spells it; `version` is torch's or tvm-ffi's, `cuda` like `13.0`."""
    compute = "cu{}{}".format(*version_numbers(cuda)) if backend == "cuda" else backend
    place = f"{compute}-{'aarch64' if platform.machine() in {'arm64', 'aarch64'} else 'x86_64'}-linux"
    if stable_abi:
        return "torch-stable-abi{}{}-".format(*version_numbers(stable_abi)) + place
    digits = "{}{}".format(*version_numbers(version))
    return f"tvm-ffi{digits}-{place}" if framework == "tvm-ffi" else f"torch{digits}-cxx11-{place}"


def renamed_later(target: Target) -> bool:
    """Whether objects compiled with the placeholder can be given the real namespace."""
    return bool(target.stable_abi) or target.framework != "torch"


def make(project: Project, target: Target, generated: Path, name: str = "") -> Plan:
    """The plan of one variant. `generated` is the folder that will hold the files that nobody writes by hand.

    `name` is the real namespace, for a target whose objects cannot be renamed later.
    """
    toolchain = target.toolchain
    components = [c for c in project.build.components if c.backend == target.backend]
    shared = _Shared.of(project, target, toolchain, generated)
    nvcc = toolchain.nvcc.version if toolchain.nvcc else ""
    linked = any(target.wanted and gpu_archs.covers(target.wanted, c.cuda_capabilities, nvcc) for c in components)
    parts: list[_Part] = []
    skipped: list[str] = []
    for component in components:
        more, reasons = _component_parts(project, component, target, linked)
        parts += more
        skipped += reasons
    if components and not parts and skipped:
        # The binding alone would link, and then miss every function at the import.
        raise ToolError(
            "toolchain_missing",
            f"Nothing of the project is for this nvcc: {'; '.join(skipped)}.",
            "Install such a toolkit and set CUDA_HOME, or change cuda-minver.",
        )
    units = [part.unit(toolchain, shared) for part in _merged([*parts, *_binding_parts(project, target)])]
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
        link=_link_arguments(target, toolchain),
        stubs=_stubs(target, toolchain),
        output=namespace(project, target.backend) + (".so" if target.framework == "tvm-ffi" else ".abi3.so"),
        include_roots=shared.roots,
        skipped=tuple(dict.fromkeys(skipped)),
        capabilities=capabilities,
    )


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


@dataclass(frozen=True)
class _Shared:
    """Arguments that all units of a target have in common."""

    cxx: tuple[str, ...]
    cuda: tuple[str, ...]
    defines: tuple[str, ...]
    includes: tuple[str, ...]
    roots: tuple[Path, ...]

    @classmethod
    def of(cls, project: Project, target: Target, toolchain: Toolchain, generated: Path) -> _Shared:
        defines = [f"-D{target.backend.upper()}_KERNEL"]
        places = [generated / "include"]
        if target.framework == "tvm-ffi":
            defines.append(f"-DTVM_FFI_EXTENSION_NAME={namespace(project, target.backend)}")
            places += dependencies.tvm_ffi(toolchain).include
            standard = "c++17"
        else:
            torch = toolchain.need_torch()
            defines += [f"-DTORCH_EXTENSION_NAME={namespace(project, target.backend)}", "-DPy_LIMITED_API=0x03090000"]
            places += [*torch.include_dirs, toolchain.python.include]
            standard = "c++20" if torch.numbers >= (2, 12) else "c++17"
        if target.stable_abi:
            major, minor = version_numbers(target.stable_abi)
            defines.append(f"-DTORCH_TARGET_VERSION={(major << 56) | (minor << 48):#018x}ULL")
        if target.backend == "cuda":
            defines += ["-DUSE_CUDA=1"]
            home = toolchain.cuda_home
            places += [home / "include", home / "include" / "cccl"] if home else []
            places += [*dependencies.cuda_libraries(toolchain), generated / "libraries"]
        host = ("-fPIC", "-fno-gnu-unique", "-fvisibility=hidden", *_nameless(places))
        # As torch's own CMake files pass them (Caffe2/public/cuda.cmake), which kernel-builder includes.
        experimental = ("--expt-relaxed-constexpr", "--expt-extended-lambda")
        cuda = ("-O3", f"-std={standard}", "-DENABLE_FP8", *experimental, "-Xcompiler=" + ",".join(host))
        depends = dict.fromkeys(d for c in project.build.components if c.backend == target.backend for d in c.depends)
        for name in depends:
            places[:0] = dependencies.find(name, toolchain).include
        # kernel-builder looks there for every source of an extension of torch, whatever `include` says.
        own = _include(project, ["csrc"]) if target.framework == "torch" and (project.path / "csrc").is_dir() else ()
        return cls(
            cxx=("-O3", "-DNDEBUG", f"-std={standard}", *host, "-fdiagnostics-color=never", "-fmax-errors=20"),
            cuda=(*cuda, "--resource-usage", f"-ccbin={toolchain.need_gxx().path}"),
            defines=tuple(defines),
            # As system headers: what is wrong in them is not the author's to mend, and is not reported.
            includes=(*own, *(word for place in dict.fromkeys(places) for word in ("-isystem", str(place)))),
            roots=tuple(dict.fromkeys(places)),
        )


@dataclass(frozen=True)
class _Part:
    """A source with what one table of build.toml says of it."""

    source: str
    capabilities: tuple[Capability, ...]
    cuda_flags: tuple[str, ...]
    cxx_flags: tuple[str, ...]
    include: tuple[str, ...]

    def joined(self, other: _Part) -> _Part:
        """This source with what both tables say of it, as CMake has it: each source is compiled once."""
        return _Part(
            self.source,
            tuple(dict.fromkeys(self.capabilities + other.capabilities)),
            tuple(dict.fromkeys(self.cuda_flags + other.cuda_flags)),
            tuple(dict.fromkeys(self.cxx_flags + other.cxx_flags)),
            tuple(dict.fromkeys(self.include + other.include)),
        )

    def unit(self, toolchain: Toolchain, shared: _Shared) -> Unit:
        """The command that compiles it."""
        if self.source.endswith(CUDA_SUFFIXES):
            return _cuda_unit(self, toolchain, shared)
        compile_flags = tuple(flag for flag in self.cxx_flags if not flag.startswith("-l"))
        arguments = (*shared.cxx, *shared.defines, *compile_flags, *self.include, *shared.includes)
        return Unit(self.source, toolchain.need_gxx().path, arguments)


def _merged(parts: Sequence[_Part]) -> list[_Part]:
    found: dict[PurePosixPath, _Part] = {}
    for part in parts:
        known = found.get(PurePosixPath(part.source))
        found[PurePosixPath(part.source)] = known.joined(part) if known else part
    return list(found.values())


def _component_parts(project: Project, component: Component, target: Target, linked: bool) -> tuple[list[_Part], list[str]]:
    where = f"[kernel.{component.name}]"
    cxx_flags = flags.checked_cxx(component.cxx_flags, where)
    cuda_flags = flags.checked_cuda(component.cuda_flags, where)
    include = _include(project, component.include)
    capabilities: tuple[Capability, ...] = ()
    skipped: list[str] = []
    if target.backend == "cuda" and target.wanted:
        nvcc = target.toolchain.need_nvcc()
        if component.cuda_minver and nvcc.numbers < version_numbers(component.cuda_minver):
            return [], [f"{where}: needs CUDA {component.cuda_minver}, this nvcc is {nvcc.version}"]
        declared = component.cuda_capabilities
        capabilities, skipped = gpu_archs.chosen(target.wanted, declared, nvcc.version, where, target.mode, linked=linked)
    sources = [source for source in component.sources if source.endswith((*CUDA_SUFFIXES, *CXX_SUFFIXES))]
    return [_Part(source, capabilities, cuda_flags, cxx_flags, include) for source in sources], skipped


def _binding_parts(project: Project, target: Target) -> list[_Part]:
    binding = project.build.binding
    cxx_flags = flags.checked_cxx(binding.cxx_flags, f"[{binding.framework}]")
    # What is written against the stable ABI is glue: -O3 buys nothing there and costs a fifth of the compile.
    flags_of_glue = ("-O2", *cxx_flags) if target.stable_abi else cxx_flags
    include = _include(project, binding.include)
    capabilities = target.wanted.capabilities if target.wanted else ()
    able = (*CXX_SUFFIXES, *(CUDA_SUFFIXES if target.backend == "cuda" else ()))
    return [_Part(s, capabilities, (), flags_of_glue, include) for s in binding.sources if s.endswith(able)]


def _include(project: Project, folders: Sequence[str]) -> tuple[str, ...]:
    """Relative, because compilers run in the project's folder: the same sources give the same objects wherever they lie."""
    return tuple(f"-I{project.resolve(folder, 'include').relative_to(project.path)}" for folder in folders)


def _cuda_unit(part: _Part, toolchain: Toolchain, shared: _Shared) -> Unit:
    # nvcc takes one standard and one optimisation level; the project's own wins.
    own = {key for key in ("-std", "-O") if any(re.match(f"-?{key}", flag) for flag in part.cuda_flags)}
    common = [flag for flag in shared.cuda if not any(flag.startswith(key) for key in own)]
    gencode = [flag for capability in part.capabilities for flag in capability.gencode()]
    threads = [f"--threads={min(len(part.capabilities), 4)}"] if len(part.capabilities) > 1 else []
    threads = [] if any("threads" in flag for flag in part.cuda_flags) else threads
    arguments = (*common, *threads, *gencode, *shared.defines, *part.cuda_flags, *part.include, *shared.includes)
    return Unit(part.source, toolchain.need_nvcc().path, arguments, part.capabilities)


def _nameless(places: Sequence[Path]) -> tuple[str, ...]:
    """Flags by which the `__FILE__` of torch's headers does not tell where torch lies on this host."""
    torch = next((place for place in places if place.parts[-2:] == ("torch", "include")), None)
    return (f"-fmacro-prefix-map={torch.parent.parent}/=",) if torch else ()


def _stubs(target: Target, toolchain: Toolchain) -> tuple[str, ...]:
    """Sonames that the binary must name although this host may not have the library: an empty one stands in at the link."""
    if target.framework == "tvm-ffi":
        return ()
    names = ["libtorch.so", "libtorch_cpu.so", "libc10.so"]
    if target.backend == "cuda":
        names += ["libtorch_cuda.so"] if target.stable_abi else ["libtorch_cuda.so", "libc10_cuda.so"]
    return tuple(names[:1] + names[3:]) if target.stable_abi else tuple(names)


def _link_arguments(target: Target, toolchain: Toolchain) -> tuple[str, ...]:
    libraries: list[str] = []
    if target.framework == "tvm-ffi":
        libraries += dependencies.tvm_ffi(toolchain).link
    if target.backend == "cuda":
        home = toolchain.cuda_home
        major = toolchain.need_nvcc().numbers[0]
        places = [f"-L{home / place}" for place in ("lib64", "lib") if home and (home / place).is_dir()]
        # The shared runtime: the static one needs a glibc newer than manylinux_2_28.
        libraries += [*places, f"-l:libcudart.so.{major}"]
    return ("-shared", "-Wl,-z,noexecstack", "-Wl,--no-as-needed", *libraries, "-Wl,--as-needed", "-lm")
