"""What an agent can do: one package per tool, each usable without any server."""

from kernelwright.tools.cancel_job.contract import TOOL as CANCEL_JOB
from kernelwright.tools.compile_kernel.contract import TOOL as COMPILE_KERNEL
from kernelwright.tools.get_arch_guide.contract import TOOL as GET_ARCH_GUIDE
from kernelwright.tools.get_job.contract import TOOL as GET_JOB
from kernelwright.tools.list_hosts.contract import TOOL as LIST_HOSTS
from kernelwright.tools.publish_to_hub.contract import TOOL as PUBLISH_TO_HUB
from kernelwright.tools.read_reference.contract import TOOL as READ_REFERENCE
from kernelwright.tools.run_benchmark.contract import TOOL as RUN_BENCHMARK
from kernelwright.tools.scaffold_kernel.contract import TOOL as SCAFFOLD_KERNEL
from kernelwright.tools.tool import Tool

TOOLS: tuple[Tool, ...] = (
    GET_ARCH_GUIDE,
    SCAFFOLD_KERNEL,
    COMPILE_KERNEL,
    RUN_BENCHMARK,
    PUBLISH_TO_HUB,
    GET_JOB,
    CANCEL_JOB,
    LIST_HOSTS,
    READ_REFERENCE,
)
