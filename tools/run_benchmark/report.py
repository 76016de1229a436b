"""The report of one job as files: everything as JSON, a short markdown, a page, a plot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kernelwright.tools.run_benchmark import plot
from kernelwright.tools.run_benchmark.contract import BenchmarkArgs, BenchmarkResult
from kernelwright.tools.run_benchmark.page import page

FORMAT = 1


def write(folder: Path, name: str, args: BenchmarkArgs, result: BenchmarkResult, said: dict[str, Any]) -> None:
    """Write `report.json`, `report.md`, `report.html` and `plot.svg` into `folder`."""
    asked = args.model_dump(mode="json", exclude={"files", "host", "wait_s"})
    data = {"format": FORMAT, "kernel": name, "asked": asked, "result": result.model_dump(mode="json"), "judge": said}
    (folder / "report.json").write_text(json.dumps(data, indent=1), encoding="utf-8")
    (folder / "report.md").write_text(result.markdown() + "\n", encoding="utf-8")
    main = plot.bandwidth(result.rows, said["method"].get("copy_gbps"))
    (folder / "plot.svg").write_text(main, encoding="utf-8")
    (folder / "report.html").write_text(page(name, result, said, [main, plot.times(result.rows)]), encoding="utf-8")
