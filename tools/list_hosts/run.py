"""`list_hosts`: asks whoever runs the jobs."""

from __future__ import annotations

from kernelwright.tools.list_hosts.contract import Hosts, ListHostsArgs
from kernelwright.tools.tool import Context


async def run(args: ListHostsArgs, context: Context) -> Hosts:
    """Every host with its GPUs, tools and queue."""
    assert context.services is not None
    return Hosts.model_validate({"hosts": await context.services.list_hosts()})
