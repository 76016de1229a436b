"""The whole way on this machine, through a real MCP connection to a server of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from mcp import Client, StdioServerParameters
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from kernelwright.server.settings import Settings
from kernelwright.tools.tool import summarise

OP, NAME, REPO = "rmsnorm", "demo-rmsnorm", "your-org/demo-rmsnorm"
CUDA_ARCH_WITHOUT_GPU = "h100"
# From launch-bound to bandwidth-bound, few enough for a demo; on the CPU the problem's own small shapes are quick.
CUDA_SHAPES = [[128, 4096], [1024, 4096], [8192, 4096], [32768, 4096]]

# Runs under host_python, as a user of the published kernel would: no Kernelwright in it.
_LOAD = """
import json, sys
from pathlib import Path
import torch
from kernels import get_local_kernel
project, device = Path(sys.argv[1]), sys.argv[2]
module = get_local_kernel(project)
x = torch.randn(64, 4096, device=device)
w = torch.randn(4096, device=device)
got = getattr(module, sys.argv[3])(x, w)
want = torch.nn.functional.rms_norm(x.double(), (4096,), w.double(), 1e-6)
error = ((got.double() - want).norm() / want.norm()).item()
print(json.dumps({"loaded_from": str(Path(module.__file__).parent.name), "torch": torch.__version__,
                  "device": str(got.device), "relative_error": error, "ok": error < 1e-5}))
"""


@dataclass
class Step:
    """One step of the demo: what was done, whether it held, and the line a person reads.

    `noisy` is a benchmark whose results were right on a machine too busy to time them: no failure, but no number either.
    """

    name: str
    ok: bool = False
    noisy: bool = False
    detail: str = ""
    seconds: float = 0.0
    data: dict[str, Any] = field(default_factory=dict)


class DemoError(Exception):
    """A step that ends the demo, in the server's own words."""


def run(*, as_json: bool, keep: Path | None) -> bool:
    """Run the demo and print its closing table, or with `as_json` the same as data; whether every step held."""
    steps = anyio.run(_in_directory, keep, as_json)
    ok = all(step.ok or step.noisy for step in steps)
    if as_json:
        plain = [
            {"step": s.name, "ok": s.ok, "noisy": s.noisy, "detail": s.detail, "seconds": round(s.seconds, 2), **s.data}
            for s in steps
        ]
        sys.stdout.write(json.dumps({"ok": ok, "steps": plain}, indent=2) + "\n")
    else:
        _print_table(steps, Console())
    return ok


def _print_table(steps: list[Step], console: Console) -> None:
    table = Table("step", "", "result", "seconds", title="Kernelwright demo")
    for step in steps:
        mark = "[green]ok[/]" if step.ok else "[yellow]noisy[/]" if step.noisy else "[red]failed[/]"
        table.add_row(step.name, mark, step.detail, f"{step.seconds:.1f}")
    console.print(table)


async def _in_directory(keep: Path | None, quiet: bool) -> list[Step]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        return await _steps(keep.resolve(), quiet)
    with tempfile.TemporaryDirectory(prefix="kernelwright-demo-") as folder:
        return await _steps(Path(folder).resolve(), quiet)


async def _steps(folder: Path, quiet: bool) -> list[Step]:
    steps: list[Step] = []
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet) as progress:
        task = progress.add_task("starting the server")
        try:
            async with _session(folder, lambda line: progress.update(task, description=line)) as session:
                await _the_way(session, folder, steps)
        except* DemoError as errors:
            steps[-1].detail = str(errors.exceptions[0])
    return steps


