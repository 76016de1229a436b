"""Every operation's own tests on this GPU: opcheck, torch.compile, odd shapes, refused arguments; then under compute-sanitizer.

    python benchmarks/catalogue_checks.py --out benchmarks/results/<gpu>-checks-<date>.json
    python benchmarks/catalogue_checks.py --ops rmsnorm,softmax --tools memcheck

Each project is copied, compiled for this GPU and tested as its owner would (`pytest tests`). compute-sanitizer then watches the
tests that compare with the reference, allocations uncached so that a byte too far is seen. Several run at once, so nothing here
is a time. A short table stands last; exit status 1 means that a test failed or a tool found something.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from kernelwright.tools import catalogue
from kernelwright.tools.compile_kernel.build import compile_project
from kernelwright.tools.run_benchmark.sanitize import CHECKS, parse
from kernelwright.tools.tool import Context

AT_ONCE = max(2, min(12, (os.cpu_count() or 2) - 2))
LIMIT_S = 400


@dataclass
class Check:
    """What one run said: `tool` is "tests" or one of compute-sanitizer's, `findings` kinds of error and how often each came."""

    op: str
    tool: str
    passed: bool
    seconds: float
    summary: str
    findings: list[str]


def built(op: str, work: Path) -> Path:
    """A copy of the project with its package for this GPU."""
    project, folder = work / op, work / f"job-{op}"
    shutil.copytree(catalogue.folder(op), project, ignore=shutil.ignore_patterns("build", "__pycache__"))
    folder.mkdir()
    context = Context(folder, work / "cache", Path(sys.executable), project, op, f"checks-{op}", lambda *_a, **_k: None)
    result = compile_project(project, backend="cuda", context=context)
    if result.status != "ok":
        raise RuntimeError(f"{op}: {result.markdown()[:600]}")
    return project


def tests(op: str, project: Path) -> Check:
    """The project's own tests."""
    return _run(op, "tests", project, [], [])


def sanitized(op: str, tool: str, project: Path, executable: str) -> Check:
    """The tests that compare with the reference, watched by `tool`."""
    return _run(op, tool, project, [executable, "--tool", tool, "--print-limit", "50"], ["-m", "kernels_ci"])


def _run(op: str, tool: str, project: Path, before: list[str], chosen: list[str]) -> Check:
    started = time.monotonic()
    command = [*before, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests", *chosen]
    env = {**os.environ, **({"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"} if before else {})}
    try:
        done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, timeout=LIMIT_S)
        output, code = done.stdout + done.stderr, done.returncode
    except subprocess.TimeoutExpired as error:
        output, code = str(error.stdout or ""), 124
    findings = parse(output) if before else []
    said = next((line for line in reversed(output.splitlines()) if " passed" in line or " failed" in line), output[-300:])
    # A sanitizer that did not run found nothing either.
    watched = not before or "SUMMARY" in output
    passed = code == 0 and not findings and watched
    return Check(op, tool, passed, round(time.monotonic() - started, 1), said.strip("= "), findings)


def _executable() -> str | None:
    places = (str(path) for path in Path("/usr/local").glob("cuda*/bin/compute-sanitizer"))
    return shutil.which("compute-sanitizer") or next(places, None)


def main() -> int:
    """Build, test, watch, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ops", default=",".join(catalogue.ops()), help="comma-separated; default all")
    parser.add_argument("--tools", default=",".join(CHECKS), help="of compute-sanitizer, comma-separated; empty for none")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    ops = asked.ops.split(",")
    executable = _executable()
    with tempfile.TemporaryDirectory(prefix="catalogue-checks-") as folder, ThreadPoolExecutor(AT_ONCE) as pool:
        projects = dict(zip(ops, pool.map(lambda op: built(op, Path(folder)), ops), strict=True))
        print(f"{len(ops)} projects built", file=sys.stderr, flush=True)
        pending = [pool.submit(tests, op, projects[op]) for op in ops]
        for tool in filter(None, asked.tools.split(",")) if executable else []:
            pending += [pool.submit(sanitized, op, tool, projects[op], executable) for op in ops]
        checks = [one.result() for one in pending]
    if asked.out:
        asked.out.write_text(json.dumps([asdict(check) for check in checks], indent=1) + "\n", encoding="utf-8")
    for check in checks:
        said = "; ".join([check.summary, *check.findings])[:200]
        print(f"{check.op:14} {check.tool:10} {'ok ' if check.passed else 'BAD'} {check.seconds:6.1f} s  {said}")
    if not executable:
        print("compute-sanitizer is not installed: only the tests were run")
    return 0 if all(check.passed for check in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
