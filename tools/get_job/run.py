"""`get_job`: asks whoever runs the jobs."""

from __future__ import annotations

from kernelwright.tools.get_job.contract import GetJobArgs, Job
from kernelwright.tools.tool import Context


async def run(args: GetJobArgs, context: Context) -> Job:
    """The job's state after waiting for its end."""
    assert context.services is not None
    return Job.model_validate(await context.services.get_job(args.job_id, args.wait_s, args.log_tail))
