"""Arguments and answer of `compile_kernel`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from kernelwright.tools.tool import WRITES, Args, JobResult, Tool, wait_field


class CompileArgs(Args):
    project: str = Field(description="project directory or id from scaffold_kernel")
    files: dict[str, str] | None = Field(None, description="changed files to write first, {path: text}")
    backend: Literal["auto", "cuda", "cpu", "all"] = Field("auto", description="auto: cuda if it can run here, else cpu")
    archs: list[str] = Field(default=["auto"], description="GPUs to compile for, e.g. ['h100']")
    mode: Literal["dev", "release"] = Field("dev", description="dev: fast, this host; release: every variant for the Hub")
    host: str = "auto"
    wait_s: int = wait_field()


class Artifact(BaseModel):
    path: str = Field(description="relative to the project")
    sha256: str
    bytes: int


class Diagnostic(BaseModel):
    severity: Literal["error", "warning", "note"]
    message: str
    file: str = ""
    line: int = Field(0, description="1-based; 0 when the tool named none")
    column: int = 0
    source: str = Field("", description="the line of source it points at")
    hint: str = ""

    def markdown(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}: " if self.file else ""
        lines = [f"{place}{self.severity}: {self.message}"]
        if self.source:
            lines.append(f"    {self.source.strip()}")
        if self.hint:
            lines.append(f"    hint: {self.hint}")
        return "\n".join(lines)


class KernelUse(BaseModel):
    """Resources of one `__global__` function on one architecture, from ptxas; occupancy is theoretical."""

    name: str
    arch: str
    registers: int
    spill_bytes: int
    shared_bytes: int = Field(description="static")
    occupancy_pct: float | None = None
    constant_bytes: int = 0
    stack_bytes: int = 0
    limited_by: str = ""


class Abi(BaseModel):
    """Whether the binary loads elsewhere: its symbols against manylinux_2_28, Python ABI 3.9 and the torch floor."""

    ok: bool
    problems: list[str] = []
    torch_floor: str = ""


class CompileResult(JobResult):
    variant: str = ""
    artifact: Artifact | None = None
    variants: list[str] = []
    skipped: list[str] = Field(default=[], description="what was not built and why")
    diagnostics: list[Diagnostic] = []
    kernels: list[KernelUse] = []
    abi: Abi | None = None
    seconds: float = 0.0
    cached: bool = False
    log_uri: str = ""

    def markdown(self) -> str:
        if self.stage or self.status not in {"ok", "failed"}:
            return self.unfinished()
        head = f"{self.status}: {self.variant or 'no artifact'} in {self.seconds:.2f} s" + (" (cached)" if self.cached else "")
        parts = [head]
        if self.artifact:
            parts.append(f"artifact {self.artifact.path}, {self.artifact.bytes} B, sha256 {self.artifact.sha256[:16]}…")
        parts += [f"not built: {reason}" for reason in self.skipped]
        parts += [d.markdown() for d in self.diagnostics]
        parts += [
            f"{k.name} [{k.arch}]: {k.registers} registers, {k.spill_bytes} B spilled, {k.shared_bytes} B shared"
            + (f", {k.occupancy_pct:.0f} % occupancy" if k.occupancy_pct is not None else "")
            + (f" (limited by {k.limited_by})" if k.limited_by else "")
            for k in self.kernels
        ]
        if self.abi and not self.abi.ok:
            parts += [f"ABI: {problem}" for problem in self.abi.problems]
        if self.log_uri:
            parts.append(f"log: {self.log_uri}")
        return "\n".join(parts)


TOOL = Tool(
    name="compile_kernel",
    title="Compile a kernel",
    description=(
        "Compile a kernel project with nvcc or g++ into a loadable torch package in seconds; returns compiler errors with "
        "file, line and hint, registers, spills, occupancy, ABI check."
    ),
    command="compile",
    positional=("project",),
    args=CompileArgs,
    result=CompileResult,
    hints=WRITES,
    runs="job",
    project="existing",
)
