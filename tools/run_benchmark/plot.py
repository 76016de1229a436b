"""Plots of a benchmark as SVG text, one group for each shape and dtype: readable on a phone, in light and in the dark."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from kernelwright.tools.run_benchmark.contract import BenchmarkRow

# Light and dark shades of the kernel's colour, then of the baselines'.
COLOURS = (
    ("#0b6e4f", "#3ecf9a"),
    ("#8a97a6", "#8592a3"),
    ("#c98a1b", "#e0ab4c"),
    ("#5b6ee1", "#8f9df5"),
    ("#b04a7a", "#e083ad"),
    ("#4a9db0", "#6cc4d8"),
)
# The width is that of a phone, so that letters there keep their size; wider pages scale it up.
WIDTH, LEFT, RIGHT = 380, 10, 46
BAR, GAP, HEAD, LEGEND, AXIS = 12, 3, 18, 17, 22
LONGEST_NAME = 22
DASHED = ' stroke-width="1.5" stroke-dasharray="4 3"'
STYLE = (
    "".join(f".kw{i}{{fill:{light}}}" for i, (light, _) in enumerate(COLOURS))
    + ".kw-bg{fill:#fff}.kw-ink{fill:#16202c}.kw-soft{fill:#566472}.kw-grid{stroke:#e3e8ed}.kw-mark{stroke:#b3261e}"
    + "text{stroke:#fff}"
    + "@media(prefers-color-scheme:dark){"
    + "".join(f".kw{i}{{fill:{dark}}}" for i, (_, dark) in enumerate(COLOURS))
    + ".kw-bg{fill:#161b22}.kw-ink{fill:#e6edf3}.kw-soft{fill:#9aa7b4}.kw-grid{stroke:#2c3540}.kw-mark{stroke:#ff8a80}"
    + "text{stroke:#161b22}}"
)


@dataclass(frozen=True)
class Group:
    """One shape and dtype: a value for each name, None where there is nothing to show."""

    label: str
    values: dict[str, float | None]


@dataclass(frozen=True)
class Scale:
    """From values to distances on the page, with the values at which lines are drawn."""

    length: Callable[[float], float]
    ticks: tuple[float, ...]


def bandwidth(rows: Sequence[BenchmarkRow], copy_gbps: float | None) -> str:
    """GB/s of the kernel and of every baseline as bars; the dashed line is the copy bandwidth measured in the same job."""
    groups = []
    for row in rows:
        moved = row.gbps * row.us if row.gbps and row.us else None
        values = {"kernel": row.gbps}
        for name, us in row.baseline_us.items():
            values[name] = moved / us if moved and us else None
        groups.append(Group(_label(row), values))
    found = [*_positive(groups), copy_gbps or 0.0]
    mark = (copy_gbps, f"copy {number(copy_gbps)} GB/s") if copy_gbps else None
    return draw("Bandwidth, GB/s", "longer is better", groups, linear(max(found)), bars=True, mark=mark)


def times(rows: Sequence[BenchmarkRow]) -> str:
    """Microseconds of one call of the kernel and of every baseline as points: a bar has no length on a logarithmic scale."""
    groups = [Group(_label(row), {"kernel": row.us, **row.baseline_us}) for row in rows]
    found = _positive(groups) or [1.0]
    return draw("Time of one call, us", "logarithmic, further left is better", groups, logarithmic(min(found), max(found)))


def linear(top: float) -> Scale:
    """From zero to `top`, with three to six round ticks."""
    top = max(top, 1e-9)
    power = 10.0 ** math.floor(math.log10(top / 5))
    step = next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= top / 5)
    ticks = tuple(step * n for n in range(int(top / step * (1 + 1e-9)) + 1))
    return Scale(lambda value: _span() * value / top, ticks)


def logarithmic(low: float, top: float) -> Scale:
    """From a round value at or below `low` to `top`, ticks at 1, 2 and 5 times powers of ten, or at the powers alone."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(top)) + 1)
    fine = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    first = max(tick for tick in fine if tick <= low * (1 + 1e-9))
    top = max(top, first * 1.5)
    ticks = [tick for tick in fine if first <= tick <= top]
    if len(ticks) > 6:
        ticks = [tick for tick in ticks if f"{tick:e}".startswith("1.0")]
    return Scale(lambda value: _span() * math.log(value / first) / math.log(top / first), tuple(ticks))