class _Session:
    """Calls tools and tells a person how they go."""

    def __init__(self, client: Client, tell: Callable[[str], None]) -> None:
        self.client = client
        self.tell = tell

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The structured result, waited for to the end; DemoError when the server refuses."""

        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            self.tell(f"{tool}: {message}")

        self.tell(tool)
        result = await self.client.call_tool(tool, arguments, progress_callback=on_progress)
        data: dict[str, Any] = result.structured_content or {}
        if result.is_error:
            raise DemoError(summarise(getattr(result.content[0], "text", "no answer"), 400))
        while data.get("status") in {"running", "queued"}:
            waited = await self.client.call_tool("get_job", {"job_id": data["job_id"]}, progress_callback=on_progress)
            job: dict[str, Any] = waited.structured_content or {}
            data = job.get("result") or job
        return data


@asynccontextmanager
async def _session(folder: Path, tell: Callable[[str], None]) -> AsyncIterator[_Session]:
    # Where no sandbox can be had the demo still runs, since its kernel is our own; the table says so.
    environment = os.environ | {"KERNELWRIGHT_ALLOW_UNSANDBOXED": "1"}
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "kernelwright.server.cli", "serve"], cwd=folder, env=environment
    )
    async with Client(server) as client:
        yield _Session(client, tell)


async def _the_way(session: _Session, folder: Path, steps: list[Step]) -> None:
    async def step(name: str, work: Callable[[Step], Awaitable[None]]) -> Step:
        steps.append(this := Step(name))
        began = time.monotonic()
        try:
            await work(this)
        finally:
            this.seconds = time.monotonic() - began
        return this

    host: dict[str, Any] = {}

    async def look(this: Step) -> None:
        host.update((await session.call("list_hosts"))["hosts"][0])
        tools = ", ".join(f"{name} {found}" for name, found in host["toolchain"].items() if found)
        gpus = ", ".join(gpu["name"] for gpu in host["gpus"]) or "no GPU: the CPU backend"
        missing = "; to have a sandbox: apt-get install -y bubblewrap" if host["toolchain"]["sandbox"] == "none" else ""
        this.ok, this.detail, this.data = True, f"{gpus}; {tools}{missing}", {"host": dict(host)}

    await step("host", look)
    backend = "cuda" if "cuda" in host["backends"] else "cpu"

    async def guide(this: Step) -> None:
        found = await session.call("get_arch_guide", arch="auto" if host["gpus"] else CUDA_ARCH_WITHOUT_GPU)
        specs = found["specs"]
        this.ok, this.data = True, {"arch": found["arch"], "measured": found["measured"]}
        this.detail = f"{found['name']}: {found['nvcc_flag']}, {specs.get('bandwidth_gbps')} GB/s"

    async def scaffold(this: Step) -> None:
        made = await session.call("scaffold_kernel", op=OP, name=NAME)
        this.ok, this.detail = True, f"{len(made['files'])} files in {made['project']}"

    await step("guide", guide)
    await step("scaffold", scaffold)
    for wanted in ["cpu", *(["cuda"] if host["toolchain"].get("nvcc") else [])]:
        await step(f"compile {wanted}", lambda this, wanted=wanted: _compile(session, this, wanted, host))  # type: ignore[misc]
    await step("benchmark", lambda this: _benchmark(session, this, backend))
    await step("package", lambda this: _package(session, this))
    await step("load", lambda this: _load(this, folder / NAME, backend))


async def _compile(session: _Session, step: Step, backend: str, host: dict[str, Any]) -> None:
    archs = [CUDA_ARCH_WITHOUT_GPU] if backend == "cuda" and not host["gpus"] else ["auto"]
    built = await session.call("compile_kernel", project=NAME, backend=backend, archs=archs)
    step.ok = built["status"] == "ok"
    artifact = built["artifact"] or {}
    step.detail = f"{artifact.get('path', '')} ({artifact.get('bytes', 0)} B)"
    if not step.ok:
        step.detail = "; ".join(d["message"] for d in built["diagnostics"]) or built["status"]
    step.data = {"variant": built["variant"], "compile_s": built["seconds"], "kernels": built["kernels"]}


async def _benchmark(session: _Session, step: Step, backend: str) -> None:
    shapes = CUDA_SHAPES if backend == "cuda" else None
    judged = await session.call("run_benchmark", project=NAME, backend=backend, shapes=shapes)
    if judged["verdict"] == "inconclusive":
        judged = await session.call("run_benchmark", project=NAME, backend=backend, shapes=shapes)
    step.ok = judged["verdict"] == "ok"
    step.noisy = judged["verdict"] == "inconclusive" and all(row["correct"] for row in judged["rows"])
    means = (
        ", ".join(f"{v:.2f}x {k}" for k, v in judged["summary"]["geomean_speedup"].items() if v) if judged["summary"] else ""
    )
    step.detail = f"verdict {judged['verdict']}: {means}" if step.ok else "; ".join(judged["reasons"]) or judged["status"]
    step.data = {key: judged[key] for key in ("verdict", "reasons", "rows", "summary", "device", "method")}


async def _package(session: _Session, step: Step) -> None:
    packed = await session.call("publish_to_hub", project=NAME, repo_id=REPO)
    failed = [f"{check['name']}: {check['detail']}" for check in packed["checks"] if not check["ok"]]
    step.ok = packed["status"] == "ok"
    step.detail = "; ".join(failed) or f"dry run: {len(packed['files'])} files, {len(packed['variants'])} variants"
    step.data = {"variants": packed["variants"]}


async def _load(step: Step, project: Path, backend: str) -> None:
    python = str(Settings().host_python)
    arguments = [python, "-c", _LOAD, str(project), backend, OP]
    done = await anyio.to_thread.run_sync(
        lambda: subprocess.run(arguments, capture_output=True, text=True, timeout=120, cwd=project, check=False)
    )
    if done.returncode:
        raise DemoError(summarise(done.stderr.strip().rpartition("\n")[2] or f"exit code {done.returncode}"))
    step.data = json.loads(done.stdout.strip().rpartition("\n")[2])
    step.ok = step.data.pop("ok")
    step.detail = (
        f"get_local_kernel({project.name!r}) under torch {step.data['torch']} on {step.data['device']}, "
        f"relative error {step.data['relative_error']:.1e}"
    )
