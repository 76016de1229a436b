"""compute-sanitizer over the kernel: out-of-bounds accesses, races in shared memory, unwritten memory read, bad barriers."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kernelwright.tools.run_benchmark.request import JUDGE, Subject, tier
from kernelwright.tools.sandbox import Box, Limits, run
from kernelwright.tools.tool import Context

CHECKS = ("memcheck", "racecheck", "initcheck", "synccheck")
WALL_S = 120.0
MOST_FINDINGS = 6
# A headline stands one space behind the bar, what belongs to it further in.
_HEADLINE = re.compile(r"^========= (\S.*)$")
_PLACE = re.compile(r"^=========\s+(?:at|in) .*?(?:in |\+0x[0-9a-f]+ in )?([\w:~<>]+)\(")
_TALK = re.compile(r"COMPUTE-SANITIZER|SUMMARY|^Target application|^Saved |^Internal|^Error: process|^LEAK")


def sanitize(
    executable: Path | None, subject: Subject, rows: list[dict[str, Any]], context: Context
) -> tuple[list[str], list[str]]:
    """What the checks found and notes on what could not be checked.

    One config of each dtype is run, the smallest. `initcheck` finds reads of memory that nobody wrote; it only makes a note,
    because reading a padded tail and discarding it is no error.
    """
    if subject.device != "cuda":
        return [], ["sanitize needs the cuda backend; nothing was run."]
    if executable is None:
        return [], ["compute-sanitizer is not installed; nothing was run."]
    found: list[str] = []
    notes: list[str] = []
    for check in CHECKS:
        context.progress("sanitizing", check)
        report = _run(executable, check, subject, _smallest(rows), context)
        if report is None:
            notes.append(f"{check} could not be run; the log says why.")
            continue
        (notes if check == "initcheck" else found).extend(f"{check}: {line}" for line in parse(report))
    return found, notes


def parse(report: str) -> list[str]:
    """Each kind of error in a report of compute-sanitizer with the kernel it is in, and how often, most frequent first."""
    counted: Counter[str] = Counter()
    headline = ""
    for line in report.splitlines():
        if match := _HEADLINE.match(line):
            if headline:
                counted[headline] += 1
            headline = "" if _TALK.search(match[1]) else match[1].strip()
        elif headline and (place := _PLACE.match(line)):
            counted[f"{headline} in {place[1]}"] += 1
            headline = ""
    if headline:
        counted[headline] += 1
    lines = [f"{text} ({count} times)" if count > 1 else text for text, count in counted.most_common(MOST_FINDINGS)]
    return [line for line in lines if " in at::" not in line]


def _smallest(rows: Iterable[dict[str, Any]]) -> list[tuple[list[int], str]]:
    by_dtype: dict[str, list[int]] = {}
    for row in rows:
        known = by_dtype.get(row["dtype"])
        if known is None or math.prod(row["shape"]) < math.prod(known):
            by_dtype[row["dtype"]] = row["shape"]
    return [(shape, dtype) for dtype, shape in by_dtype.items()]


def _run(executable: Path, check: str, subject: Subject, configs: list[tuple[list[int], str]], context: Context) -> str | None:
    asked = {
        "problem": str(subject.problem),
        "package": subject.package,
        "path": str(subject.folder),
        "device": subject.device,
        "configs": configs,
    }
    argv = [str(executable), "--tool", check, "--print-limit", "50"]
    argv += [str(context.host_python), "-B", str(JUDGE / "start.py"), "exercise", json.dumps(asked)]
    box = Box(
        read_only=(JUDGE, subject.folder, subject.problem, executable.resolve().parent.parent),
        gpu=True,
        limits=Limits(wall_s=WALL_S, memory_bytes=32 << 30, processes=1024),
        tier=tier(),
    )
    done = run(argv, box)
    text = (done.stdout + done.stderr).decode(errors="replace")
    with context.log.open("a", encoding="utf-8") as log:
        log.write(f"== compute-sanitizer {check}: status {done.returncode}\n{text}\n")
    return text if "SUMMARY" in text else None
