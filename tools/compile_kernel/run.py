"""The tool compile_kernel: write the files that came with the call, then build."""

from __future__ import annotations

from kernelwright.tools.compile_kernel.build import compile_project
from kernelwright.tools.compile_kernel.contract import CompileArgs, CompileResult
from kernelwright.tools.files import write_files
from kernelwright.tools.tool import Context


def run(args: CompileArgs, context: Context) -> CompileResult:
    """Compile the project of this call; see `compile_project` for what is raised and what is a result."""
    project = context.existing_project()
    if args.files:
        write_files(project, args.files)
    return compile_project(project, backend=args.backend, archs=args.archs, mode=args.mode, context=context)
