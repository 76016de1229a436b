"""Arguments and answer of `get_arch_guide`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from kernelwright.tools.tool import READS, Args, Result, Tool


class ArchGuideArgs(Args):
    arch: str = Field("auto", description="GPU or architecture: h100, sm_90, 9.0, 'NVIDIA L40S'; auto asks the host")


class ReadNext(BaseModel):
    uri: str
    title: str


class ArchGuide(Result):
    """Facts of one GPU and what follows from them for a kernel; every number's source stands in references/arch/specs.toml."""

    arch: str
    name: str
    compute_capability: str
    nvcc_flag: str
    min_cuda: str
    specs: dict[str, Any] = Field(description="of the product: sms, memory_gb, bandwidth_gbps, l2_mb, dense rates in TFLOP/s")
    limits: dict[str, Any] = Field(description="of the compute capability: threads, warps, blocks, registers, shared memory")
    features: list[str]
    guidance: str = Field(description="markdown")
    measured: dict[str, Any] | None = Field(description="what this host's device reports; null when it is not here")
    read_next: list[ReadNext]

    def markdown(self) -> str:
        def table(values: dict[str, Any]) -> str:
            return "\n".join(f"- {k}: {v}" for k, v in values.items())

        parts = [
            f"# {self.name} ({self.arch}, compute capability {self.compute_capability})",
            f"Compile with `{self.nvcc_flag}`, CUDA {self.min_cuda} or newer. Features: {', '.join(self.features)}.",
            "## Specs\n" + table(self.specs),
            "## Limits\n" + table(self.limits),
            self.guidance,
        ]
        if self.measured:
            parts.append("## Measured on this host\n" + table(self.measured))
        if self.read_next:
            parts.append("Read next: " + ", ".join(f"{n.title} (`{n.uri}`)" for n in self.read_next))
        return "\n\n".join(parts)


TOOL = Tool(
    name="get_arch_guide",
    title="GPU architecture guide",
    description=(
        "Facts and optimization advice for one NVIDIA GPU architecture before writing a CUDA kernel: compute capability, nvcc "
        "flag, shared memory and register limits, bandwidth, what to do first."
    ),
    command="guide",
    positional=("arch",),
    args=ArchGuideArgs,
    result=ArchGuide,
    hints=READS,
    runs="here",
)
