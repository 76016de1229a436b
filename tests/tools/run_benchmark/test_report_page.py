"""The report as a person sees it: rendered by a browser at a phone's and a desk's width, and its plots as documents."""

from __future__ import annotations

import html
import json
import math
import re
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernelwright.tools.run_benchmark import outcome, plot, report
from kernelwright.tools.run_benchmark.contract import BenchmarkArgs, BenchmarkResult, BenchmarkRow

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
SHAPES = ((128, 4096), (1024, 4096), (8192, 4096), (32768, 4096), (327680, 128))
NAMES = ("eager", "compile", "F.rms_norm", "liger <b>&", "quack")
SVG = "{http://www.w3.org/2000/svg}"


def said() -> dict[str, Any]:
    """What a judge says of a job on a GPU, in form; the times are of no device."""
    rows = []
    for number, shape in enumerate(SHAPES):
        for width in (2, 4):
            us = shape[0] * shape[1] * width / 2e6 + 1
            names = ["candidate", *(NAMES[: 2 + number])]
            tracks = {n: {"us": us * (1 + 2 * i), "ci95_us": [us, us], "wall_us": 18.0} for i, n in enumerate(names)}
            ran = [{"name": "void kernel<" + "Very::Long<Template>, " * 9 + ">", "calls": 1, "us": us}]
            moved = 2 * shape[0] * shape[1] * width
            rows.append(
                {"shape": list(shape), "dtype": "bfloat16" if width == 2 else "float32", "correct": number != 1}
                | {"error": 1e-3, "tolerance": 8e-3, "bytes": moved, "tracks": tracks, "ran": ran}
            )
    method = {"copy_gbps": 4231.7, "seed": 1 << 61, "cases": [1], "absent_baselines": {"quack": "no module " + "x" * 300}}
    return {"verdict": "suspicious", "rows": rows, "notes": ["n" * 500], "method": method}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a report with everything that strains a page: long words, absent baselines, wrong rows."""
    folder, heard, names = tmp_path_factory.mktemp("report"), said(), list(NAMES)
    table = outcome.rows(heard, names)
    result = BenchmarkResult(
        status="ok",
        job_id="j",
        verdict="suspicious",
        reasons=["Long" * 100, "<script>alert(1)</script>"],
        rows=table,
        summary=outcome.summary(table, names),
        device={"name": "A device"},
    )
    report.write(folder, "a-kernel-of-a-rather-long-name", BenchmarkArgs(project="p"), result, heard)
    return folder


def browse(folder: Path, *flags: str) -> str:
    """What the browser prints."""
    if BROWSER is None:
        pytest.skip("no Chromium is installed")
    flags = (
        "--headless=new",
        "--hide-scrollbars",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={folder / 'browser'}",
        *flags,
    )
    done = subprocess.run([BROWSER, *flags], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


@pytest.mark.parametrize("width", [390, 1440])
def test_page_fits_its_width_and_shows_its_plots(width: int, written: Path) -> None:
    # A frame is as narrow as it is told to be; a window of the browser is not.
    look = (
        "const d = document.querySelector('iframe').contentDocument, e = d.documentElement;"
        "const plots = [...d.querySelectorAll('svg')].map(s => s.getBoundingClientRect());"
        "const table = d.querySelector('.rows').getBoundingClientRect();"
        "document.title = JSON.stringify({wide: e.scrollWidth, of: e.clientWidth, plots: plots.map(p => [p.width, p.height]),"
        "letters: Math.min(...[...d.querySelectorAll('svg text')].map(t => t.getBoundingClientRect().height)),"
        "table: table.height, beside: plots[0].top === plots[1].top})"
    )
    text = (written / "report.html").read_text()
    outer = written / f"outer{width}.html"
    frame = f'<iframe width="{width}" height="900" style="border:0" srcdoc="{html.escape(text)}" onload="look()"></iframe>'
    outer.write_text(f"<title></title><script>function look() {{ {look} }}</script>{frame}")
    shown = browse(written, "--virtual-time-budget=3000", "--dump-dom", outer.as_uri())
    found = json.loads(html.unescape(re.findall(r"<title>(.*?)</title>", shown)[0]))
    assert (found["wide"], found["of"]) == (width, width)
    assert len(found["plots"]) == 2 and all(wide > 300 and high > 300 for wide, high in found["plots"])
    assert found["letters"] >= 9 and found["table"] > 300
    assert found["beside"] == (width == 1440)


def test_plot_is_a_picture(written: Path) -> None:
    picture = written / "plot.png"
    browse(written, "--window-size=800,600", f"--screenshot={picture}", (written / "plot.svg").as_uri())
    data = picture.read_bytes()
    assert data.startswith(b"\x89PNG") and struct.unpack(">II", data[16:24]) == (800, 600)
    blank = written / "blank.png"
    browse(written, "--window-size=800,600", f"--screenshot={blank}", "about:blank")
    assert len(data) > 3 * len(blank.read_bytes())


def test_page_quotes_what_the_project_says(written: Path) -> None:
    text = (written / "report.html").read_text()
    assert "<script" not in text and "&lt;script&gt;" in text
    assert text.count(">wrong</span>") == 2


def test_line_of_the_copy_lies_where_its_value_belongs(written: Path) -> None:
    drawn = ElementTree.fromstring((written / "plot.svg").read_text())
    (mark,) = [line for line in drawn.iter(f"{SVG}line") if line.get("class") == "kw-mark" and line.get("x1") == line.get("x2")]
    bars = [float(bar.get("width", 0)) for bar in drawn.iter(f"{SVG}rect") if bar.get("height") == str(plot.BAR)]
    fastest = max(row["bytes"] / row["tracks"]["candidate"]["us"] / 1e3 for row in said()["rows"])
    assert max(bars) / (float(mark.get("x1", 0)) - plot.LEFT) == pytest.approx(fastest / 4231.7, rel=0.01)


@given(st.floats(1e-3, 1e7), st.floats(1, 1e6))
@settings(max_examples=60, deadline=None)
def test_scales_are_honest(low: float, factor: float) -> None:
    for scale, values in ((plot.linear(low * factor), (0.0, low)), (plot.logarithmic(low, low * factor), (low, low * factor))):
        lengths = [scale.length(value) for value in (*values, *scale.ticks)]
        assert all(-1e-6 <= length <= plot.WIDTH for length in lengths)
        assert sorted(scale.ticks) == list(scale.ticks) and len(scale.ticks) <= 8
    middle = plot.logarithmic(low, low * factor)
    if factor >= 2:
        assert middle.length(low * math.sqrt(factor)) - middle.length(low) == pytest.approx(
            (middle.length(low * factor) - middle.length(low)) / 2, rel=1e-6
        )


@given(st.text(max_size=40))
@settings(max_examples=40, deadline=None)
def test_any_name_makes_a_document(name: str) -> None:
    row = BenchmarkRow(shape=[2], dtype="float32", correct=True, error=None, tolerance=None, us=2.0, gbps=1.0)
    row.baseline_us = {name: 3.0}
    for text in (plot.bandwidth([row], None), plot.times([row]), plot.bandwidth([], None)):
        assert ElementTree.fromstring(text).tag == f"{SVG}svg"
