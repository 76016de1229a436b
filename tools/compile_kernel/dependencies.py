"""What the `depends` of a build.toml stands for on this host: folders of headers, and libraries to link."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kernelwright.tools.tool import ToolError
from kernelwright.tools.toolchain import Toolchain


@dataclass(frozen=True)
class Dependency:
    """Folders of headers, in order, and arguments for the link."""

    include: tuple[Path, ...] = ()
    link: tuple[str, ...] = ()


class Missing(ToolError):
    """A dependency that this host lacks: other backends can still be built."""


def find(name: str, toolchain: Toolchain) -> Dependency:
    """The dependency `name` of a ``depends`` list; raises Missing with the command that brings it."""
    if name == "torch":
        return Dependency()
    if name.startswith("cutlass_"):
        return _cutlass(name, toolchain)
    raise Missing("toolchain_missing", f"The dependency {name!r} is for another backend than cuda and cpu.", "Remove it here.")


def _cutlass(name: str, toolchain: Toolchain) -> Dependency:
    found = toolchain.module("cutlass_library")
    source = found / "source" if found else None
    if source is None or not (source / "include" / "cutlass" / "cutlass.h").is_file():
        version = ".".join(name.removeprefix("cutlass_").split("_"))
        raise Missing(
            "toolchain_missing",
            f"The headers of CUTLASS {version} ({name}) are not installed.",
            f"{toolchain.host_python} -m pip install 'nvidia-cutlass=={version}.*'",
        )
    return Dependency(include=(source / "include", source / "tools" / "util" / "include"))


def tvm_ffi(toolchain: Toolchain) -> Dependency:
    """Headers and library of tvm-ffi in `host_python`; raises Missing with the command that brings them."""
    folder = toolchain.module("tvm_ffi")
    if folder is None:
        raise Missing(
            "toolchain_missing",
            "tvm-ffi is not installed in host_python.",
            f"{toolchain.host_python} -m pip install apache-tvm-ffi",
        )
    library = next((place for place in (folder / "lib", folder) if (place / "libtvm_ffi.so").is_file()), folder / "lib")
    return Dependency(include=(folder / "include",), link=(f"-L{library}", "-ltvm_ffi"))


def tvm_ffi_version(toolchain: Toolchain) -> str:
    """Version of the tvm-ffi in `host_python`, like `0.1.9`; raises Missing if it has none."""
    tvm_ffi(toolchain)
    for place in toolchain.python.paths:
        for info in place.glob("apache_tvm_ffi-*.dist-info"):
            return info.name.removeprefix("apache_tvm_ffi-").removesuffix(".dist-info")
    raise Missing("toolchain_missing", "tvm-ffi has no version.", f"{toolchain.host_python} -m pip install apache-tvm-ffi")
