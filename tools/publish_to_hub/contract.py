"""Arguments and answer of `publish_to_hub`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from kernelwright.tools.tool import PUBLISHES, Args, JobResult, Tool, wait_field


class PublishArgs(Args):
    project: str = Field(description="project directory or id")
    repo_id: str = Field(description="org/name on the Hub")
    variants: list[str] | Literal["all"] = "all"
    confirm: bool = Field(False, description="false: dry run, nothing leaves this host")
    create_pr: bool = False
    wait_s: int = wait_field()


class Check(BaseModel):
    name: str
    ok: bool
    detail: str = ""


class PublishedFile(BaseModel):
    path: str
    bytes: int


class PublishResult(JobResult):
    repo_id: str = ""
    revision: str = ""
    url: str = ""
    files: list[PublishedFile] = []
    variants: list[str] = []
    checks: list[Check] = []
    more_files: int = Field(0, description="files beyond those listed; the log lists all")
    commit: str | None = Field(None, description="null after a dry run")
    log_uri: str = ""

    def markdown(self) -> str:
        if self.stage or self.status not in {"ok", "failed"}:
            return self.unfinished()
        done = f"committed {self.commit}" if self.commit else "nothing was uploaded"
        parts = [f"{self.status}: {self.repo_id} revision {self.revision}, {done}"]
        parts += [self.url] if self.url else []
        parts += [f"- [{'x' if c.ok else ' '}] {c.name}" + (f": {c.detail}" if c.detail else "") for c in self.checks]
        parts += ["", f"variants: {', '.join(self.variants) or 'none'}", f"files ({len(self.files) + self.more_files}):"]
        parts += [f"- `{f.path}` ({f.bytes} B)" for f in self.files]
        if self.more_files:
            parts.append(f"- and {self.more_files} more, see {self.log_uri}")
        return "\n".join(parts)


TOOL = Tool(
    name="publish_to_hub",
    title="Publish to the Hugging Face Kernel Hub",
    description=(
        "Check a built kernel package and publish it to the Hugging Face Kernel Hub. Without confirm=true it is a dry run that "
        "lists checks and files."
    ),
    command="publish",
    positional=("project", "repo_id"),
    args=PublishArgs,
    result=PublishResult,
    hints=PUBLISHES,
    runs="job",
    project="existing",
)