def draw(
    title: str,
    subtitle: str,
    groups: Sequence[Group],
    scale: Scale,
    *,
    bars: bool = False,
    mark: tuple[float, str] | None = None,
) -> str:
    """The plot as an SVG document."""
    names = list(dict.fromkeys(name for group in groups for name in group.values))
    legend, lines = _legend(names, mark)
    top = 40 + lines * LEGEND + 6
    each = HEAD + len(names) * (BAR + GAP) + 4
    bottom = top + max(1, len(groups)) * each
    body = [*_grid(scale, top, bottom)]
    if mark:
        at = LEFT + scale.length(mark[0])
        body.append(_line(at, top, at, bottom, "kw-mark", "#b3261e", DASHED))
    for index, group in enumerate(groups):
        y = top + index * each
        body.append(_text(LEFT, y + 13, _plain(group.label, 46), "kw-ink", 12, "600"))
        for place, name in enumerate(names):
            body += _value(y + HEAD + place * (BAR + GAP), group.values.get(name), scale, place, bars)
    if not groups:
        body.append(_text(LEFT, top + 16, "Nothing was measured.", "kw-soft", 12))
    return "\n".join([*_head(title, subtitle, bottom + AXIS), *legend, *body, "</svg>"])


def number(value: float) -> str:
    """Three significant digits, without an exponent where it is not needed."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _head(title: str, subtitle: str, height: int) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{2 * WIDTH}" height="{2 * height}" '
        f'role="img" font-family="system-ui, sans-serif"><title>{escape(title)}</title><style>{STYLE}</style>',
        f'<rect class="kw-bg" width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(LEFT, 17, title, "kw-ink", 14, "600"),
        _text(LEFT, 32, subtitle, "kw-soft", 11),
    ]


def _legend(names: Sequence[str], mark: tuple[float, str] | None) -> tuple[list[str], int]:
    out: list[str] = []
    x, line = LEFT, 0
    for index, name in enumerate([*names, *([mark[1]] if mark else [])]):
        name = _plain(name, LONGEST_NAME)
        wide = 30 + int(6.3 * len(name))
        if x > LEFT and x + wide > WIDTH:
            x, line = LEFT, line + 1
        y = 40 + line * LEGEND
        if index < len(names):
            out.append(f'<rect class="kw{index % len(COLOURS)}" x="{x}" y="{y}" width="10" height="10" rx="2" {_fill(index)}/>')
        else:
            out.append(_line(x, y + 5, x + 11, y + 5, "kw-mark", "#b3261e", DASHED))
        out.append(_text(x + 15, y + 9, name, "kw-ink", 11))
        x += wide
    return out, line + 1


def _grid(scale: Scale, top: float, bottom: float) -> list[str]:
    out = []
    for tick in scale.ticks:
        at = LEFT + scale.length(tick)
        anchor = "start" if at < LEFT + 8 else "middle"
        out.append(_line(at, top, at, bottom + 3, "kw-grid", "#e3e8ed"))
        out.append(_text(at, bottom + 15, number(tick), "kw-soft", 10, anchor=anchor))
    return out


def _value(y: float, value: float | None, scale: Scale, place: int, bars: bool) -> list[str]:
    if not value or value <= 0 or not math.isfinite(value):
        return [_text(LEFT, y + 10, "not measured", "kw-soft", 10)]
    wide = max(1.0, scale.length(value))
    colour = f'class="kw{place % len(COLOURS)}" {_fill(place)}'
    if bars:
        shape = f'<rect {colour} x="{LEFT}" y="{y}" width="{wide:.1f}" height="{BAR}" rx="2"/>'
    else:
        shape = f'<circle {colour} cx="{LEFT + wide:.1f}" cy="{y + BAR / 2}" r="4.5"/>'
    weight = "600" if place == 0 else "400"
    return [shape, _text(LEFT + wide + (4 if bars else 8), y + 10, number(value), "kw-ink", 11, weight)]


def _text(x: float, y: float, text: str, ink: str, size: int, weight: str = "400", anchor: str = "start") -> str:
    fill = "#566472" if ink == "kw-soft" else "#16202c"
    return (
        f'<text class="{ink}" x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" '
        f'text-anchor="{anchor}" fill="{fill}" stroke="#ffffff" stroke-width="3" paint-order="stroke">{escape(text)}</text>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, kind: str, colour: str, more: str = "") -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{more}/>'


def _fill(index: int) -> str:
    return f'fill="{COLOURS[index % len(COLOURS)][0]}"'


def _span() -> float:
    return WIDTH - LEFT - RIGHT


def _positive(groups: Sequence[Group]) -> list[float]:
    return [v for group in groups for v in group.values.values() if v and v > 0 and math.isfinite(v)]


def _plain(text: str, most: int) -> str:
    # Control characters make an SVG that no browser opens, and these names are the project's own.
    text = "".join(c if c.isprintable() else " " for c in text)
    return text if len(text) <= most else text[: most - 1] + "…"


def _label(row: BenchmarkRow) -> str:
    return f"{' x '.join(map(str, row.shape))}, {row.dtype}"
