"""The tool itself from project to report, with real compilers, sandboxes and processes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from kernelwright.tools.run_benchmark.contract import TOOL, BenchmarkArgs, BenchmarkResult
from kernelwright.tools.run_benchmark.replay import replay
from kernelwright.tools.scaffold_kernel.contract import TOOL as SCAFFOLD
from kernelwright.tools.scaffold_kernel.contract import ScaffoldArgs
from kernelwright.tools.tool import Context, ToolError

ASKED: dict[str, Any] = {"backend": "cpu", "shapes": [[64, 256]], "dtypes": ["float32"], "baselines": ["eager", "F.rms_norm"]}


class Job:
    """One project with a context, and the progress it made."""

    def __init__(self, root: Path) -> None:
        import sys

        self.project, self.heard = root / "norm", list[str]()
        (root / "job").mkdir(parents=True)

        def listen(stage: str, message: str = "", fraction: float | None = None) -> None:
            self.heard.append(stage)

        self.context = Context(
            root / "job", root / "cache", Path(sys.executable), self.project, "norm", "job", listen, roots=(root,)
        )

    def run(self, **asked: Any) -> BenchmarkResult:
        result = TOOL.run(BenchmarkArgs(project="norm", **(ASKED | asked)), self.context)
        assert isinstance(result, BenchmarkResult)
        return result


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    job = Job(tmp_path_factory.mktemp("whole"))
    SCAFFOLD.run(ScaffoldArgs(op="rmsnorm", name="norm", backends=["cpu"]), job.context)
    return job


@pytest.fixture(scope="module")
def done(job: Job) -> BenchmarkResult:
    return job.run()


def test_verdict_and_numbers(done: BenchmarkResult, job: Job) -> None:
    assert (done.status, done.verdict in {"ok", "inconclusive"}) == ("ok", True), done.reasons
    (row,) = done.rows
    assert row.correct and row.error is not None and row.tolerance is not None and row.error <= row.tolerance
    assert row.us and row.wall_us and row.gbps and row.ci95_us and row.ci95_us[0] <= row.us <= row.ci95_us[1]
    assert set(row.baseline_us) == set(row.speedup) == {"eager", "F.rms_norm"}
    assert row.speedup["eager"] == pytest.approx((row.baseline_us["eager"] or 0) / row.us, rel=0.01)
    assert done.summary and done.summary.geomean_speedup["eager"] == pytest.approx(row.speedup["eager"], rel=0.01)
    assert done.reference and done.reference.source == "catalogue"
    assert done.method["sandbox"] == "bubblewrap"
    assert {"starting", "checking", "timing"} <= set(job.heard)


def test_result_stands_alone_as_text_and_fits(done: BenchmarkResult) -> None:
    text = done.markdown()
    assert text.startswith(f"verdict: {done.verdict}")
    assert "64x256" in text and done.report_uri in text
    assert len(done.model_dump_json()) < 10_000


def test_report_files(done: BenchmarkResult, job: Job) -> None:
    folder = job.context.folder
    report = json.loads((folder / "report.json").read_text())
    assert report["result"]["source_sha256"] == done.source_sha256
    assert report["judge"]["method"]["cases"][0]["seed"]
    assert report["judge"]["rows"][0]["ran"] is not None
    page = (folder / "report.html").read_text()
    assert page.count("<svg") == 2 and "64 x 256" in page and "<script" not in page
    assert re.search(r'<meta name="viewport"', page)
    plot = (folder / "plot.svg").read_text()
    assert plot.startswith("<svg") and "F.rms_norm" in plot and "copy" in plot


def test_report_replays_with_the_same_draws(done: BenchmarkResult, job: Job) -> None:
    first = json.loads((job.context.folder / "report.json").read_text())["judge"]["method"]
    again = replay(job.context.folder / "report.json", job.context)
    second = json.loads((job.context.folder / "report.json").read_text())["judge"]["method"]
    assert again.verdict in {"ok", "inconclusive"}
    assert (first["seed"], first["cases"]) == (second["seed"], second["cases"])


def test_changed_sources_do_not_replay(done: BenchmarkResult, job: Job, tmp_path: Path) -> None:
    report = json.loads((job.context.folder / "report.json").read_text())
    report["result"]["source_sha256"] = "0" * 64
    (tmp_path / "report.json").write_text(json.dumps(report))
    with pytest.raises(ToolError) as caught:
        replay(tmp_path / "report.json", job.context)
    assert caught.value.code == "conflict"
    (tmp_path / "other.json").write_text("[]")
    for name, code in (("missing.json", "not_found"), ("other.json", "bad_argument")):
        with pytest.raises(ToolError) as caught:
            replay(tmp_path / name, job.context)
        assert caught.value.code == code


def test_unknown_baseline_is_refused_by_the_whole_tool(job: Job) -> None:
    with pytest.raises(ToolError) as caught:
        job.run(baselines=["fastest"])
    assert caught.value.code == "bad_argument"
    assert "eager" in caught.value.hint


def test_problem_of_the_project_is_said_to_be_so(job: Job) -> None:
    problem = job.project / "problem.py"
    original = problem.read_text()
    problem.write_text(original + "\n# mine\n")
    try:
        result = job.run(baselines=[])
    finally:
        problem.write_text(original)
    assert result.reference and result.reference.source == "project"


def test_without_problem_there_is_nothing_to_judge(job: Job) -> None:
    problem = job.project / "problem.py"
    original = problem.read_text()
    problem.unlink()
    try:
        with pytest.raises(ToolError) as caught:
            job.run()
    finally:
        problem.write_text(original)
    assert caught.value.code == "bad_argument" and "problem.py" in caught.value.message


def test_kernel_that_does_not_compile_is_a_result(job: Job) -> None:
    source = next((job.project / "norm_cpu").glob("*.cpp"))
    original = source.read_text()
    try:
        result = job.run(files={f"norm_cpu/{source.name}": original + "\nthis is no C++;\n"})
    finally:
        source.write_text(original)
    assert (result.status, result.verdict) == ("failed", "invalid")
    assert "does not compile" in result.reasons[0]


def test_model_level_is_refused(job: Job) -> None:
    with pytest.raises(ToolError) as caught:
        job.run(level="model")
    assert caught.value.code == "bad_argument"
    assert "not built" in caught.value.message and "level='kernel'" in caught.value.hint
