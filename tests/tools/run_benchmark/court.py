"""A court for the regression suite: a package as source text, judged by the real judge with sandboxed children.

The judge's code runs in this process; one reference child serves all trials, and the candidate of each is a fork inside its
sandbox (see `zygote.py`), so that a trial costs a second. `test_whole_job.py` holds the same through the tool itself.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from kernelwright.tools.run_benchmark import request as requests
from kernelwright.tools.run_benchmark.contract import BenchmarkArgs
from kernelwright.tools.run_benchmark.judge import start
from kernelwright.tools.run_benchmark.request import JUDGE, Subject
from kernelwright.tools.sandbox import Box, Limits, Tier, command
from kernelwright.tools.tool import Context

start.load("judge")
from kernelwright_judge import checks, timing  # type: ignore[import-not-found]  # noqa: E402
from kernelwright_judge import judge as judge_module  # noqa: E402
from kernelwright_judge.arena import Arena  # noqa: E402
from kernelwright_judge.children import Child, below  # noqa: E402
from kernelwright_judge.trial import BrokenProblemError, Trial  # noqa: E402

# One thread: the tensors are small, and threads that spin would take the cores from what is timed.
torch.set_num_threads(1)
# Trials here are about verdicts, so they take few samples and give up early.
timing.CPU = replace(timing.CPU, samples=5, budget_s=0.5)
timing.CUDA = replace(timing.CUDA, samples=6, places=2, budget_s=0.5)
checks.FIRST_CALL_S = 20.0


@dataclass
class Judged:
    """What came of one trial."""

    verdict: str
    reasons: list[str]
    families: set[str]
    result: dict[str, Any] = field(repr=False)


class Forked(Child):  # type: ignore[misc]
    """A candidate whose process lives on; `close` ends the fork of this trial, and the next trial gets another."""

    def close(self) -> None:
        """Kill this trial's fork and drop what it still had to say."""
        # Outermost first: supervisor, sandbox, zygote; the last one is the fork, or a process that the candidate started.
        forks = [pid for pid in below(self.process.pid) if _is_zygote(pid)]
        if len(forks) > 1:
            os.kill(forks[1], signal.SIGKILL)
        while select.select([self.wire.read_fd], [], [], 0.05)[0]:
            os.read(self.wire.read_fd, 1 << 16)
        self.pids = []

    def end(self) -> None:
        """End the whole process."""
        super().close()


def _is_zygote(pid: int) -> bool:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return len(words) > 2 and words[2].endswith(b"zygote.py")


class Court:
    """Judges packages on one device under one tier."""

    def __init__(self, folder: Path, device: str, tier: Tier | None, library: Path, good: str, problem: str) -> None:
        self.folder, self.device, self.library, self.good, self.problem = folder, device, library, good, problem
        self.packages, self.problems = folder / "packages", folder / "problems"
        self.packages.mkdir()
        self.problems.mkdir()
        self.inputs, self.expected, self.results = (Arena.create(name) for name in ("inputs", "expected", "results"))
        self.reference = self._start(["reference"], (self.problems,), [self.inputs, self.expected], tier, Child)
        zygote = Path(__file__).with_name("zygote.py")
        self.candidate = self._start(
            [str(zygote), str(JUDGE)], (self.packages, zygote), [self.inputs.read_only(), self.results], tier, Forked
        )
        self.candidate.role = "candidate"
        self.count, self.tier = 0, tier

    def _start(self, program: list[str], shown: tuple[Path, ...], arenas: list[Any], tier: Tier | None, kind: Any) -> Any:
        box = Box(
            read_only=(JUDGE, *shown),
            env=requests.STEADY,
            gpu=self.device == "cuda",
            limits=Limits(wall_s=1500, memory_bytes=64 << 30, processes=1024),
            tier=tier,
        )
        path = [] if program[0].endswith(".py") else [str(JUDGE / "start.py")]
        return kind(Path(program[0]).stem, command([sys.executable, "-B", *path, *program], box), arenas)

    def judge(self, source: str, problem: str | None = None, own_process: bool = False, **asked: Any) -> Judged:
        """The verdict on the good package with `source` appended to it; `own_process` starts a candidate for it alone."""
        self.count += 1
        package = self.packages / str(self.count)
        package.mkdir(parents=True)
        shutil.copy(self.library, package / self.library.name)
        (package / "__init__.py").write_text(self.good + (source or ""))
        text = self.problems / f"{self.count}.py"
        text.write_text(problem or self.problem)
        context = Context(self.folder, self.folder / "cache", Path(sys.executable), job_id="trial")
        subject = Subject(f"pkg{self.count}", package, text, self.device)  # type: ignore[arg-type]
        request = requests.build(BenchmarkArgs(project="p", baselines=[]), context, subject)
        request |= {"most_profiled": 0, "set_bytes": 64 << 20, **asked}
        if self.device == "cuda":
            request |= {"cache_bytes": torch.cuda.get_device_properties(0).L2_cache_size, "set_bytes": 4 << 30}
        return self._try(request, None if own_process else self.candidate)

    def _try(self, request: dict[str, Any], candidate: Any) -> Judged:
        if not self.reference.alive:
            self.reference = self._start(["reference"], (self.problems,), [self.inputs, self.expected], self.tier, Child)
        # What a process of its own writes must not fill the memory of the one that all others share.
        results = self.results if candidate else Arena.create("results")
        trial = Trial(request, self.reference, candidate, (self.inputs, self.expected, results))
        try:
            judge_module.judge(trial)
        except BrokenProblemError as error:
            trial.findings.add("invalid", "problem", error.reason)
        finally:
            trial.candidate.close()
            if results is not self.results:
                results.close()
        result = judge_module.result(trial)
        return Judged(result["verdict"], result["reasons"], {f["family"] for f in result["findings"]}, result)

    def close(self) -> None:
        """End the children."""
        self.reference.close()
        self.candidate.end()
