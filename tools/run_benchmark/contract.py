"""Arguments and answer of `run_benchmark`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from kernelwright.tools.tool import WRITES, Args, JobResult, Tool, wait_field

Verdict = Literal["ok", "incorrect", "suspicious", "rejected", "invalid", "inconclusive"]


class BenchmarkArgs(Args):
    project: str = Field(description="project directory or id")
    files: dict[str, str] | None = Field(None, description="changed files to write first, {path: text}")
    backend: Literal["auto", "cuda", "cpu"] = "auto"
    shapes: list[list[int]] | None = Field(None, description="default: problem.py's")
    dtypes: list[str] | None = Field(None, description="default: problem.py's")
    baselines: list[str] = Field(default=["eager", "compile"], description="eager, compile, or names from problem.py")
    level: Literal["kernel", "model"] = Field("kernel", description="model is not built yet")
    model: str | None = Field(None, description="for level=model")
    sanitize: bool = Field(False, description="also run compute-sanitizer")
    host: str = "auto"
    wait_s: int = wait_field()


class BenchmarkRow(BaseModel):
    """One shape and dtype. Times are microseconds of device time of one call (of wall time on the CPU), cold L2."""

    shape: list[int]
    dtype: str
    correct: bool
    error: float | None = Field(description="largest error relative to the float64 reference")
    tolerance: float | None
    us: float | None = None
    ci95_us: list[float] | None = Field(None, description="95 % bootstrap interval of us")
    warm_us: float | None = Field(None, description="one call again and again on the same data, warm L2; GPU only")
    wall_us: float | None = Field(None, description="wall time of one eager call")
    baseline_us: dict[str, float | None] = {}
    speedup: dict[str, float | None] = {}
    gbps: float | None = None
    pct_of_copy: float | None = Field(None, description="of the copy bandwidth measured in the same job")


class BenchmarkSummary(BaseModel):
    geomean_speedup: dict[str, float | None] = {}
    worst_speedup: dict[str, float | None] = {}


class ReferenceInfo(BaseModel):
    source: Literal["catalogue", "project"]
    sha256: str


class BenchmarkResult(JobResult):
    verdict: Verdict | None = None
    reasons: list[str] = []
    notes: list[str] = Field(default=[], description="worth reading, change no verdict")
    rows: list[BenchmarkRow] = []
    summary: BenchmarkSummary | None = None
    device: dict[str, Any] = {}
    method: dict[str, Any] = {}
    reference: ReferenceInfo | None = None
    source_sha256: str = ""
    report_uri: str = ""
    plot_uri: str = ""
    log_uri: str = ""

    def markdown(self) -> str:
        if self.stage or self.status not in {"ok", "failed"}:
            return self.unfinished()
        head = f"verdict: {self.verdict or self.status}" + (f" - {self.reasons[0]}" if self.reasons else "")
        parts = [head, *(f"- {reason}" for reason in self.reasons[1:]), *(f"note: {note}" for note in self.notes)]
        if self.device:
            parts.append(f"device: {self.device.get('name', '')}")
        if self.rows:
            names = list(self.rows[0].baseline_us)
            parts.append("| shape | dtype | correct | us | wall us | GB/s | " + " | ".join(f"x {n}" for n in names) + " |")
            parts.append("| --- " * (6 + len(names)) + "|")
            for row in self.rows:
                cells = ["x".join(map(str, row.shape)), row.dtype, "yes" if row.correct else "NO"]
                cells += [_number(row.us), _number(row.wall_us), _number(row.gbps)]
                cells += [_number(row.speedup.get(n)) for n in names]
                parts.append("| " + " | ".join(cells) + " |")
        if self.summary:
            for name, value in self.summary.geomean_speedup.items():
                worst = self.summary.worst_speedup.get(name)
                parts.append(f"vs {name}: geometric mean {_number(value)}x, worst shape {_number(worst)}x")
        if self.reference:
            parts.append(f"reference: {self.reference.source}, sha256 {self.reference.sha256[:16]}…")
        parts += [f"{label}: {uri}" for label, uri in (("report", self.report_uri), ("plot", self.plot_uri)) if uri]
        return "\n".join(parts)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


TOOL = Tool(
    name="run_benchmark",
    title="Check and benchmark a kernel",
    description=(
        "Check a compiled kernel for correctness against a float64 reference in another process, then time it against eager "
        "torch, torch.compile and library baselines. The verdict is a judge's that the kernel cannot reach."
    ),
    command="benchmark",
    positional=("project",),
    args=BenchmarkArgs,
    result=BenchmarkResult,
    hints=WRITES,
    runs="job",
    project="existing",
)
