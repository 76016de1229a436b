"""The report as one HTML page without scripts or outside files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any

from kernelwright.tools.run_benchmark.contract import BenchmarkResult, BenchmarkRow

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #16202c; background: #f4f6f8; margin: 0; }
main { max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.4rem; margin: .5rem 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.verdict { padding: .8rem 1rem; border-radius: .5rem; color: #fff; background: #b3261e; }
.verdict.ok { background: #0b6e4f; } .verdict.inconclusive { background: #8a6200; }
.verdict b { font-size: 1.2rem; }
.card { background: #fff; border: 1px solid #dfe4ea; border-radius: .5rem; padding: .6rem; margin: .6rem 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .35rem .6rem; text-align: right; border-bottom: 1px solid #e7ebef; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: #fff; }
.facts td, .facts th { text-align: left; white-space: normal; overflow-wrap: anywhere; position: static; }
.facts th { width: 30%; font-weight: 500; color: #4b5866; }
.bad { color: #b3261e; font-weight: 600; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .8rem; margin: 0; }
"""


def page(name: str, result: BenchmarkResult, said: dict[str, Any], plots: Sequence[str]) -> str:
    """The page: verdict and reasons, plots, table, device and method."""
    verdict = result.verdict or result.status
    reasons = "".join(f"<div>{escape(reason)}</div>" for reason in result.reasons)
    notes = "".join(f"<li>{escape(note)}</li>" for note in said["notes"])
    drawn = "".join(f'<div class="card">{plot}</div>' for plot in plots)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(name)}: {escape(verdict)}</title><style>{STYLE}</style></head><body><main>
<h1>{escape(name)}</h1>
<div class="verdict {escape(verdict)}"><b>{escape(verdict)}</b>{reasons}</div>
{drawn}
<h2>Every shape</h2><div class="card wide">{_table(result.rows)}</div>
{_summary(result)}
{f"<h2>Notes</h2><div class='card'><ul>{notes}</ul></div>" if notes else ""}
<h2>Device, reference and method</h2><div class="card"><table class="facts">{_facts(result, said)}</table></div>
</main></body></html>
"""


def _table(rows: Sequence[BenchmarkRow]) -> str:
    if not rows:
        return "<p>Nothing was measured.</p>"
    names = list(rows[0].baseline_us)
    heads = ["shape", "dtype", "correct", "error", "allowed", "us", "95 %", "one call, us", "GB/s", "% of copy"]
    heads += [head for name in names for head in (f"{name}, us", f"x {name}")]
    body = "".join(f"<tr>{''.join(_cells(row, names))}</tr>" for row in rows)
    return f"<table><thead><tr>{''.join(f'<th>{escape(h)}</th>' for h in heads)}</tr></thead><tbody>{body}</tbody></table>"


def _cells(row: BenchmarkRow, names: Sequence[str]) -> list[str]:
    interval = f"{_n(row.ci95_us[0])} to {_n(row.ci95_us[1])}" if row.ci95_us else "-"
    plain = [_n(row.error), _n(row.tolerance), _n(row.us), interval, _n(row.wall_us), _n(row.gbps), _n(row.pct_of_copy)]
    plain += [_n(value) for name in names for value in (row.baseline_us.get(name), row.speedup.get(name))]
    shape = " x ".join(map(str, row.shape))
    correct = "<td>yes</td>" if row.correct else '<td class="bad">no</td>'
    return [f"<td>{shape}</td>", f"<td>{escape(row.dtype)}</td>", correct, *(f"<td>{value}</td>" for value in plain)]


def _summary(result: BenchmarkResult) -> str:
    if result.summary is None or not result.summary.geomean_speedup:
        return ""
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{_n(mean)}</td><td>{_n(result.summary.worst_speedup.get(name))}</td></tr>"
        for name, mean in result.summary.geomean_speedup.items()
    )
    head = "<tr><th>against</th><th>geometric mean</th><th>worst shape</th></tr>"
    return f'<h2>Speed-up</h2><div class="card wide"><table>{head}{rows}</table></div>'


def _facts(result: BenchmarkResult, said: dict[str, Any]) -> str:
    facts: dict[str, Any] = {f"device: {key}": value for key, value in result.device.items()}
    if result.reference:
        facts["reference"] = f"{result.reference.source}, sha256 {result.reference.sha256}"
    facts["sources, sha256"] = result.source_sha256
    facts |= {key: value for key, value in said["method"].items() if key != "cases"}
    facts["cases checked"] = len(said["method"].get("cases", []))
    rows = ""
    for key, value in facts.items():
        text = json.dumps(value, indent=1) if isinstance(value, dict | list) else str(value)
        rows += f"<tr><th>{escape(key)}</th><td><pre>{escape(text)}</pre></td></tr>"
    return rows


def _n(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
