"""Compiles and benchmarks every operation of the catalogue through run_benchmark's own function, and prints a short table last.

    python benchmarks/catalogue.py --out benchmarks/results/<gpu>-catalogue-<date>.json
    python benchmarks/catalogue.py --ops rmsnorm,softmax --quick

`--quick` measures the first, a middle and the last shape in the first dtype only. What the table says: device time of one call
with a cold L2 (wall time on the CPU), the fastest baseline of the same job, the share of the copy bandwidth measured in it, and
the wall time of one eager call beside that of the quickest baseline.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kernelwright.tools import catalogue
from kernelwright.tools.run_benchmark.contract import BenchmarkArgs, BenchmarkResult, BenchmarkRow
from kernelwright.tools.run_benchmark.run import run
from kernelwright.tools.tool import Context, ToolError

_ASK = """
import json, sys
sys.path.insert(0, ".")
import problem
shapes = getattr(problem, "cpu_shapes", problem.shapes) if sys.argv[1] == "cpu" else problem.shapes
print(json.dumps([[list(s) for s in shapes], list(problem.dtypes), list(getattr(problem, "baselines", {}))]))
"""


@dataclass(frozen=True)
class Measured:
    """One op: what run_benchmark answered, or why it could not.

    `wall_us`: of each row of the result, wall time of one eager call of each baseline in us.
    """

    op: str
    seconds: float
    result: BenchmarkResult | None
    error: str = ""
    wall_us: list[dict[str, float]] = field(default_factory=list)


def _measure(op: str, options: argparse.Namespace, work: Path) -> Measured:
    started = time.monotonic()
    project = work / op
    shutil.copytree(catalogue.folder(op), project, ignore=shutil.ignore_patterns("build", "__pycache__"))
    folder = work / f"job-{op}"
    folder.mkdir()
    context = Context(
        folder=folder,
        cache=options.cache,
        host_python=options.python,
        project=project,
        project_id=str(project),
        job_id=f"catalogue-{op}",
        progress=lambda stage, message="", fraction=None: print(f"  {op}: {stage} {message}", file=sys.stderr, flush=True),
    )
    try:
        answer = run(_arguments(project, options), context)
    except ToolError as error:
        return Measured(op, time.monotonic() - started, None, str(error))
    except subprocess.CalledProcessError as error:
        return Measured(op, time.monotonic() - started, None, f"problem.py cannot be read: {error.stderr[-300:]}")
    if not (folder / "report.json").exists():
        return Measured(op, time.monotonic() - started, answer)
    # The answer is cut to what a client shows; the report has every row.
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    result = BenchmarkResult.model_validate(report["result"])
    return Measured(op, time.monotonic() - started, result, wall_us=[_walls(row) for row in report["judge"]["rows"]])


def _walls(row: dict[str, Any]) -> dict[str, float]:
    tracks = row.get("tracks", {})
    return {name: round(t["wall_us"], 2) for name, t in tracks.items() if name != "candidate" and t.get("wall_us")}


def _arguments(project: Path, options: argparse.Namespace) -> BenchmarkArgs:
    command = [str(options.python), "-c", _ASK, options.backend]
    # What only a PYTHONPATH leads to is not there for the sandboxed children either.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    answer = subprocess.run(command, cwd=project, env=env, check=True, capture_output=True, text=True)
    shapes, dtypes, baselines = json.loads(answer.stdout.splitlines()[-1])
    if options.quick:
        shapes, dtypes = [shapes[i] for i in sorted({0, len(shapes) // 2, len(shapes) - 1})], dtypes[:1]
    if options.dtypes:
        dtypes = options.dtypes.split(",")
    return BenchmarkArgs(
        project=str(project),
        backend=options.backend,
        shapes=shapes,
        dtypes=dtypes,
        baselines=["eager", "compile", *baselines] if options.baselines is None else options.baselines.split(","),
    )


def _best(row: BenchmarkRow) -> tuple[str, float] | None:
    times = {name: us for name, us in row.baseline_us.items() if us}
    return min(times.items(), key=lambda item: item[1]) if times else None


def _lines(measured: Measured) -> list[str]:
    if measured.result is None:
        return [f"{measured.op}: {measured.error}"]
    result, lines, ratios = measured.result, [], []
    for row, walls in zip(result.rows, measured.wall_us, strict=True):
        best = _best(row)
        cells = [f"{measured.op:14}", f"{'x'.join(map(str, row.shape)):>16}", f"{row.dtype:9}", "ok " if row.correct else "BAD"]
        cells.append(f"{row.us:9.2f} us" if row.us else "        - us")
        if best and row.us:
            ratios.append(best[1] / row.us)
            eager = row.speedup.get("eager")
            cells.append(f"{ratios[-1]:5.2f}x {best[0]:10} {eager or math.nan:6.2f}x eager")
        cells.append(f"{row.pct_of_copy:4.0f} % of copy" if row.pct_of_copy else "")
        cells.append(f"wall {row.wall_us:7.1f} us" if row.wall_us else "")
        if row.wall_us and walls:
            quickest = min(walls, key=lambda name: walls[name])
            cells.append(f"({walls[quickest]:.1f} {quickest})")
        lines.append(" ".join(cells).rstrip())
    mean = (
        f"{math.exp(sum(map(math.log, ratios)) / len(ratios)):.3f}x the best baseline in the geometric mean" if ratios else ""
    )
    reasons = "; ".join(result.reasons)[:300]
    lines.append(f"{measured.op}: {result.verdict or result.status} in {measured.seconds:.0f} s. {mean} {reasons}".rstrip())
    return lines


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ops", default=",".join(catalogue.ops()), help="comma-separated; default all")
    parser.add_argument("--quick", action="store_true", help="three shapes, one dtype")
    parser.add_argument("--dtypes", help="comma-separated; default those of each problem.py")
    parser.add_argument("--backend", default="auto", choices=["auto", "cuda", "cpu"])
    parser.add_argument("--baselines", help="comma-separated; default eager, compile and those of each problem.py")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="the Python that has torch")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "kernelwright-catalogue-cache")
    parser.add_argument("--out", type=Path, help="JSON with every row")
    return parser.parse_args()


def _as_data(measured: list[Measured]) -> list[dict[str, Any]]:
    return [
        {
            **asdict(m),
            "result": m.result.model_dump(mode="json", exclude={"job_id", "stage", "queue_position"}) if m.result else None,
        }
        for m in measured
    ]


def main() -> int:
    """Measure, print, write; 1 if any op has another verdict than ok."""
    options = _options()
    measured: list[Measured] = []
    for op in options.ops.split(","):
        with tempfile.TemporaryDirectory(prefix="catalogue-") as work:
            measured.append(_measure(op, options, Path(work)))
        # After each, so that a run cut short leaves what it has.
        if options.out:
            options.out.write_text(json.dumps(_as_data(measured), indent=1) + "\n", encoding="utf-8")
    print("\n".join(line for m in measured for line in _lines(m)))
    return 0 if all(m.result and m.result.verdict == "ok" for m in measured) else 1


if __name__ == "__main__":
    sys.exit(main())
