"""What the `depends` of a build.toml stands for on this host: folders of headers, and libraries to link."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from kernelwright.tools.tool import ToolError
from kernelwright.tools.toolchain import Toolchain, version_numbers


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


# Wheels that hold CUTLASS's headers, by the version that a name of kernel-builder stands for: the same one, or the next newer.
# NVIDIA's own go from 3.3 to 4.2, and what is written for 2.10 does not compile with 3.3.
_CUTLASS_WHEELS = {
    "3_5": "nvidia-cutlass==3.5.1",
    "3_6": "nvidia-cutlass==3.6.0",
    "3_8": "nvidia-cutlass==3.8.0",
    "3_9": "nvidia-cutlass==4.2.0",
    "4_0": "nvidia-cutlass==4.2.0",
    "4_4": "flashinfer-python==0.7.4",
    "4_5": "flashinfer-python==0.7.4",
}
# Where those wheels have them, below the folder that they are installed in.
_CUTLASS_IN_WHEELS = ("cutlass_library/source", "flashinfer/data/cutlass")


def _cutlass(name: str, toolchain: Toolchain) -> Dependency:
    """CUTLASS's headers: `CUTLASS_SRC_DIR`, as kernel-builder has it, a wheel put down for this name, or host_python's."""
    short = name.removeprefix("cutlass_")
    own = toolchain.extras / name
    given = os.environ.get("CUTLASS_SRC_DIR")
    for place in [*([Path(given)] if given else []), *(own / part for part in _CUTLASS_IN_WHEELS)]:
        if (place / "include" / "cutlass" / "cutlass.h").is_file():
            return _cutlass_at(place)
    beside = [place / part for place in toolchain.python.paths for part in _CUTLASS_IN_WHEELS]
    asked = version_numbers(short.replace("_", "."))
    for place in beside:
        found = _cutlass_version(place)
        if found >= asked and (asked[0] > 2 or found[0] == asked[0]):
            return _cutlass_at(place)
    wheel = _CUTLASS_WHEELS.get(short)
    checkout = "set CUTLASS_SRC_DIR to a checkout of github.com/NVIDIA/cutlass"
    unfit = next((found for found in map(_cutlass_version, beside) if found), ())
    raise MissingError(
        "toolchain_missing",
        f"The headers of CUTLASS {short.replace('_', '.')} are not installed"
        + (f", those of {'.'.join(map(str, unfit))} in host_python are not what it is written for." if unfit else "."),
        f"`{toolchain.host_python} -m pip install --no-deps --target {own} {wheel}` brings them. Or {checkout}."
        if wheel
        else f"No wheel has them: {checkout} at that version.",
    )


def _cutlass_at(place: Path) -> Dependency:
    return Dependency(include=(place / "include", place / "tools" / "util" / "include"))


def _cutlass_version(place: Path) -> tuple[int, ...]:
    """Major and minor version of the checkout or copy of CUTLASS in `place`; empty if there is none."""
    headers = [place / "include" / "cutlass" / name for name in ("version.h", "cutlass.h")]
    text = "".join(path.read_text(encoding="utf-8", errors="replace") for path in headers if path.is_file())
    return tuple(int(number) for number in re.findall(r"#define CUTLASS_(?:MAJOR|MINOR)\s+(\d+)", text))


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
