"""What the `depends` of a build.toml stands for on this host: folders of headers, and libraries to link."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from kernelwright.tools.tool import ToolError
from kernelwright.tools.toolchain import Toolchain


@dataclass(frozen=True)
class Dependency:
    """Folders of headers, in order, and arguments for the link."""

    include: tuple[Path, ...] = ()
    link: tuple[str, ...] = ()


class MissingError(ToolError):
    """A dependency that this host lacks: other backends can still be built."""


def cuda_libraries(toolchain: Toolchain) -> tuple[Path, ...]:
    """Folders of headers of cuBLAS and its like in wheels of `host_python`, where torch for CUDA brings them."""
    return tuple(include for place in toolchain.python.paths for include in sorted(place.glob("nvidia/*/include")))


def find(name: str, toolchain: Toolchain) -> Dependency:
    """The dependency `name` of a ``depends`` list; raises MissingError with the command that brings it."""
    if name == "torch":
        return Dependency()
    if name.startswith("cutlass_"):
        return _cutlass(name, toolchain)
    raise MissingError(
        "toolchain_missing", f"The dependency {name!r} is for another backend than cuda and cpu.", "Remove it here."
    )


# Wheels of NVIDIA's headers, by the version that each name of kernel-builder stands for: the same one, or the next newer.
_CUTLASS_WHEELS = {"3_5": "3.5.1", "3_6": "3.6.0", "3_8": "3.8.0", "3_9": "4.2.0", "4_0": "4.2.0"}


def _cutlass(name: str, toolchain: Toolchain) -> Dependency:
    """CUTLASS's headers: `CUTLASS_SRC_DIR`, as kernel-builder has it, a wheel put down for this name, or host_python's."""
    own = toolchain.extras / name
    installed = toolchain.module("cutlass_library")
    given = os.environ.get("CUTLASS_SRC_DIR")
    places = [Path(given)] if given else []
    places += [own / "cutlass_library" / "source", *([installed / "source"] if installed else [])]
    for place in places:
        if (place / "include" / "cutlass" / "cutlass.h").is_file():
            return Dependency(include=(place / "include", place / "tools" / "util" / "include"))
    short = name.removeprefix("cutlass_")
    wheel = _CUTLASS_WHEELS.get(short)
    raise MissingError(
        "toolchain_missing",
        f"The headers of CUTLASS {short.replace('_', '.')} are not installed.",
        f"{toolchain.host_python} -m pip install --no-deps --target {own} nvidia-cutlass=={wheel}"
        if wheel
        else "There is no wheel of them: set CUTLASS_SRC_DIR to a checkout of github.com/NVIDIA/cutlass.",
    )


def tvm_ffi(toolchain: Toolchain) -> Dependency:
    """Headers and library of tvm-ffi in `host_python`; raises MissingError with the command that brings them."""
    folder = toolchain.module("tvm_ffi")
    if folder is None:
        raise MissingError(
            "toolchain_missing",
            "tvm-ffi is not installed in host_python.",
            f"{toolchain.host_python} -m pip install apache-tvm-ffi",
        )
    library = next((place for place in (folder / "lib", folder) if (place / "libtvm_ffi.so").is_file()), folder / "lib")
    return Dependency(include=(folder / "include",), link=(f"-L{library}", "-ltvm_ffi"))


def tvm_ffi_version(toolchain: Toolchain) -> str:
    """Version of the tvm-ffi in `host_python`, like `0.1.9`; raises MissingError if it has none."""
    tvm_ffi(toolchain)
    for place in toolchain.python.paths:
        for info in place.glob("apache_tvm_ffi-*.dist-info"):
            return info.name.removeprefix("apache_tvm_ffi-").removesuffix(".dist-info")
    raise MissingError("toolchain_missing", "tvm-ffi has no version.", f"{toolchain.host_python} -m pip install apache-tvm-ffi")
