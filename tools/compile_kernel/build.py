"""`compile_project`: what compile_kernel does, for it and for the tools that need a built package."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from kernelwright.tools import sandbox
from kernelwright.tools import toolchain as toolchains
from kernelwright.tools.compile_kernel import targets
from kernelwright.tools.compile_kernel.contract import Artifact, CompileResult, Diagnostic
from kernelwright.tools.compile_kernel.diagnostics import ordered
from kernelwright.tools.compile_kernel.targets import Choice
from kernelwright.tools.compile_kernel.variant import Builder, Built
from kernelwright.tools.project import Project
from kernelwright.tools.tool import Context, ToolError
from kernelwright.tools.toolchain import Toolchain, version_numbers

MAX_KERNELS = 16


def compile_project(
    project: Path,
    *,
    backend: str = "auto",
    archs: Sequence[str] = ("auto",),
    mode: Literal["dev", "release"] = "dev",
    context: Context,
) -> CompileResult:
    """Build the kernel project in the folder `project` into `build/<variant>`, as kernel-builder lays packages out.

    `backend` is `auto` (cuda where there is a GPU, else cpu), `all`, or one that build.toml declares. `archs` are GPUs in any
    spelling. `dev` builds one variant for this host, `release` all that can be built. The result's `variant` is the one for
    this host, its artifact's path is relative to the project. Code that does not compile or load is a result with status
    `failed`; raises ToolError for a project, argument or toolchain with which nothing can be built.
    """
    started = time.perf_counter()
    context.progress("reading", "build.toml")
    opened = Project.open(project)
    found = toolchains.detect(context.host_python, cache=context.cache)
    choice = targets.choose(opened, found, backend, archs, mode)
    builder = Builder(opened, context.cache, context.folder / "compile", context.progress, context.warm)
    built, skipped = _built(builder, choice)
    shutil.rmtree(context.folder / "compile", ignore_errors=True)
    if sandbox.available_tier() == "none":
        skipped.append("sandbox: none works on this host, so the compilers and the import ran unconfined; install bubblewrap")
    if not built:
        raise ToolError("toolchain_missing", "; ".join(skipped), "Install what is missing and compile again.")
    _write_log(context, opened, built)
    notes = _notes(opened, found, built, context)
    return _result(opened, built, skipped, notes, time.perf_counter() - started, context)


def _built(builder: Builder, choice: Choice) -> tuple[list[Built], list[str]]:
    """The variants that can be built here, and a line for each that cannot."""
    built: list[Built] = []
    skipped = list(choice.skipped)
    for target, future in zip(choice.targets, builder.build(choice.targets), strict=True):
        try:
            built.append(future.result())
        except ToolError as error:
            if error.code != "toolchain_missing" or len(choice.targets) == 1:
                raise
            skipped.append(f"{target.backend}: {error.message} {error.hint}")
    return built, skipped


def _notes(project: Project, found: Toolchain, built: Sequence[Built], context: Context) -> list[Diagnostic]:
    notes = [_migration(project, context)] if project.build.migrated else []
    return [*notes, *_guessed(built), *_another_cuda(found, built)]


def _result(
    project: Project,
    built: Sequence[Built],
    skipped: Sequence[str],
    notes: Sequence[Diagnostic],
    seconds: float,
    context: Context,
) -> CompileResult:
    first = built[0]
    kernels = [kernel for one in built for kernel in one.kernels]
    ok = all(one.ok for one in built)
    return CompileResult(
        status="ok" if ok else "failed",
        job_id=context.job_id,
        variant=first.target.variant if first.ok else "",
        artifact=_artifact(project, first),
        variants=[one.target.variant for one in built if one.ok],
        skipped=list(dict.fromkeys([*skipped, *(reason for one in built for reason in one.skipped)])),
        diagnostics=[*ordered(d for one in built for d in one.diagnostics), *notes],
        # Of a build that failed only what is wrong is of use; of many kernels, those that take the most.
        kernels=sorted(kernels, key=lambda k: (-k.spill_bytes, -k.registers))[:MAX_KERNELS] if ok else [],
        abi=first.abi,
        seconds=round(seconds, 3),
        cached=all(one.cached for one in built),
        log_uri=context.uri("log"),
    )


def _artifact(project: Project, built: Built) -> Artifact | None:
    if not built.ok or built.path is None:
        return None
    path = built.path / (built.library or "__init__.py")
    content = path.read_bytes()
    return Artifact(path=str(path.relative_to(project.path)), sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))


def _guessed(built: Sequence[Built]) -> list[Diagnostic]:
    """Which architectures a dev build is for where nobody named them and there is no GPU to ask."""
    guessed = [one for one in built if one.target.wanted and one.target.wanted.guessed and one.target.mode == "dev"]
    names = ", ".join(dict.fromkeys(kernel.arch for one in guessed for kernel in one.kernels))
    if not names:
        return []
    message = f"there is no GPU here and no archs were given: compiled for {names}"
    return [Diagnostic(severity="note", message=message, hint="Pass archs, like ['h100'], to choose.")]


def _another_cuda(found: Toolchain, built: Sequence[Built]) -> list[Diagnostic]:
    """A dev build that another compiler than this host's own nvcc made, because build.toml asks for an older CUDA."""
    made_by = [one.target.toolchain.nvcc for one in built if one.target.backend == "cuda" and one.target.mode == "dev"]
    other = next((nvcc for nvcc in made_by if nvcc and nvcc != found.nvcc), None)
    if other is None or found.nvcc is None:
        return []
    message = (
        f"compiled for CUDA {other.version} by {other.path.name}: build.toml does not take this host's {found.nvcc.version}"
    )
    cuda = found.torch.cuda if found.torch else None
    advice = f"It loads where libcudart.so.{other.numbers[0]} is found; the torch of host_python brings that of CUDA {cuda}."
    foreign = cuda and version_numbers(cuda)[0] != other.numbers[0]
    return [Diagnostic(severity="note", message=message, hint=advice if foreign else "")]


def _migration(project: Project, context: Context) -> Diagnostic:
    """Offer the file in edition 5; the one that is there stays as it is."""
    place = project.path / "build" / "build.edition5.toml"
    place.parent.mkdir(exist_ok=True)
    place.write_text(project.build.migrated, encoding="utf-8")
    return Diagnostic(
        severity="note",
        message="build.toml has no edition: it was read as the older form it is, and raised to edition 5 for this build",
        file="build.toml",
        line=1,
        hint=f"{place.relative_to(project.path)} holds it in edition 5: check it, and put it in place of build.toml.",
    )


def _write_log(context: Context, project: Project, built: Sequence[Built]) -> None:
    context.folder.mkdir(parents=True, exist_ok=True)
    with context.log.open("a", encoding="utf-8") as log:
        for one in built:
            state = "ok" if one.ok else "failed"
            log.write(f"== {project.name} {one.target.variant}: {state}{' (cached)' if one.cached else ''}\n")
            log.write("\n".join(text for text in one.log if text.strip()) + "\n")
