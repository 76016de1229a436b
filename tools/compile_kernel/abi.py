"""Does the binary load elsewhere? Its dynamic symbols against manylinux_2_28, Python's stable ABI and torch's."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from kernelwright.tools.compile_kernel import elf
from kernelwright.tools.compile_kernel.contract import Abi

PYTHON_ABI = "3.9"
MANYLINUX = "manylinux_2_28"
# The newest symbol versions that manylinux_2_28 promises: AlmaLinux 8's glibc and libstdc++, as auditwheel's policy lists them.
_NEWEST = {
    "GLIBC": (2, 28),
    "GLIBCXX": (3, 4, 24),
    "CXXABI": (1, 3, 11),
    "GCC": (8, 0, 0),
}
_MAX_PROBLEMS = 8


def check(library: Path, *, torch_include: Path | None, stable_abi: str, python: bool) -> Abi:
    """What keeps `library` from loading elsewhere.

    `stable_abi` is the torch that it promises to load in (`2.9`), empty where it is built for one torch alone. `python` tells
    whether it is a Python module. `torch_floor` of the answer is the oldest torch that has every shim the library calls.
    """
    dynamic = elf.read(library)
    problems = _old_systems(dynamic) + _by_kernel_abi_check(library, python)
    floor = ""
    if stable_abi and torch_include:
        floor, more = _torch_floor(dynamic, torch_include, stable_abi)
        problems += more
    unique = list(dict.fromkeys(problems))
    rest = [f"and {len(unique) - _MAX_PROBLEMS} more"] if len(unique) > _MAX_PROBLEMS else []
    return Abi(ok=not unique, problems=unique[:_MAX_PROBLEMS] + rest, torch_floor=floor)


def _old_systems(dynamic: elf.Dynamic) -> list[str]:
    problems = []
    for symbol, version in dynamic.undefined.items():
        family, _, numbers = version.partition("_")
        allowed = _NEWEST.get(family)
        parts = tuple(int(n) for n in re.findall(r"\d+", numbers))
        if allowed and parts > allowed:
            problems.append(_newer(symbol, version))
    return problems


def _by_kernel_abi_check(library: Path, python: bool) -> list[str]:
    """The checker that kernel-builder uses. It reads the symbol table, which a stripped file lacks, hence ours beside it."""
    try:
        from kernel_abi_check import ObjectFile
    except ImportError:
        return ["kernel-abi-check is not installed: pip install 'kernelwright[host]'"]
    file = ObjectFile(str(library))
    problems = [_newer(p.name, f"{p.dep}_{p.version}") for p in file.check_manylinux(MANYLINUX)]
    if python:
        problems += [f"{p.name} is not in Python's stable ABI {PYTHON_ABI}" for p in file.check_python_abi(PYTHON_ABI)]
    return problems


def _newer(symbol: str, version: str) -> str:
    return f"{symbol} needs {version}, newer than {MANYLINUX}"


def _torch_floor(dynamic: elf.Dynamic, include: Path, promised: str) -> tuple[str, list[str]]:
    since = shims(include)
    floor, problems = (2, 9), []
    limit = tuple(int(n) for n in promised.split(".")[:2])
    for symbol in dynamic.undefined:
        if symbol in since:
            floor = max(floor, since[symbol])
            if since[symbol] > limit:
                problems.append(
                    f"{symbol} exists since torch {'.'.join(map(str, since[symbol]))}, the ABI promised is {promised}"
                )
        elif re.match(r"_ZN?K?(3c10|2at|5torch)", symbol):
            problems.append(f"{symbol} is not of torch's stable ABI")
    return ".".join(map(str, floor)), problems


@cache
def shims(include: Path) -> dict[str, tuple[int, int]]:
    """Every C function that torch's shim headers declare behind a version, with the torch that first had it."""
    found: dict[str, tuple[int, int]] = {}
    for header in ("stable/c/shim.h", "inductor/aoti_torch/c/shim.h"):
        path = include / "torch" / "csrc" / header
        if not path.is_file():
            continue
        guards: list[tuple[int, int]] = []
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if re.match(r"\s*#\s*if", line):
                version = re.search(r"TORCH_FEATURE_VERSION >= TORCH_VERSION_(\d+)_(\d+)_0", line)
                guards.append((int(version[1]), int(version[2])) if version else (0, 0))
            elif re.match(r"\s*#\s*endif", line) and guards:
                guards.pop()
            elif max(guards, default=(0, 0)) > (0, 0):
                for name in re.findall(r"\b(a?o?t?i?_?torch_\w+)\s*\(", line):
                    found[name] = max(guards)
    return found
