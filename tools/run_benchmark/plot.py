"""Plots of a benchmark as SVG text: horizontal bars, one group for each shape and dtype, readable on a phone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from kernelwright.tools.run_benchmark.contract import BenchmarkRow

COLOURS = ("#0b6e4f", "#8a97a6", "#c98a1b", "#5b6ee1", "#b04a7a", "#4a9db0")
WIDTH, LABEL, RIGHT = 640, 12, 76
BAR, GAP, HEAD, TITLE = 13, 3, 18, 58


@dataclass(frozen=True)
class Group:
    """One shape and dtype: a bar for each name, None where there is nothing to show."""

    label: str
    values: dict[str, float | None]


def bandwidth(rows: Sequence[BenchmarkRow], copy_gbps: float | None) -> str:
    """GB/s of the kernel and of every baseline; the line is the copy bandwidth measured in the same job."""
    groups = []
    for row in rows:
        moved = row.gbps * row.us if row.gbps and row.us else None
        values = {"kernel": row.gbps}
        for name, us in row.baseline_us.items():
            values[name] = moved / us if moved and us else None
        groups.append(Group(_label(row), values))
    mark = (copy_gbps, f"copy {copy_gbps:.0f} GB/s") if copy_gbps else None
    return bars("Bandwidth, GB/s (longer is better)", groups, mark, logarithmic=False)


def times(rows: Sequence[BenchmarkRow]) -> str:
    """Microseconds of one call of the kernel and of every baseline, on a logarithmic scale."""
    groups = [Group(_label(row), {"kernel": row.us, **row.baseline_us}) for row in rows]
    return bars("Time of one call, us, logarithmic (shorter is better)", groups, None, logarithmic=True)


def bars(title: str, groups: Sequence[Group], mark: tuple[float, str] | None, *, logarithmic: bool) -> str:
    """The plot as an SVG document whose width follows the page."""
    names = list(dict.fromkeys(name for group in groups for name in group.values))
    found = [v for g in groups for v in g.values.values() if v and v > 0]
    top = max([*found, mark[0] if mark else 0.0, 1e-9])
    low = min(found, default=1.0) / 2
    span = WIDTH - LABEL - RIGHT

    def length(value: float) -> float:
        if logarithmic:
            return span * math.log(value / low) / max(math.log(top / low), 1e-9)
        return span * value / top

    each = HEAD + len(names) * (BAR + GAP)
    height = TITLE + len(groups) * each + 24
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="100%" role="img" '
        f'font-family="system-ui, sans-serif" font-size="12"><title>{escape(title)}</title>',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{LABEL}" y="20" font-size="15" font-weight="600" fill="#16202c">{escape(title)}</text>',
    ]
    x = LABEL
    for index, name in enumerate(names):
        out.append(f'<rect x="{x}" y="31" width="11" height="11" rx="2" fill="{_colour(index)}"/>')
        out.append(f'<text x="{x + 15}" y="41" fill="#16202c">{escape(name)}</text>')
        x += 30 + 7 * len(name)
    for number, group in enumerate(groups):
        y = TITLE + number * each
        out.append(f'<text x="{LABEL}" y="{y + 12}" fill="#4b5866">{escape(group.label)}</text>')
        for index, name in enumerate(names):
            out += _bar(y + HEAD + index * (BAR + GAP), group.values.get(name), length, _colour(index))
    if mark:
        at = LABEL + length(mark[0])
        out.append(
            f'<line x1="{at:.1f}" y1="{TITLE - 4}" x2="{at:.1f}" y2="{height - 20}" stroke="#b3261e" stroke-dasharray="4 3"/>'
            f'<text x="{at:.1f}" y="{height - 7}" text-anchor="end" fill="#b3261e">{escape(mark[1])}</text>'
        )
    return "\n".join([*out, "</svg>"])


def _bar(y: float, value: float | None, length: object, colour: str) -> list[str]:
    assert callable(length)
    if not value or value <= 0:
        return [f'<text x="{LABEL}" y="{y + 11}" fill="#8a97a6" font-size="11">absent</text>']
    wide = max(1.0, float(length(value)))
    text = f"{value:.3g}" if value < 1000 else f"{value:.0f}"
    return [
        f'<rect x="{LABEL}" y="{y}" width="{wide:.1f}" height="{BAR}" rx="2" fill="{colour}"/>',
        f'<text x="{LABEL + wide + 5:.1f}" y="{y + 11}" fill="#16202c" font-size="11">{text}</text>',
    ]


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def _label(row: BenchmarkRow) -> str:
    return f"{' x '.join(map(str, row.shape))}, {row.dtype}"
