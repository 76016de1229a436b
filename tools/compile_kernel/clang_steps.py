"""Compiles a `.cu` with clang as nvcc's arguments say: ``clang_steps.py TOOLKIT/bin/clang++ ARGUMENTS``.

For CUDA 12 there is no nvcc to be had from wheels, but its headers, its ptxas and its device library are: clang makes PTX of
the device code, that ptxas machine code of the PTX, and clang compiles the host code around both, one program for each
architecture at a time. Standard library alone, started by path, in the box; what
it says reads as nvcc's words do.
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

# About nvcc's own passes, its messages, or how its container is packed: nothing that the code depends on.
_NVCC_ONLY = re.compile(
    r"--?(expt-[\w-]+|extended-lambda|resource-usage|res-usage|keep|keep-dir=.*|ccbin=.*|compiler-bindir=.*|threads.*|t=?\d+"
    r"|split-compile.*|restrict|source-in-ptx|lineinfo|generate-line-info|no-compress|compress-mode=.*|Xfatbin=.*"
    r"|fatbin-options=.*|Xcudafe=.*|cudafe-options=.*|(nv-)?diag[-_].*|ftemplate-.*|static-global-template-stub=.*"
    r"|Werror.*|disable-warnings|brief-diagnostics.*|display-error-number|relocatable-device-code=false|rdc=false"
    r"|extra-device-vectorization|prec-(div|sqrt)=true|ftz=false|fmad=true|fno-gnu-unique)"
)
_FLUSH = "-fgpu-flush-denormals-to-zero"
# clang's spelling of what changes the arithmetic. 1 is what nvcc calls imprecise, a division to 2 ulp; 0 its fast division.
_DEVICE = {
    "use_fast_math": (
        *(_FLUSH, "-fgpu-approx-transcendentals"),
        *("-mllvm", "-nvptx-prec-divf32=0", "-mllvm", "-nvptx-prec-sqrtf32=0"),
    ),
    "ftz=true": (_FLUSH,),
    "prec-div=false": ("-mllvm", "-nvptx-prec-divf32=1"),
    "prec-sqrt=false": ("-mllvm", "-nvptx-prec-sqrtf32=0"),
    "fmad=false": ("-ffp-contract=off",),
}
_QUIET = ("-Wno-unknown-cuda-version", "-Wno-unknown-warning-option", "-fno-color-diagnostics")
_ELF, _PTX = 2, 1
# 64 bits, Linux; and the bit of an architecture with the suffix `a`.
_FLAGS, _EXACT = 0x11, 0x100000


@dataclass
class Order:
    """nvcc's arguments, sorted by who needs them. `codes` maps `90a` to what is embedded of it: `sm`, `compute` or both."""

    source: str
    object: Path
    depfile: Path
    keep: Path
    common: list[str] = field(default_factory=list)
    host: list[str] = field(default_factory=list)
    device: list[str] = field(default_factory=list)
    ptxas: list[str] = field(default_factory=list)
    codes: dict[str, set[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Said:
    """What one program said and how it ended."""

    code: int
    text: bytes


def understood(arguments: Sequence[str]) -> Order:
    """nvcc's `arguments`, as `compilers` writes them: values joined to their flags by `=`, but for the four after a dash."""
    values = {flag: arguments[arguments.index(flag) + 1] for flag in ("-c", "-o", "-MF")}
    keep = next(word.partition("=")[2] for word in arguments if word.startswith("--keep-dir="))
    order = Order(values["-c"], Path(values["-o"]), Path(values["-MF"]), Path(keep))
    words = iter(arguments)
    for word in words:
        if word in values:
            next(words)
        elif word == "-isystem":
            order.common += [word, next(words)]
        elif word != "-MD":
            _sort(order, word)
    return order


def _sort(order: Order, word: str) -> None:
    flag, _, value = word.partition("=")
    name = word.lstrip("-")
    if gencode := re.fullmatch(r"-gencode=arch=compute_\w+,code=(sm|compute)_(\w+)", word):
        order.codes.setdefault(gencode[2], set()).add(gencode[1])
    elif flag in {"-Xcompiler", "--compiler-options"}:
        order.host += [part for part in value.split(",") if not _NVCC_ONLY.fullmatch(part)]
    elif flag in {"-Xptxas", "--ptxas-options"}:
        order.ptxas += value.split(",")
    elif flag in {"-maxrregcount", "--maxrregcount"}:
        order.ptxas.append(f"--maxrregcount={value}")
    elif name in _DEVICE:
        order.device += _DEVICE[name]
    elif flag in {"-default-stream", "--default-stream"}:
        order.common.append(f"-fgpu-default-stream={value}")
    elif word in {"-no-exceptions", "--no-exceptions"}:
        order.common.append("-fno-exceptions")
    elif not _NVCC_ONLY.fullmatch(word):
        order.common.append(re.sub("^--std=", "-std=", word))


def container(images: Sequence[tuple[str, int, bytes]]) -> bytes:
    """The images, each an architecture (`90a`), a kind and its bytes, packed as NVIDIA's `fatbinary` does uncompressed."""
    packed = b""
    for architecture, kind, data in images:
        number = int(architecture.rstrip("af"))
        flags = _FLAGS | (_EXACT if architecture.endswith("a") else 0)
        if kind == _PTX:
            data += b"\0"
        data += b"\0" * (-len(data) % 8)
        # For machine code the version of its ABI, which is the ninth byte of any ELF file; for PTX that of the language.
        major, minor = (1, data[8]) if kind == _ELF else _ptx_version(data)
        size, options = (64, 0) if kind == _ELF else (80, 64)
        head = struct.pack(
            "<HHIQIIHHIIIQQQ", kind, 0x0101, size, len(data), 0, options, minor, major, number, 0, 0, flags, 0, 0
        )
        packed += head + (b"" if kind == _ELF else struct.pack("<QQ", 72, 0)) + data
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(packed)) + packed


def _ptx_version(text: bytes) -> tuple[int, int]:
    found = re.search(rb"^\.version (\d+)\.(\d+)", text, re.MULTILINE)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def compile_device(compiler: Path, order: Order, architecture: str) -> Said:
    """PTX and machine code of one architecture, `sm_90a.ptx` and `sm_90a.cubin` in the folder that is kept."""
    ptx = order.keep / f"sm_{architecture}.ptx"
    front = [*_clang(compiler, order), "--cuda-device-only", f"--cuda-gpu-arch=sm_{architecture}", *order.device]
    said = _run([*front, "-S", "-MD", "-MF", str(ptx.with_suffix(".d")), "-MT", "x", "-o", str(ptx), order.source])
    if said.code:
        return said
    back = [str(compiler.with_name("ptxas")), "-m64", "-O3", "-v", f"--gpu-name=sm_{architecture}", *order.ptxas]
    machine = _run([*back, str(ptx), "-o", str(ptx.with_suffix(".cubin"))])
    return Said(machine.code, said.text + machine.text)


def compile_host(compiler: Path, order: Order, fatbin: Path) -> Said:
    """The object: the host code, which registers what is in `fatbin`."""
    front = [*_clang(compiler, order), "--cuda-host-only", "-Xclang", "-fcuda-include-gpubinary", "-Xclang", str(fatbin)]
    return _run([*front, *order.host, "-MD", "-MF", str(order.keep / "host.d"), "-c", order.source, "-o", str(order.object)])


def _clang(compiler: Path, order: Order) -> list[str]:
    # Both passes must give the same names to what only this source sees.
    unit = hashlib.sha256(order.source.encode()).hexdigest()[:16]
    home = compiler.parent.parent
    return [str(compiler), *_QUIET, "-x", "cuda", f"--cuda-path={home}", f"-cuid={unit}", *order.common]


def _run(argv: Sequence[str]) -> Said:
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False)
    return Said(done.returncode if done.returncode >= 0 else 1, done.stdout)


