"""Whether run_benchmark's numbers can be trusted, measured on a GPU: one command, a short table last, everything as JSON.

    python benchmarks/judge_gpu.py --out benchmarks/results/judge.json [--parts repeat,compare,full,pair,suite]

repeat   rmsnorm in five separate jobs: how far the medians are apart (to be within 1 %)
compare  the same kernel by triton's do_bench with a cleared L2 and by ncu's gpu__time_duration (to be within 3 % over 20 us)
full     eight shapes, two dtypes, three baselines in one job: seconds of each phase, verdict (to be under 60 s)
pair     two jobs started at once: their numbers against those of a lone one
suite    the cheating and the honest kernels that need a GPU (pytest -m gpu)

How to run it: on a host with one NVIDIA GPU that nobody else uses, in a checkout, with the Python that has
kernelwright, torch for CUDA, triton and pytest, and with nvcc and g++ on the PATH or below /usr/local/cuda. ncu is
looked for, and a host that forbids its counters says so in the table. As root inside a container the second tier of the
sandbox is used where user namespaces are forbidden; each job's method names the tier. Nothing is downloaded. Every part
is written to --out as soon as it is done, so a run that is cut short keeps what it has; progress goes to standard
error. Where time is short, run the parts one by one, `full` first: it shows the most at once. Exit status 1 means that
a part failed to run, not that a number is bad.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from kernelwright.tools.run_benchmark.contract import TOOL as BENCHMARK
from kernelwright.tools.run_benchmark.contract import BenchmarkArgs
from kernelwright.tools.scaffold_kernel.contract import TOOL as SCAFFOLD
from kernelwright.tools.scaffold_kernel.contract import ScaffoldArgs
from kernelwright.tools.tool import Context

PARTS = ("repeat", "compare", "full", "pair", "suite")
SHAPES = [[128, 4096], [1024, 4096], [8192, 4096], [32768, 4096]]
EIGHT = [[128, 4096], [512, 4096], [1024, 4096], [2048, 4096], [4096, 4096], [8192, 4096], [8192, 2048], [4096, 8192]]
JOBS = 5

# Runs under the user's Python beside the built package: argv is the package's folder and the shapes as JSON.
OTHERS = r"""
import importlib.util, json, sys, torch
folder, shapes, how = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
spec = importlib.util.spec_from_file_location("under_test", folder + "/__init__.py", submodule_search_locations=[folder])
package = importlib.util.module_from_spec(spec)
sys.modules["under_test"] = package
spec.loader.exec_module(package)
found = {}
for shape in shapes:
    x = torch.randn(*shape, device="cuda").to(torch.bfloat16)
    w = torch.randn(shape[-1], device="cuda").to(torch.bfloat16)
    for _ in range(3):
        package.rmsnorm(x, w)
    torch.cuda.synchronize()
    if how == "do_bench":
        from triton.testing import do_bench
        ms = do_bench(lambda: package.rmsnorm(x, w), warmup=50, rep=300, return_mode="median")
        found["x".join(map(str, shape))] = 1e3 * ms
    else:
        torch.cuda.profiler.start()
        for _ in range(7):
            package.rmsnorm(x, w)
        torch.cuda.synchronize()
        torch.cuda.profiler.stop()
