"""Arguments and answer of `get_job`."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from kernelwright.tools.tool import READS, WAIT_MAX_S, Args, JobResult, Tool, wait_field


class GetJobArgs(Args):
    job_id: str
    wait_s: int = wait_field()
    log_tail: int = Field(20, ge=0, le=200, description="lines of the log, 0-200")


class Job(JobResult):
    tool: str
    seconds: float
    result: dict[str, Any] | None = Field(None, description="of the tool, once it has ended")
    error: dict[str, str] | None = Field(None, description="code, message, hint when the call could not be carried out")
    log_tail: list[str] = Field(default=[], description="while there is no result")
    result_text: str = Field("", exclude=True)

    def markdown(self) -> str:
        place = f", {self.queue_position} jobs ahead" if self.queue_position else ""
        parts = [f"{self.tool} {self.job_id}: {self.status} ({self.stage or 'started'}{place}), {self.seconds:.0f} s"]
        if self.error:
            parts.append(f"{self.error['code']}: {self.error['message']}\nhint: {self.error['hint']}")
        if self.result_text:
            parts.append(self.result_text)
        if self.log_tail:
            parts += ["log:", *self.log_tail]
        return "\n".join(parts)


TOOL = Tool(
    name="get_job",
    title="Wait for a job",
    description=f"State, log and result of a running job; waits up to wait_s (at most {WAIT_MAX_S}) seconds for its end.",
    command="job",
    positional=("job_id",),
    args=GetJobArgs,
    result=Job,
    hints=READS,
    runs="server",
)
