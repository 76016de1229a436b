"""Creates a kernel project out of the catalogue."""

from __future__ import annotations

import os

from kernelwright.tools import archs, catalogue
from kernelwright.tools.scaffold_kernel import names, reference, rewrite
from kernelwright.tools.scaffold_kernel.contract import Scaffold, ScaffoldArgs, WrittenFile
from kernelwright.tools.scaffold_kernel.place import place
from kernelwright.tools.tool import Context, ToolError


def run(args: ScaffoldArgs, context: Context) -> Scaffold:
    """Write the project to `context.project`; raises ToolError and leaves everything as it was if it cannot."""
    directory = context.existing_project()
    plan = rewrite.Plan(
        op=args.op,
        names=names.check(args.name, args.org),
        backends=tuple(dict.fromkeys(args.backends)),
        capabilities=_capabilities(args),
        reference=_own_reference(args),
    )
    files = rewrite.files(plan)
    place(files, directory, overwrite=args.overwrite)
    project = context.project_id or str(directory)
    return Scaffold(
        project=project,
        path=str(directory) if os.sep in project else "",
        op=args.op,
        files=[WrittenFile(path=path.as_posix(), bytes=len(content)) for path, content in files.items()],
        next=_next(plan, project),
    )


def _capabilities(args: ScaffoldArgs) -> tuple[str, ...]:
    named = [arch for arch in args.archs if arch != "auto"]
    if named and "cuda" not in args.backends:
        raise ToolError(
            "bad_argument",
            f"archs names GPUs ({', '.join(named)}), but backends is {args.backends!r}.",
            "Add 'cuda' to backends or leave archs out.",
        )
    found = {archs.resolve(arch).compute_capability for arch in named}
    return tuple(sorted(found, key=lambda text: tuple(map(int, text.split(".")))))


def _own_reference(args: ScaffoldArgs) -> reference.Reference | None:
    if args.reference is None:
        return None
    if args.op != catalogue.SKELETON:
        raise ToolError(
            "bad_argument",
            f"reference goes with op 'custom' only: {args.op!r} has one of its own.",
            "Leave reference out, or pass op='custom'.",
        )
    return reference.parse(args.reference)


def _next(plan: rewrite.Plan, project: str) -> list[str]:
    python = plan.names.python
    own = plan.op == catalogue.SKELETON
    stem = python if own else plan.op
    sources = {"cuda": f"{python}_cuda/{stem}.cu", "cpu": f"{python}_cpu/{stem}.cpp"}
    write = "write compute() in" if own else "edit"
    claim = "problem.py says what must be computed" + (": write what is marked there" if own else "")
    return [
        f"compile_kernel(project={project!r}): errors, registers, spills",
        f"run_benchmark(project={project!r}): is it right, and how fast",
        f"{write} {' and '.join(sources[b] for b in plan.backends)}; {claim}",
        f"publish_to_hub(project={project!r}, repo_id={plan.names.repo_id or f'<you>/{plan.names.hub}'!r}): a dry run first",
    ]