print(json.dumps(found))
"""


def context(root: Path, job: str, project: Path) -> Context:
    """A context whose files lie below `root`; progress goes to standard error."""

    def say(stage: str, message: str = "", fraction: float | None = None) -> None:
        if stage != "checking":
            print(f"  [{job}] {stage} {message}", file=sys.stderr, flush=True)

    folder = root / job
    folder.mkdir(parents=True, exist_ok=True)
    return Context(folder, root / "cache", Path(sys.executable), project, project.name, job, say, roots=(root,))


def job(root: Path, name: str, project: Path, **asked: Any) -> dict[str, Any]:
    """One benchmark job; its verdict, seconds and microseconds by row."""
    started = time.monotonic()
    args = BenchmarkArgs(project=str(project), backend="cuda", **asked)
    result = BENCHMARK.run(args, context(root, name, project))
    if result.status != "ok":
        raise RuntimeError("; ".join(result.reasons) or result.status)
    written = json.loads((root / name / "report.json").read_text())
    report, method = written["result"], written["judge"]["method"]
    return {
        "verdict": result.verdict,
        "reasons": result.reasons,
        "notes": result.notes,
        "seconds": round(time.monotonic() - started, 1),
        "rows": report["rows"],
        "method": report["method"],
        "phases": method.get("phase_seconds", {}),
        "device": report["device"],
    }


def us(done: dict[str, Any], dtype: str = "bfloat16") -> dict[str, float]:
    """Microseconds by shape of one dtype."""
    return {"x".join(map(str, r["shape"])): r["us"] for r in done["rows"] if r["dtype"] == dtype and r["us"]}


def repeat(root: Path, project: Path) -> dict[str, Any]:
    """Five jobs; per shape the medians and the largest distance from their median in percent."""
    jobs = [job(root, f"repeat{i}", project, shapes=SHAPES, dtypes=["bfloat16"], baselines=["eager"]) for i in range(JOBS)]
    found: dict[str, Any] = {
        "verdicts": [j["verdict"] for j in jobs],
        "reasons": jobs[0]["reasons"],
        "us": {},
        "spread_pct": {},
    }
    for shape in us(jobs[0]):
        values = [us(j)[shape] for j in jobs if shape in us(j)]
        middle = statistics.median(values)
        found["us"][shape] = values
        found["spread_pct"][shape] = round(100 * max(abs(v - middle) for v in values) / middle, 2)
    return {**found, "jobs": jobs}


def compare(root: Path, project: Path) -> dict[str, Any]:
    """The same kernel by do_bench and by ncu, microseconds by shape; a tool that is missing or denied says so."""
    done = job(root, "compare", project, shapes=SHAPES, dtypes=["bfloat16"], baselines=[])
    package = max((project / "build").glob("torch*cu*"), key=lambda p: p.stat().st_mtime)
    script = root / "others.py"
    script.write_text(OTHERS)
    argv = [sys.executable, str(script), str(package), json.dumps(SHAPES)]
    found: dict[str, Any] = {"judge": us(done), "verdict": done["verdict"]}
    bench = subprocess.run([*argv, "do_bench"], capture_output=True, text=True, timeout=300)
    found["do_bench"] = json.loads(bench.stdout.splitlines()[-1]) if bench.returncode == 0 else bench.stderr[-400:]
    found["ncu"] = by_ncu([*argv, "ncu"])
    return found


def by_ncu(argv: list[str]) -> dict[str, float] | str:
    """Median gpu__time_duration of each shape's calls, caches flushed and clocks left alone, in microseconds."""
    ncu = shutil.which("ncu") or next((str(p) for p in Path("/usr/local").glob("cuda*/bin/ncu")), None)
    if ncu is None:
        return "ncu is not installed"
    flags = [
        "--profile-from-start",
        "off",
        "--clock-control",
        "none",
        "--cache-control",
        "all",
        "--csv",
        "--print-units",
        "base",
    ]
    run = subprocess.run(
        [ncu, *flags, "--metrics", "gpu__time_duration.sum", *argv], capture_output=True, text=True, timeout=400
    )
    lines = [line for line in run.stdout.splitlines() if line.startswith('"')]
    rows = list(csv.DictReader(io.StringIO("\n".join(lines)))) if lines else []
    values = [float(r["Metric Value"].replace(",", "")) / 1e3 for r in rows if r.get("Metric Name") == "gpu__time_duration.sum"]
    if not values or len(values) % len(SHAPES):
        return (run.stderr or run.stdout)[-400:] or f"{len(values)} values"
    each = len(values) // len(SHAPES)
    return {
        "x".join(map(str, shape)): round(statistics.median(values[i * each : (i + 1) * each]), 3)
        for i, shape in enumerate(SHAPES)
    }


