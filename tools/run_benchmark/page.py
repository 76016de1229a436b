"""The report as one HTML page without scripts or outside files, for phones and desks, in light and in the dark."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from kernelwright.tools.run_benchmark.contract import BenchmarkResult, BenchmarkRow
from kernelwright.tools.run_benchmark.plot import number

STYLE = """
:root { color-scheme: light dark; --ink: #16202c; --soft: #566472; --page: #f4f6f8; --card: #fff; --edge: #dfe4ea;
  --bad: #b3261e; --good: #0b6e4f; --doubt: #8a6200; }
@media (prefers-color-scheme: dark) { :root {
  --ink: #e6edf3; --soft: #9aa7b4; --page: #0d1117; --card: #161b22; --edge: #2c3540;
  --bad: #ff8a80; --good: #3ecf9a; --doubt: #e0ab4c; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 0; overflow-wrap: anywhere; }
main { max-width: 68rem; margin: 0 auto; padding: .75rem; }
h1 { font-size: 1.4rem; margin: .5rem 0; } h2 { font-size: 1.1rem; margin: 1.75rem 0 .5rem; }
.card { background: var(--card); border: 1px solid var(--edge); border-radius: .5rem; padding: .6rem; margin: .6rem 0; }
.verdict { border-left: .4rem solid var(--bad); }
.verdict.ok { border-left-color: var(--good); }
.verdict.inconclusive, .verdict.suspicious { border-left-color: var(--doubt); }
.badge { display: inline-block; padding: .1rem .7rem; border-radius: 1rem; font-weight: 600; background: var(--bad);
  color: var(--card); }
.ok .badge { background: var(--good); } .inconclusive .badge, .suspicious .badge { background: var(--doubt); }
ul { margin: .5rem 0 0; padding-left: 1.2rem; }
.speedups { display: flex; flex-wrap: wrap; gap: .3rem 1.5rem; margin-top: .4rem; }
.speedups b { font-size: 1.2rem; }
small, .soft { color: var(--soft); font-weight: 400; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: .6rem;
  align-items: start; }
.plots .card { margin: 0; } .plots svg { display: block; width: 100%; height: auto; }
.wide { overflow-x: auto; padding: 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .35rem .6rem; text-align: right; border-bottom: 1px solid var(--edge); white-space: nowrap;
  vertical-align: top; }
tr:last-child td, tr:last-child th { border-bottom: 0; }
.rows th:first-child, .rows td:first-child { text-align: left; position: sticky; left: 0; background: var(--card);
  border-right: 1px solid var(--edge); }
.rows small { display: block; }
.facts td, .facts th { text-align: left; white-space: normal; }
.facts th { width: 32%; font-weight: 500; color: var(--soft); }
.bad { color: var(--bad); font-weight: 600; } .fast { color: var(--good); font-weight: 600; }
pre { white-space: pre-wrap; font-size: .8rem; margin: 0; }
"""


def page(name: str, result: BenchmarkResult, said: dict[str, Any], plots: Sequence[str]) -> str:
    """The page: verdict, reasons and speed-ups, plots, table, what ran, notes, device and method."""
    verdict = result.verdict or result.status
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in result.reasons)
    drawn = "".join(f'<div class="card">{plot}</div>' for plot in plots)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(name)}: {escape(verdict)}</title><style>{STYLE}</style></head><body><main>
<h1>{escape(name)} <small>{escape(str(result.device.get("name", "")))}</small></h1>
<div class="card verdict {escape(verdict)}"><span class="badge">{escape(verdict)}</span>
{f"<ul>{reasons}</ul>" if reasons else ""}{_speedups(result)}</div>
<div class="plots">{drawn}</div>
<h2>Every shape</h2>{_table(result.rows)}
{_ran(said["rows"])}
{_notes(said["notes"])}
<h2>Device, reference and method</h2><div class="card"><table class="facts">{_facts(result, said)}</table></div>
</main></body></html>
"""


def _speedups(result: BenchmarkResult) -> str:
    if result.summary is None:
        return ""
    found = []
    for name, mean in result.summary.geomean_speedup.items():
        if mean is None:
            found.append(f'<div class="soft">{escape(name)}: not measured</div>')
            continue
        worst = _n(result.summary.worst_speedup.get(name))
        found.append(f"<div><b>{_n(mean)}x</b> {escape(name)} <small>geometric mean, worst shape {worst}x</small></div>")
    return f'<div class="speedups">{"".join(found)}</div>' if found else ""


def _table(rows: Sequence[BenchmarkRow]) -> str:
    if not rows:
        return '<div class="card">Nothing was measured.</div>'
    names = list(rows[0].baseline_us)
    heads = ["shape", "us", *(f"x {name}" for name in names), "GB/s", "% of copy", "us, warm L2", "us, one call", "error"]
    body = "".join(f"<tr>{''.join(_cells(row, names))}</tr>" for row in rows)
    head = "".join(f"<th>{escape(h)}</th>" for h in heads)
    return f'<div class="card wide"><table class="rows"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cells(row: BenchmarkRow, names: Sequence[str]) -> list[str]:
    interval = f"<small>{_n(row.ci95_us[0])} to {_n(row.ci95_us[1])}</small>" if row.ci95_us else ""
    # Whether it is right stands in the column that stays in sight.
    wrong = "" if row.correct else ', <span class="bad">wrong</span>'
    cells = [f"{' x '.join(map(str, row.shape))}<small>{escape(row.dtype)}{wrong}</small>", f"{_n(row.us)}{interval}"]
    for name in names:
        speedup, us = row.speedup.get(name), row.baseline_us.get(name)
        kind = "" if speedup is None or not row.correct else "fast" if speedup >= 1 else "bad"
        cells.append(f'<span class="{kind}">{_n(speedup)}</span>' + (f"<small>{_n(us)} us</small>" if us else ""))
    cells += [_n(row.gbps), _n(row.pct_of_copy), _n(row.warm_us), _n(row.wall_us)]
    cells.append(f"{_n(row.error)}<small>allowed {_n(row.tolerance)}</small>")
    return [f"<td>{cell}</td>" for cell in cells]


def _ran(rows: Sequence[Mapping[str, Any]]) -> str:
    """What the profiler saw during one call, for the rows that were drawn for it."""
    found = ""
    for row in rows:
        if not row.get("ran"):
            continue
        listed = "".join(
            f"<li>{escape(str(one['name']))} <small>{_n(one['us'])} us, {_n(one['calls'])} a call</small></li>"
            for one in row["ran"]
        )
        label = f"{' x '.join(map(str, row['shape']))}, {row['dtype']}"
        found += f"<details><summary>{escape(label)}</summary><ul>{listed}</ul></details>"
    return f'<h2>What runs during one call</h2><div class="card">{found}</div>' if found else ""


def _notes(notes: Sequence[str]) -> str:
    listed = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'<h2>Notes</h2><div class="card"><ul>{listed}</ul></div>' if listed else ""


def _facts(result: BenchmarkResult, said: dict[str, Any]) -> str:
    facts: dict[str, Any] = {f"device: {key}": value for key, value in result.device.items()}
    if result.reference:
        facts["reference"] = f"{result.reference.source}, sha256 {result.reference.sha256}"
    facts["sources, sha256"] = result.source_sha256
    facts |= {key: value for key, value in said["method"].items() if key != "cases" and value not in (None, {}, [])}
    facts["cases checked"] = len(said["method"].get("cases", []))
    return "".join(f"<tr><th>{escape(key.replace('_', ' '))}</th><td>{_fact(value)}</td></tr>" for key, value in facts.items())


def _fact(value: Any) -> str:
    if not isinstance(value, dict | list):
        return escape(number(value) if isinstance(value, float) else str(value))
    return f"<pre>{escape(json.dumps(value, indent=1))}</pre>"


def _n(value: float | None) -> str:
    return "-" if value is None else number(value)
