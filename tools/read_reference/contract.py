"""Arguments and answer of `read_reference`."""

from __future__ import annotations

from pydantic import Field

from kernelwright.tools.tool import READS, Args, Result, Tool


class ReadReferenceArgs(Args):
    uri: str | None = Field(None, description="kernel:// URI or guide name; leave out for the index")
    section: str | None = None


class Reference(Result):
    uri: str
    title: str
    text: str = Field(description="markdown")

    def markdown(self) -> str:
        return self.text


TOOL = Tool(
    name="read_reference",
    title="Read a guide",
    description=(
        "Kernel-writing guides, a level at a time (index, guide, section): vectorized memory access, reductions, RMSNorm, "
        "numerics, torch binding, how benchmarks are judged, publishing, troubleshooting."
    ),
    command="reference",
    positional=("uri", "section"),
    args=ReadReferenceArgs,
    result=Reference,
    hints=READS,
    runs="here",
)
