"""Running the compilers: one boxed ninja for all units of all variants that the cache does not hold, and their links."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from kernelwright.tools import sandbox
from kernelwright.tools.compile_kernel import ninja_file
from kernelwright.tools.compile_kernel.plan import Unit
from kernelwright.tools.compile_kernel.work import OBJECT, Outcome, Run, Work
from kernelwright.tools.sandbox import Box, Limits
from kernelwright.tools.tool import Progress, ToolError


def limits(jobs: int, host_bytes: int) -> Limits:
    """What `jobs` compilers side by side may use up, on a host with `host_bytes` of memory.

    Memory and processes grow with the host: what is room enough on eight cores would end an honest build on a hundred. Large
    projects (flash attention) compile for many minutes; one that never ends must not hold the host for longer than an hour.
    """
    memory = max(16 << 30, min(jobs * (4 << 30), host_bytes // 2))
    processes = max(512, 16 * jobs)
    return Limits(wall_s=3600.0, memory_bytes=memory, processes=processes, file_bytes=2 << 30, output_bytes=32 << 20)


def _jobs() -> int:
    # One more than there are cores, as ninja itself has it: the last compile of a variant would leave one idle.
    return len(os.sched_getaffinity(0)) + 1


LIMITS = limits(_jobs(), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def run(works: Sequence[Work], folder: Path, progress: Progress, done: Callable[[Work, Outcome], None]) -> None:
    """Compile and link in a box that shows the project, the toolchains and nothing else of the host.

    The works are of one project. `done` is told of each one's outcome, once and as soon as its library is linked.
    """
    run = Run(works, folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "build.ninja").write_text(ninja_file.text(run), encoding="utf-8")
    units = list(run.units)
    unlinked = {work.plan.target.variant: work for work in works}

    def look() -> None:
        for unit in [unit for unit in units if (run.units[unit] / OBJECT).is_file()]:
            units.remove(unit)
            for work in works:
                if unit in work.missing:
                    work.made(run.compiled(unit))
        for name in [name for name, work in unlinked.items() if run.library(work).is_file()]:
            work = unlinked.pop(name)
            done(work, run.outcome(work))

    code = _compile(run, units, look, progress)
    for work in unlinked.values():
        done(work, run.outcome(work, sandbox.KILLED.get(code, "")))


def _compile(run: Run, unmade: Sequence[Unit], look: Callable[[], None], progress: Progress) -> int:
    """Run ninja, with half the compilers side by side when they needed too much memory together; its exit status."""
    ninja = run.works[0].plan.target.toolchain.need_ninja().path
    jobs, seconds = _jobs(), LIMITS.wall_s * len(run.works)
    end = time.monotonic() + seconds
    box = Box(
        read_only=tuple(dict.fromkeys(root for work in run.works for root in _readable(work))),
        writable=(run.folder,),
        cwd=run.works[0].project.path,
        env={"NINJA_STATUS": "[%f/%t] ", "LC_ALL": "C", "CUDA_CACHE_DISABLE": "1"},
    )
    while True:
        limited = replace(box, limits=replace(LIMITS, wall_s=seconds))
        argv = [str(ninja), "-f", str(run.folder / "build.ninja"), "-k", "0", "-j", str(jobs)]
        code = _follow(sandbox.command(argv, limited), look, progress)
        seconds = end - time.monotonic()
        if sandbox.KILLED.get(code) != "memory" or jobs == 1 or len(unmade) < 2 or seconds <= 0:
            return code
        jobs = (jobs + 1) // 2
        run.forget(unmade)
        progress("compiling", f"more than {LIMITS.memory_bytes >> 30} GiB of memory: now {jobs} at a time")


def _readable(work: Work) -> tuple[Path, ...]:
    toolchain = work.plan.target.toolchain
    roots = [
        work.project.path,
        work.generated,
        *ninja_file.STEPS.values(),
        *work.plan.include_roots,
        *(path.parent for path in work.held.values()),
    ]
    roots += [toolchain.cuda_home] if toolchain.cuda_home else []
    roots += [toolchain.torch.lib] if toolchain.torch else []
    roots += [Path(flag[2:]) for flag in work.plan.link if flag.startswith("-L")]
    return tuple(dict.fromkeys(root.resolve() for root in roots))


def _follow(command: Sequence[str], look: Callable[[], None], progress: Progress) -> int:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    said: list[bytes] = []
    try:
        for line in process.stdout:
            step = re.match(rb"\[(\d+)/(\d+)\] (.*)", line)
            if step:
                look()
                progress(
                    "compiling",
                    f"{step[1].decode()}/{step[2].decode()} {step[3].decode('utf-8', 'replace')}",
                    int(step[1]) / int(step[2]),
                )
            elif len(said) < 50:
                said.append(line)
        code = process.wait()
        look()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    if code and code not in sandbox.KILLED and not any(b"FAILED" in line or b"ninja: build stopped" in line for line in said):
        words = b"".join(said).decode("utf-8", "replace").strip()
        raise ToolError(
            "sandbox_unavailable", f"The compilers could not be started: {words[-600:]}", "Run `kernelwright doctor`."
        )
    return code
