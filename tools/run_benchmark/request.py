"""What the judge is told: what to judge, with which inputs, and how each child is started in its sandbox."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kernelwright.tools import archs
from kernelwright.tools.gpu import Gpu
from kernelwright.tools.run_benchmark.contract import BenchmarkArgs
from kernelwright.tools.sandbox import Box, Limits, Tier, available_tier, command
from kernelwright.tools.tool import Context, ToolError

JUDGE = Path(__file__).parent / "judge"
# A person's or a program's explicit word that the code at hand may run without a sandbox.
ALLOW_UNSANDBOXED = "KERNELWRIGHT_ALLOW_UNSANDBOXED"
JOB_S = 1800.0
COMPILE_S = {"cpu": 60.0, "cuda": 150.0}
# torch.compile takes about a second for each shape and dtype, in one thread.
COMPILE_HELPERS, HELPED_PROCESSORS, FEWEST_COMPILED = 2, 12, 6
MOST_ARGUMENTS = 8
# Which configs are looked into with the profiler is drawn, because starting it takes seconds on the CPU.
MOST_PROFILED = {"cpu": 2, "cuda": 8}
# Idle OpenMP threads of one process would otherwise spin for a millisecond on the cores that the next one is timed on, and
# memory that goes back to the kernel between two calls would make the next one pay for its pages.
STEADY = {"GOMP_SPINCOUNT": "10000", "MALLOC_TRIM_THRESHOLD_": str(4 << 30), "MALLOC_MMAP_THRESHOLD_": str(32 << 20)}
# Which rate of specs.toml bounds the operations of a dtype: the fastest that such numbers can go through.
PEAK = {"float32": "tf32_tflops", "bfloat16": "bf16_tflops", "float16": "bf16_tflops"}


@dataclass(frozen=True)
class Subject:
    """The package to be judged: its import name, its folder, the problem, and what it runs on."""

    package: str
    folder: Path
    problem: Path
    device: Literal["cpu", "cuda"]
    gpu: Gpu | None = None

    @property
    def problem_sha256(self) -> str:
        """Hash of `problem.py`."""
        return hashlib.sha256(self.problem.read_bytes()).hexdigest()


def tier() -> Tier:
    """The sandbox to use; raises ToolError where there is none and nobody said to go without."""
    found = available_tier()
    if found == "none" and os.environ.get(ALLOW_UNSANDBOXED) != "1":
        raise ToolError(
            "sandbox_unavailable",
            "This host offers neither bubblewrap nor Landlock, so the kernel cannot be kept away from its judge.",
            f"Install bubblewrap, or set {ALLOW_UNSANDBOXED}=1 for code that you trust.",
        )
    return found


def build(args: BenchmarkArgs, context: Context, subject: Subject, seed: int | None = None) -> dict[str, Any]:
    """The request as JSON data; `seed` repeats an earlier job's draws."""
    return {
        "device": subject.device,
        "seed": secrets.randbits(62) if seed is None else seed,
        "problem": str(subject.problem),
        "package": subject.package,
        "package_path": str(subject.folder),
        "shapes": args.shapes,
        "dtypes": args.dtypes,
        "baselines": list(dict.fromkeys(args.baselines)),
        "most_arguments": MOST_ARGUMENTS,
        "most_profiled": MOST_PROFILED[subject.device],
        "compile_s": COMPILE_S[subject.device],
        "compile_helpers": _helpers(args, subject),
        "cache_bytes": _last_level_cache(),
        "set_bytes": _memory_bytes() // 16,
        "peak_flops": _peaks(subject.gpu),
        "commands": _commands(context, subject),
    }


def _helpers(args: BenchmarkArgs, subject: Subject) -> int:
    """How many processes compile ahead for torch.compile; none where there is little to compile, or few processors for it."""
    rows = len(args.shapes or []) * max(1, len(args.dtypes or [])) or FEWEST_COMPILED
    spare = subject.device == "cuda" and len(os.sched_getaffinity(0)) >= HELPED_PROCESSORS
    return COMPILE_HELPERS if spare and rows >= FEWEST_COMPILED else 0


def _commands(context: Context, subject: Subject) -> dict[str, list[str]]:
    compiled = context.cache / "inductor" / subject.problem_sha256[:32]
    compiled.mkdir(parents=True, exist_ok=True)
    caches = {
        "TORCHINDUCTOR_CACHE_DIR": str(compiled / "inductor"),
        "TRITON_CACHE_DIR": str(compiled / "triton"),
        # A pool of compiler processes costs more to start than the few kernels of a reference take.
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
    }
    return {
        "reference": _command("reference", context, subject, (subject.problem,)),
        "candidate": _command("subject", context, subject, (subject.folder,)),
        "baselines": _command("subject", context, subject, (subject.problem,)),
        "compile": _command("subject", context, subject, (subject.problem,), writable=(compiled,), env=caches),
    }


def _command(
    program: str,
    context: Context,
    subject: Subject,
    read_only: tuple[Path, ...],
    writable: tuple[Path, ...] = (),
    env: dict[str, str] | None = None,
) -> list[str]:
    gpu = subject.device == "cuda"
    memory = int(_memory_bytes() * (0.6 if gpu else 0.4))
    box = Box(
        read_only=(JUDGE, *read_only),
        writable=writable,
        env={**STEADY, **(env or {})},
        gpu=gpu,
        limits=Limits(wall_s=JOB_S, memory_bytes=memory, processes=1024, file_bytes=4 << 30),
        tier=tier(),
    )
    return command([str(context.host_python), "-B", str(JUDGE / "start.py"), program], box)


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _last_level_cache() -> int:
    sizes = [1 << 20]
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        if match := re.fullmatch(r"(\d+)([KM])", path.read_text().strip()):
            sizes.append(int(match[1]) << {"K": 10, "M": 20}[match[2]])
    return max(sizes)


def _peaks(gpu: Gpu | None) -> dict[str, float]:
    if gpu is None:
        return {}
    with contextlib.suppress(ToolError):
        specs = archs.specs(archs.resolve(gpu.name))
        return {dtype: specs[key] * 1e12 for dtype, key in PEAK.items() if isinstance(specs.get(key), int | float)}
    return {}
