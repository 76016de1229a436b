"""Arguments and answer of `scaffold_kernel`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from kernelwright.tools.tool import WRITES, Args, Result, Tool


class ScaffoldArgs(Args):
    op: str = Field(description="operation to start from, e.g. rmsnorm; custom: one's own; kernel://ops lists them")
    name: str = Field(description="kernel name: lowercase letters, digits, dashes")
    directory: str | None = Field(None, description="where to write; default ./<name>")
    backends: list[Literal["cuda", "cpu"]] = Field(default=["cuda", "cpu"], min_length=1)
    archs: list[str] = Field(default=["auto"], description="GPUs to build for; auto: the host's, else the toolkit's")
    org: str | None = Field(None, description="Hugging Face user or organisation")
    overwrite: bool = False
    reference: str | None = Field(
        None, description="op custom: Python source with reference(...) in plain torch, or a whole problem.py"
    )


class WrittenFile(BaseModel):
    path: str
    bytes: int


class Scaffold(Result):
    """A new kernel project: a working kernel of the operation, its binding, its problem.py, tests and card."""

    project: str = Field(description="pass to compile_kernel and run_benchmark")
    path: str
    op: str
    files: list[WrittenFile]
    next: list[str]

    def markdown(self) -> str:
        where = f" in `{self.path}`" if self.path else ""
        files = "\n".join(f"- `{f.path}` ({f.bytes} B)" for f in self.files)
        steps = "\n".join(f"{i}. {step}" for i, step in enumerate(self.next, 1))
        return f"Project `{self.project}` ({self.op}){where}:\n{files}\n\nNext:\n{steps}"


TOOL = Tool(
    name="scaffold_kernel",
    title="Scaffold a kernel project",
    description=(
        "Create a complete kernel project (CUDA and C++ sources, torch binding, problem.py, tests, Hub card) for an operation; "
        "it compiles and passes as written, edit it from there."
    ),
    command="scaffold",
    positional=("op", "name"),
    args=ScaffoldArgs,
    result=Scaffold,
    hints=WRITES,
    runs="here",
    project="new",
)
