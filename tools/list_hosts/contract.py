"""Answer of `list_hosts`, which takes no arguments."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from kernelwright.tools.tool import READS, Args, Result, Tool


class ListHostsArgs(Args):
    pass


class HostGpu(BaseModel):
    name: str
    arch: str
    memory_gb: float
    busy: bool


class HostInfo(BaseModel):
    name: str
    kind: Literal["local", "remote"]
    state: Literal["ready", "degraded", "unreachable"]
    gpus: list[HostGpu]
    toolchain: dict[str, Any]
    backends: list[str]
    queued: int


class Hosts(Result):
    hosts: list[HostInfo]

    def markdown(self) -> str:
        lines = []
        for host in self.hosts:
            gpus = ", ".join(f"{g.name} ({g.arch}{', busy' if g.busy else ''})" for g in host.gpus) or "no GPU"
            tools = ", ".join(f"{k} {v}" for k, v in host.toolchain.items() if v) or "no toolchain"
            lines.append(
                f"- {host.name} ({host.kind}, {host.state}): {gpus}; backends {', '.join(host.backends) or 'none'}; "
                f"{tools}; {host.queued} queued"
            )
        return "\n".join(lines)


TOOL = Tool(
    name="list_hosts",
    title="List hosts",
    description="Machines that compile and benchmark here: GPUs, toolchain, backends, queue.",
    command="hosts",
    positional=(),
    args=ListHostsArgs,
    result=Hosts,
    hints=READS,
    runs="server",
)
