"""What each kernel takes of the GPU: registers, spills and memory from ptxas, launch bounds from the PTX, occupancy."""

from __future__ import annotations

import math
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kernelwright.tools.compile_kernel.contract import KernelUse

_ENTRY = re.compile(r"Compiling entry function '([^']+)' for '(sm_\w+)'")
_STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_USED = re.compile(r"Used (\d+) registers")
_MEMORY = re.compile(r"(\d+) bytes (smem|cmem\[\d+\])")
_PTX_ENTRY = re.compile(r"\.entry\s+([\w$]+)\s*\(.*?\)\s*((?:\.\w+[^\n{]*\s*)*)\{", re.DOTALL)
_BOUND = re.compile(r"\.(?:maxntid|reqntid)\s+(\d+)(?:\s*,\s*(\d+))?(?:\s*,\s*(\d+))?")
_BLOCK_SIZES = (1024, 512, 256, 128, 64)
# CUDA's limit for what a kernel declares; ptxas 13.0 refuses only what the SM itself does not hold.
MAX_STATIC_SHARED = 48 << 10


@dataclass(frozen=True)
class Limits:
    """Of one SM: resident threads and blocks, bytes of shared memory and what the driver keeps of it for each block."""

    threads: int
    blocks: int
    shared: int
    reserved: int
    registers: int = 65536


# NVIDIA's table of technical specifications per compute capability; shared memory is the largest carve-out.
_LIMITS: dict[str, Limits] = {
    "7": Limits(2048, 32, 96 << 10, 0),
    "75": Limits(1024, 16, 64 << 10, 0),
    "80": Limits(2048, 32, 164 << 10, 1024),
    "86": Limits(1536, 16, 100 << 10, 1024),
    "87": Limits(1536, 16, 164 << 10, 1024),
    "89": Limits(1536, 24, 100 << 10, 1024),
    "90": Limits(2048, 32, 228 << 10, 1024),
    "10": Limits(2048, 32, 228 << 10, 1024),
    "11": Limits(1536, 24, 228 << 10, 1024),
    "12": Limits(1536, 24, 100 << 10, 1024),
}


def parse(log: str, bounds: dict[str, int]) -> list[KernelUse]:
    """Kernels in ptxas's words, names still mangled; `bounds` are the launch bounds that `launch_bounds` found.

    Occupancy is theoretical: resident warps in percent of what the SM holds, at the block size of the launch bounds, or at the
    best size where there are none. Dynamic shared memory is not known here and not counted.
    """
    found: list[KernelUse] = []
    for block in re.split(r"(?=ptxas info\s*:\s*Compiling entry function)", log):
        entry, used = _ENTRY.search(block), _USED.search(block)
        if not entry or not used:
            continue
        # What follows the kernel's own line may be about device functions.
        own = block[: block.find("\n", used.start()) if "\n" in block[used.start() :] else len(block)]
        stack = _STACK.search(own)
        memory: dict[str, int] = {}
        for size, kind in _MEMORY.findall(own):
            memory[kind[:4]] = memory.get(kind[:4], 0) + int(size)
        registers, shared = int(used[1]), memory.get("smem", 0)
        percent, limit = occupancy(entry[2], registers, shared, bounds.get(entry[1]))
        found.append(
            KernelUse(
                name=entry[1],
                arch=entry[2],
                registers=registers,
                spill_bytes=int(stack[2]) + int(stack[3]) if stack else 0,
                shared_bytes=shared,
                constant_bytes=memory.get("cmem", 0),
                stack_bytes=int(stack[1]) if stack else 0,
                occupancy_pct=percent,
                limited_by=limit,
            )
        )
    return found


def occupancy(arch: str, registers: int, shared: int, block: int | None) -> tuple[float | None, str]:
    """Theoretical occupancy in percent on `arch` (`sm_90a`), and what limits it; None for an architecture that is not known."""
    digits = re.sub(r"\D", "", arch)
    limits = _LIMITS.get(digits) or _LIMITS.get(digits[:-1])
    if limits is None:
        return None, ""
    options = [_at(limits, registers, shared, size) for size in ((block,) if block else _BLOCK_SIZES)]
    percent, limit = max(options, key=lambda option: option[0])
    return round(percent, 1), limit


def _at(limits: Limits, registers: int, shared: int, block: int) -> tuple[float, str]:
    warps = math.ceil(block / 32)
    # Registers are given out to a warp in steps of 256, shared memory to a block in steps of 128 bytes.
    per_warp = math.ceil(registers * 32 / 256) * 256
    bounds = {
        "threads": limits.threads // (warps * 32),
        "blocks": limits.blocks,
        "registers": (limits.registers // per_warp) // warps if per_warp else limits.blocks,
    }
    per_block = math.ceil(shared / 128) * 128 + limits.reserved if shared else 0
    if per_block:
        bounds["shared memory"] = limits.shared // per_block
    fewest = min(bounds.values())
    percent = 100 * fewest * warps * 32 / limits.threads
    limit = "" if percent >= 100 else next(name for name, value in bounds.items() if value == fewest)
    return min(percent, 100.0), limit


def launch_bounds(folder: Path) -> dict[str, int]:
    """Threads of a block that each kernel in the PTX files of `folder` was compiled for, where it says so."""
    found: dict[str, int] = {}
    for path in folder.glob("*.ptx"):
        for name, directives in _PTX_ENTRY.findall(path.read_text(encoding="utf-8", errors="replace")):
            bound = _BOUND.search(directives)
            if bound:
                found[name] = math.prod(int(n) for n in bound.groups() if n)
    return found


def demangled(names: Iterable[str]) -> dict[str, str]:
    """Readable names, by binutils' demangler; a name that it does not know, and all if it is missing, stay as they are."""
    ordered = list(dict.fromkeys(names))
    try:
        out = subprocess.run(["c++filt"], input="\n".join(ordered), capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return {name: name for name in ordered}
    return dict(zip(ordered, out.stdout.splitlines(), strict=False))


def short(name: str) -> str:
    """`kernel<float, 4>` of `void (anonymous namespace)::kernel<float, 4>(float*, int)`: no return type, no parameters."""
    name = name.replace("(anonymous namespace)::", "")
    depth = 0
    for position in range(len(name) - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(name[position], 0)
        if depth == 0 and name[position] == "(":
            name = name[:position]
            break
    return re.sub(r"^\w+ (?=[\w:]+)", "", name)
