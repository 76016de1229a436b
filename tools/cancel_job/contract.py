"""Arguments of `cancel_job`; its answer is the job, as `get_job` shows it."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from kernelwright.tools.tool import WRITES, Args, JobResult, Tool


class CancelJobArgs(Args):
    job_id: str


class CancelledJob(JobResult):
    tool: str
    seconds: float
    result: dict[str, Any] | None = Field(None, description="of the tool, if it had ended before")
    error: dict[str, str] | None = Field(None, description="code, message, hint when the call could not be carried out")
    log_tail: list[str] = []
    result_text: str = Field("", exclude=True)

    def markdown(self) -> str:
        return f"{self.tool} {self.job_id}: {self.status} after {self.seconds:.0f} s"


TOOL = Tool(
    name="cancel_job",
    title="Cancel a job",
    description="Stop a running or queued job and every process it started.",
    command="cancel",
    positional=("job_id",),
    args=CancelJobArgs,
    result=CancelledJob,
    hints=WRITES,
    runs="server",
)
