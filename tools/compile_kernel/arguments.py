"""Arguments that all compiles of a target have in common, and those of its link: what torch, tvm-ffi and CUDA want."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kernelwright.tools.compile_kernel import dependencies
from kernelwright.tools.compile_kernel.parts import include_flags
from kernelwright.tools.compile_kernel.target import Target, namespace
from kernelwright.tools.project import Project
from kernelwright.tools.toolchain import Toolchain, version_numbers


@dataclass(frozen=True)
class Shared:
    """Arguments that all units of a target have in common."""

    cxx: tuple[str, ...]
    cuda: tuple[str, ...]
    defines: tuple[str, ...]
    includes: tuple[str, ...]
    roots: tuple[Path, ...]

    @classmethod
    def of(cls, project: Project, target: Target, toolchain: Toolchain, generated: Path) -> Shared:
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
        own = include_flags(project, ["csrc"]) if target.framework == "torch" and (project.path / "csrc").is_dir() else ()
        return cls(
            cxx=("-O3", "-DNDEBUG", f"-std={standard}", *host, "-fdiagnostics-color=never", "-fmax-errors=20"),
            cuda=(*cuda, "--resource-usage", f"-ccbin={toolchain.need_gxx().path}"),
            defines=tuple(defines),
            # As system headers: what is wrong in them is not the author's to mend, and is not reported.
            includes=(*own, *(word for place in dict.fromkeys(places) for word in ("-isystem", str(place)))),
            roots=tuple(dict.fromkeys(places)),
        )


def _nameless(places: Sequence[Path]) -> tuple[str, ...]:
    """Flags by which the `__FILE__` of torch's headers does not tell where torch lies on this host."""
    torch = next((place for place in places if place.parts[-2:] == ("torch", "include")), None)
    return (f"-fmacro-prefix-map={torch.parent.parent}/=",) if torch else ()


def stubs(target: Target, toolchain: Toolchain) -> tuple[str, ...]:
    """Sonames that the binary must name although this host may not have the library: an empty one stands in at the link."""
    if target.framework == "tvm-ffi":
        return ()
    names = ["libtorch.so", "libtorch_cpu.so", "libc10.so"]
    if target.backend == "cuda":
        names += ["libtorch_cuda.so"] if target.stable_abi else ["libtorch_cuda.so", "libc10_cuda.so"]
    return tuple(names[:1] + names[3:]) if target.stable_abi else tuple(names)


def link_arguments(target: Target, toolchain: Toolchain) -> tuple[str, ...]:
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
