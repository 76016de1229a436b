"""Whether run_benchmark's numbers can be trusted, measured on a GPU: one command, a short table last, everything as JSON.

    python benchmarks/judge_gpu.py --out benchmarks/results/judge.json [--parts repeat,compare,…] [--root FOLDER]

repeat   rmsnorm in five separate jobs: how far the medians are apart (to be within 1 %)
compare  the same kernel by other clocks (to be within 3 % over 20 us): ncu's gpu__time_duration of calls one after the other
         and with caches flushed; triton's do_bench, and its like with a cache cleared by reading and launches hidden
witness  what the judge's graph takes beside the calls
places   how much of a figure the place in memory decides, how much the capture, how much one sample
full     eight shapes, two dtypes, three baselines in one job: seconds of each phase, verdict (to be under 60 s)
pair     two jobs started at once: their numbers against those of a lone one
suite    the cheating and the honest kernels that need a GPU (pytest -m gpu)

How to run it: on a host with one NVIDIA GPU that nobody else uses, in a checkout, with the Python that has
kernelwright, torch for CUDA, triton and pytest, and with nvcc and g++ on the PATH or below /usr/local/cuda. ncu is
looked for, and a host that forbids its counters says so in the table. As root inside a container the second tier of the
sandbox is used where user namespaces are forbidden; each job's method names the tier. Nothing is downloaded. Every part
is written to --out as soon as it is done, so a run that is cut short keeps what it has; progress goes to standard
error. Where time is short, run the parts one by one, `full` first: it shows the most at once; with the same --root they
share one project and what was compiled. Exit status 1 means that a part failed to run, not that a number is bad.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kernelwright.tools.compile_kernel.build import compile_project
from kernelwright.tools.run_benchmark.contract import TOOL as BENCHMARK
from kernelwright.tools.run_benchmark.contract import BenchmarkArgs
from kernelwright.tools.scaffold_kernel.contract import TOOL as SCAFFOLD
from kernelwright.tools.scaffold_kernel.contract import ScaffoldArgs
from kernelwright.tools.tool import Context

PARTS = ("repeat", "compare", "witness", "places", "full", "pair", "suite")
SHAPES = [[128, 4096], [1024, 4096], [8192, 4096], [32768, 4096]]
EIGHT = [[128, 4096], [512, 4096], [1024, 4096], [2048, 4096], [4096, 4096], [8192, 4096], [8192, 2048], [4096, 8192]]
JOBS = 5

CLOCKS = Path(__file__).parent / "judge_clocks.py"
NCU_FLAGS = "--profile-from-start off --clock-control none --csv --print-units base --metrics gpu__time_duration.sum"


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
        "tracks": [{"shape": r["shape"], "dtype": r["dtype"], **r.get("tracks", {})} for r in written["judge"]["rows"]],
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
        # Of each job by the device's events, and at each place in memory: whether a difference is the clock's or the kernel's.
        "event_us": {},
        "places_us": {},
    }
    own = [{"x".join(map(str, t["shape"])): t["candidate"] for t in j["tracks"] if "candidate" in t} for j in jobs]
    for shape in us(jobs[0]):
        values = [us(j)[shape] for j in jobs if shape in us(j)]
        middle = statistics.median(values)
        found["us"][shape] = values
        found["event_us"][shape] = [round(tracks[shape]["event_us"], 3) for tracks in own if shape in tracks]
        found["places_us"][shape] = [[round(v, 3) for v in t[shape]["places_us"]] for t in own if shape in t]
        found["spread_pct"][shape] = round(100 * max(abs(v - middle) for v in values) / middle, 2)
    return {**found, "jobs": jobs}


def compare(root: Path, project: Path) -> dict[str, Any]:
    """The same kernel by other clocks, microseconds by shape; a tool that is missing or denied says so."""
    found: dict[str, Any] = {"sm_mhz": {}, "seconds": {}}

    def noted(name: str, measure: Callable[[], Any]) -> Any:
        started = time.monotonic()
        with sm_clock(found["sm_mhz"], name):
            value = measure()
        found["seconds"][name] = round(time.monotonic() - started, 1)
        return value

    done = noted("judge", lambda: job(root, "compare", project, shapes=SHAPES, dtypes=["bfloat16"], baselines=[]))
    found |= {"verdict": done["verdict"], "judge": us(done)}
    by_events = noted("do_bench", lambda: by_other_clock(project, "events"))
    if isinstance(by_events, str):
        found["do_bench"] = by_events
    else:
        hows = next(iter(by_events.values()))
        found |= {how: {shape: row[how] for shape, row in by_events.items()} for how in hows}
    found["ncu steady"] = noted("ncu steady", lambda: by_ncu(project, "none"))
    found["ncu flushed"] = noted("ncu flushed", lambda: by_ncu(project, "all"))
    return found


@contextlib.contextmanager
def sm_clock(into: dict[str, Any], name: str) -> Iterator[None]:
    """Note the first GPU's clock meanwhile, in MHz four times a second: the middle of those values and the largest one."""
    query = ["nvidia-smi", "-i", "0", "--query-gpu=clocks.sm", "--format=csv,noheader,nounits", "-lms", "250"]
    watching = subprocess.Popen(query, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield
    finally:
        watching.terminate()
        seen = [int(line) for line in watching.communicate()[0].split() if line.isdigit()]
        into[name] = [statistics.median(seen), max(seen)] if seen else None


def package_of(project: Path) -> Path:
    """The package that was built last for CUDA; there must be one."""
    return max((project / "build").glob("torch*cu*"), key=lambda p: p.stat().st_mtime)


def by_other_clock(project: Path, how: str, shapes: list[list[int]] = SHAPES) -> dict[str, Any] | str:
    """What judge_clocks.py says, or the end of what it complains of."""
    argv = [sys.executable, str(CLOCKS), str(package_of(project)), how, json.dumps(shapes)]
    run = subprocess.run(argv, capture_output=True, text=True, timeout=300)
    if run.returncode:
        return run.stderr[-400:]
    said: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return said


def by_ncu(project: Path, flushed: str) -> dict[str, float] | str:
    """Median gpu__time_duration of each shape's calls in microseconds, clocks left alone.

    `flushed`: before each call `all` caches or `none`. One metric needs no second pass, so no call is made twice.
    """
    ncu = shutil.which("ncu") or next((str(p) for p in Path("/usr/local").glob("cuda*/bin/ncu")), None)
    if ncu is None:
        return "ncu is not installed"
    asked = [str(CLOCKS), str(package_of(project)), "profiled", json.dumps(SHAPES)]
    argv = [ncu, *NCU_FLAGS.split(), "--cache-control", flushed, sys.executable, *asked]
    run = subprocess.run(argv, capture_output=True, text=True, timeout=400)
    lines = [line for line in run.stdout.splitlines() if line.startswith('"')]
    rows = list(csv.DictReader(io.StringIO("\n".join(lines)))) if lines else []
    values = [float(r["Metric Value"].replace(",", "")) / 1e3 for r in rows if r.get("Metric Name") == "gpu__time_duration.sum"]
    names = ["empty", *("x".join(map(str, shape)) for shape in SHAPES)]
    if not values or len(values) % len(names):
        return (run.stderr or run.stdout)[-400:] or f"{len(values)} values"
    each = len(values) // len(names)
    return {name: round(statistics.median(values[i * each : (i + 1) * each]), 3) for i, name in enumerate(names)}


def witness(root: Path, project: Path) -> dict[str, Any]:
    """What the judge's graph takes beside the calls; see judge_clocks.py."""
    return beside_the_judge(root, project, "witness")


def places(root: Path, project: Path) -> dict[str, Any]:
    """What decides a figure; see judge_clocks.py."""
    return beside_the_judge(root, project, "places")


def beside_the_judge(root: Path, project: Path, how: str) -> dict[str, Any]:
    """What judge_clocks.py says of a small shape and of a large one; raises RuntimeError. Builds the package if need be."""
    if not list((project / "build").glob("torch*cu*")):
        compile_project(project, backend="cuda", context=context(root, "compile", project))
    said = by_other_clock(project, how, [[128, 4096], [8192, 4096]])
    if isinstance(said, str):
        raise RuntimeError(said)
    return said


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
        lines += [
            f"repeat  {s:>12} events {v}, places {found['repeat']['places_us'][s]}"
            for s, v in found["repeat"]["event_us"].items()
        ]
        lines += [f"repeat  seconds {[j['seconds'] for j in found['repeat']['jobs']]}"]
        lines.append(f"repeat  verdicts {found['repeat']['verdicts']} {found['repeat']['reasons'][:2]}")
    if "compare" in found:
        hidden = {"verdict", "sm_mhz", "seconds"}
        lines += [f"compare {how:>26}: {value}" for how, value in found["compare"].items() if how not in hidden]
        lines += [f"compare {how}: {found['compare'][how]}" for how in ("seconds", "sm_mhz")]
    for part in ("witness", "places"):
        lines += [f"{part:<7} {shape:>10}: {row}" for shape, row in found.get(part, {}).items()]
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
    parser.add_argument("--root", type=Path, help="where the project and the jobs lie; default a new folder")
    asked = parser.parse_args()
    root = asked.root.resolve() if asked.root else Path(tempfile.mkdtemp(prefix="kernelwright-judge-"))
    if asked.one:
        # Two jobs build the same sources; each has a copy, as two agents would.
        shutil.copytree(asked.one, root / "copy", dirs_exist_ok=True)
        done = job(root, "job", root / "copy", shapes=SHAPES, dtypes=["bfloat16"], baselines=["eager"])
        print(json.dumps({"us": us(done), "verdict": done["verdict"]}))
        return 0
    project = root / "judged-norm"
    if not project.exists():
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
