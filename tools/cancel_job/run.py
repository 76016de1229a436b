"""`cancel_job`: asks whoever runs the jobs."""

from __future__ import annotations

from kernelwright.tools.cancel_job.contract import CancelJobArgs, CancelledJob
from kernelwright.tools.tool import Context


async def run(args: CancelJobArgs, context: Context) -> CancelledJob:
    """The job's state after it was stopped."""
    assert context.services is not None
    return CancelledJob.model_validate(await context.services.cancel_job(args.job_id))
