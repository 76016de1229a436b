"""One variant to build: for which backend, ABI and GPUs, what its folder is called, and what its ops are called."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Literal

from kernelwright.tools.build_toml import Framework
from kernelwright.tools.compile_kernel.gpu_archs import Wanted
from kernelwright.tools.project import Project
from kernelwright.tools.toolchain import Toolchain, version_numbers

BuildBackend = Literal["cuda", "cpu"]
Mode = Literal["dev", "release"]
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


def namespace(project: Project, backend: str, digits: str = PLACEHOLDER) -> str:
    """Namespace of the ops, which is also the module's name: `_rmsnorm_cuda_3fa2c01`."""
    return f"_{project.python_name}_{backend}_{digits}"


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