def write_dependencies(order: Order) -> None:
    """One rule for all passes: what only device code includes changes the object too."""
    names: dict[str, None] = {}
    for path in sorted(order.keep.glob("*.d")):
        _, _, listed = path.read_text(errors="replace").replace("\\\n", " ").partition(": ")
        names |= dict.fromkeys(re.findall(r"(?:\\.|\S)+", listed))
    order.depfile.write_text(f"{order.object} : " + " \\\n  ".join(names) + "\n")


def main(arguments: list[str]) -> int:
    """Compile as `arguments`, a compiler and nvcc's arguments with ``-c``, ``-o``, ``-MF`` and ``--keep-dir``, say."""
    compiler, order = Path(arguments[0]), understood(arguments[1:])
    order.keep.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        done = list(pool.map(lambda architecture: compile_device(compiler, order, architecture), order.codes))
    failed = next((said for said in done if said.code), None)
    sys.stdout.buffer.write(failed.text if failed else b"".join(said.text for said in done))
    if failed:
        return failed.code
    images: list[tuple[str, int, bytes]] = []
    for architecture, kinds in order.codes.items():
        base = order.keep / f"sm_{architecture}.ptx"
        images += [(architecture, _PTX, base.read_bytes())] if "compute" in kinds else []
        images += [(architecture, _ELF, base.with_suffix(".cubin").read_bytes())] if "sm" in kinds else []
    fatbin = order.keep / "embedded.fatbin"
    fatbin.write_bytes(container(images))
    said = compile_host(compiler, order, fatbin)
    sys.stdout.buffer.write(said.text)
    if said.code == 0:
        write_dependencies(order)
    return said.code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