def full(root: Path, project: Path) -> dict[str, Any]:
    """One job of eight shapes, two dtypes and three baselines."""
    return job(
        root, "full", project, shapes=EIGHT, dtypes=["bfloat16", "float32"], baselines=["eager", "compile", "F.rms_norm"]
    )


def pair(root: Path, project: Path) -> dict[str, Any]:
    """Two jobs at once, each a process of its own, against a lone one."""
    argv = [sys.executable, __file__, "--one", str(project), "--root"]
    lone = job(root, "lone", project, shapes=SHAPES, dtypes=["bfloat16"], baselines=["eager"])
    both = [
        subprocess.Popen([*argv, str(root / f"pair{i}")], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for i in range(2)
    ]
    found = [json.loads(process.communicate(timeout=400)[0].splitlines()[-1]) for process in both]
    apart = [100 * abs(f["us"][s] / us(lone)[s] - 1) for f in found for s in us(lone) if s in f["us"]]
    return {"lone": us(lone), "together": found, "apart_pct": round(max(apart), 2) if apart else None}


def suite(root: Path, project: Path) -> dict[str, Any]:
    """The regression suite's GPU part."""
    tests = Path(__file__).parent.parent / "tests/tools/run_benchmark"
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", str(tests)],
        capture_output=True,
        text=True,
        timeout=590,
    )
    return {"passed": run.returncode == 0, "output": run.stdout[-8000:]}


def table(found: dict[str, Any]) -> list[str]:
    """The short table."""
    lines = []
    if "repeat" in found:
        lines += [
            f"repeat  {s:>12} {v} us, spread {found['repeat']['spread_pct'][s]} %" for s, v in found["repeat"]["us"].items()
        ]
        lines.append(f"repeat  verdicts {found['repeat']['verdicts']} {found['repeat']['reasons'][:2]}")
    if "compare" in found:
        lines += [f"compare {how:>9}: {found['compare'][how]}" for how in ("judge", "do_bench", "ncu")]
    if "full" in found:
        done = found["full"]
        lines.append(f"full    {done['verdict']} in {done['seconds']} s, {len(done['rows'])} rows; {done['reasons'][:2]}")
        lines.append(f"full    seconds by phase {done['phases']}")
        lines += [f"full    note: {note}" for note in done["notes"][:3]]
        lines += [
            f"full    {r['shape']} {r['dtype']} {r['us']} us, warm {r['warm_us']} us, {r['pct_of_copy']} % {r['speedup']}"
            for r in done["rows"]
        ]
    if "pair" in found:
        lines.append(f"pair    apart by at most {found['pair']['apart_pct']} %")
    if "suite" in found:
        lines += found["suite"]["output"].splitlines()[-12:]
    return lines


def main() -> int:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, default=None, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    root = asked.root or Path(tempfile.mkdtemp(prefix="kernelwright-judge-"))
    if asked.one:
        # Two jobs build the same sources; each has a copy, as two agents would.
        shutil.copytree(asked.one, root / "copy")
        done = job(root, "job", root / "copy", shapes=SHAPES, dtypes=["bfloat16"], baselines=["eager"])
        print(json.dumps({"us": us(done), "verdict": done["verdict"]}))
        return 0
    project = root / "judged-norm"
    args = ScaffoldArgs(op="rmsnorm", name="judged-norm", backends=["cuda", "cpu"])
    SCAFFOLD.run(args, context(root, "scaffold", project))
    found: dict[str, Any] = {}
    for part in asked.parts.split(","):
        try:
            found[part] = globals()[part](root, project)
        except Exception as error:
            print(f"{part} failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            found.setdefault("failed", {})[part] = f"{type(error).__name__}: {error}"
        if asked.out:
            asked.out.parent.mkdir(parents=True, exist_ok=True)
            asked.out.write_text(json.dumps(found, indent=1))
    print("\n".join([*table(found), *(f"FAILED  {part}: {why[:300]}" for part, why in found.get("failed", {}).items())]))
    return 1 if "failed" in found else 0


if __name__ == "__main__":
    sys.exit(main())
