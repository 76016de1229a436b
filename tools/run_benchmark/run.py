"""The tool run_benchmark: compile, judge, report."""

from __future__ import annotations

import platform
import time
from pathlib import Path
from typing import Any, Literal

from kernelwright.tools import catalogue, gpu, toolchain
from kernelwright.tools.compile_kernel.build import compile_project
from kernelwright.tools.compile_kernel.contract import CompileResult
from kernelwright.tools.files import write_files
from kernelwright.tools.gpu import Gpu
from kernelwright.tools.project import Project
from kernelwright.tools.run_benchmark import outcome, report, request
from kernelwright.tools.run_benchmark.contract import BenchmarkArgs, BenchmarkResult, ReferenceInfo
from kernelwright.tools.run_benchmark.judging import judge
from kernelwright.tools.run_benchmark.request import Subject
from kernelwright.tools.run_benchmark.sanitize import sanitize
from kernelwright.tools.tool import Context, ToolError

CLOCK = {
    "cuda": "slope of CUDA graph replays on the judge's clock, cold L2, mean of up to three places in memory",
    "cpu": "slope of batches of calls on the judge's clock",
}


def run(args: BenchmarkArgs, context: Context, seed: int | None = None) -> BenchmarkResult:
    """Build the project of this call, have it judged, and write the report; `seed` repeats the draws of an earlier job.

    A kernel that does not compile, is wrong or cheats is a result. Raises ToolError for arguments that do not fit the problem,
    and for a host that lacks a GPU, a compiler, torch or a sandbox.
    """
    started = time.monotonic()
    path = context.existing_project()
    if args.files:
        write_files(path, args.files)
    project = Project.open(path)
    _check(args, project, context)
    built = compile_project(path, backend=args.backend, context=context)
    if built.status != "ok" or built.artifact is None:
        return _not_built(built, project, context)
    subject = _subject(args, project, built)
    built_at = time.monotonic()
    with gpu.lock(gpu.lock_folder(subject.gpu), context.progress, "GPU" if subject.gpu else "processor"):
        waited = time.monotonic() - built_at
        before = gpu.state(subject.gpu.uuid) if subject.gpu else {}
        said = judge(request.build(args, context, subject, seed), context)
        if args.sanitize:
            _sanitize(subject, said, context)
        after = gpu.state(subject.gpu.uuid) if subject.gpu else {}
    said["method"] |= {"sandbox": request.tier(), "clock": CLOCK[subject.device]}
    said["method"]["seconds"] = round(time.monotonic() - started - waited, 1)
    said["method"]["queued_seconds"] = round(waited, 1)
    said["method"] |= {"gpu_before": before, "gpu_after": after} if subject.gpu else {}
    spoiled = gpu.spoiled(before, after)
    if spoiled and said["verdict"] == "ok":
        said["verdict"] = "inconclusive"
    said["reasons"] = [*said["reasons"], *spoiled]
    return _result(args, context, project, subject, said)


def _sanitize(subject: Subject, said: dict[str, Any], context: Context) -> None:
    executable = toolchain.detect(context.host_python, cache=context.cache).compute_sanitizer
    found, notes = sanitize(executable.path if executable else None, subject, said["rows"], context)
    said["method"]["sanitizer"] = {"findings": found, "notes": notes}
    said["notes"] = [*notes, *said["notes"]]
    if found:
        said["reasons"] = [*found, *said["reasons"]]
        said["verdict"] = "incorrect" if said["verdict"] in {"ok", "inconclusive", "suspicious"} else said["verdict"]


def _check(args: BenchmarkArgs, project: Project, context: Context) -> None:
    if args.level == "model":
        raise ToolError(
            "bad_argument",
            "level='model' is not built: run_benchmark measures one operation, not a model that uses it.",
            "Use level='kernel', and time the model yourself with the package's layers in it.",
        )
    if not project.problem.is_file():
        raise ToolError(
            "bad_argument",
            "The project has no problem.py, so nothing says what the kernel must compute.",
            "Write problem.py (entry, inputs, reference, shapes, dtypes), or scaffold the operation and copy its.",
        )
    toolchain.detect(context.host_python, cache=context.cache).need_torch()
    request.tier()


def _subject(args: BenchmarkArgs, project: Project, built: CompileResult) -> Subject:
    assert built.artifact is not None
    folder = (project.path / built.artifact.path).parent
    device = _device(args, built.variant)
    gpus = gpu.devices()
    if device == "cuda" and not gpus:
        raise ToolError("no_gpu", "There is no GPU to run the CUDA kernel on.", "Use backend='cpu', or a host with a GPU.")
    return Subject(project.python_name, folder, project.problem, device, gpus[0] if device == "cuda" else None)


def _device(args: BenchmarkArgs, variant: str) -> Literal["cpu", "cuda"]:
    parts = variant.split("-")
    if "cpu" in parts or args.backend == "cpu":
        return "cpu"
    if any(part.startswith("cu") for part in parts):
        return "cuda"
    return "cuda" if gpu.devices() else "cpu"


def _not_built(built: CompileResult, project: Project, context: Context) -> BenchmarkResult:
    errors = [d.markdown() for d in built.diagnostics if d.severity == "error"]
    return BenchmarkResult(
        status="failed",
        job_id=context.job_id,
        verdict="invalid",
        reasons=["It does not compile.", *errors[:5]],
        source_sha256=project.source_sha256,
        log_uri=built.log_uri,
    )


def _result(args: BenchmarkArgs, context: Context, project: Project, subject: Subject, said: dict[str, Any]) -> BenchmarkResult:
    sha256 = subject.problem_sha256
    baselines = list(dict.fromkeys(args.baselines))
    table = outcome.rows(said, baselines)
    result = BenchmarkResult(
        status="ok",
        job_id=context.job_id,
        verdict=said["verdict"],
        reasons=said["reasons"],
        notes=[note[:400] for note in said["notes"][:6]],
        rows=table,
        summary=outcome.summary(table, baselines),
        device=_describe(subject.gpu),
        method=outcome.shown_method(said["method"]),
        reference=ReferenceInfo(source=_source(sha256), sha256=sha256),
        source_sha256=project.source_sha256,
        report_uri=context.uri("report"),
        plot_uri=context.uri("plot"),
        log_uri=context.uri("log"),
    )
    report.write(context.folder, project.name, args, result, said)
    copy = said["method"].get("copy_gbps")
    if subject.gpu and copy:
        gpu.remember_bandwidth(context.cache, subject.gpu, copy)
    return outcome.shortened(result)


def _source(sha256: str) -> Literal["catalogue", "project"]:
    try:
        return "catalogue" if catalogue.reference_op(sha256) else "project"
    except OSError:
        # A catalogue that cannot be read vouches for nothing.
        return "project"


def _describe(device: Gpu | None) -> dict[str, Any]:
    if device is not None:
        return {
            "name": device.name,
            "compute_capability": device.compute_capability,
            "memory_gb": round(device.memory_bytes / 2**30, 1),
            "driver": device.driver,
        }
    named = (line.partition(":")[2].strip() for line in _cpuinfo().splitlines() if line.startswith("model name"))
    return {"name": f"CPU {next(named, platform.machine())}"}


def _cpuinfo() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
