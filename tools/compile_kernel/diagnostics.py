"""Compilers' words as a short list: first cause first, each once, with file, line, column, the line of source and a hint."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from kernelwright.tools.compile_kernel.contract import Diagnostic
from kernelwright.tools.compile_kernel.hints import hint
from kernelwright.tools.compile_kernel.sources import Place, Sources
from kernelwright.tools.tool import summarise

Severity = Literal["error", "warning", "note"]
MAX_ERRORS, MAX_WARNINGS = 6, 4
MAX_MESSAGE = 320

_FILE = r"(?P<file>[^\s:(][^:(]*)"
_GXX = re.compile(rf"^{_FILE}:(?P<line>\d+):(?:(?P<column>\d+):)? (?P<kind>fatal error|error|warning): (?P<text>.*)$")
_NVCC = re.compile(rf"^{_FILE}\((?P<line>\d+)\): (?P<kind>error|warning|catastrophic error)(?: #[\w-]+)?: (?P<text>.*)$")
_PROGRAM = r"(?P<tool>ptxas|nvlink|nvcc|cudafe\+\+|cicc|g\+\+|cc1plus|gcc)"
_TOOL = re.compile(rf"^{_PROGRAM}[^;]*?(?:, line \d+; )?\s*(?P<kind>error|fatal error|fatal|warning)\s*:\s*(?P<text>.*)$")
_LD = re.compile(
    r"^(?:\S*/)?ld(?:\.\w+)?: (?P<text>.*(?:multiple definition|undefined reference|cannot find|relocation|not found).*)$"
)
_CONTEXT = re.compile(
    rf"^(?:\s*{_FILE}:(?P<line>\d+):(?:(?P<column>\d+):)?\s+(?:required from|in 'constexpr' expansion)"
    r"|(?:In file included from|\s+from) (?P<includer>[^\s:]+):(?P<at>\d+)[:,])"
)
_OBJECT = re.compile(r"^\S+:\(\.\w+[^)]*\): (?P<text>(?:multiple definition|undefined reference).*)$")
_FOLLOWS = ("Ptx assembly aborted", "ld returned", "compilation terminated")
_INSTANTIATED = re.compile(r"(?:detected )?(?:during|at).* at line (?P<line>\d+)(?: of (?P<file>\S+))?")
_HEADER = re.compile(r"[\w+-][\w./+-]*")
_CALLED = re.compile(rf"^{_FILE}:(?P<line>\d+):(?P<column>\d+): note: called from here$")


def parse(log: str, sources: Sources, unit: str) -> list[Diagnostic]:
    """Every error and warning in what one compiler said about the source `unit`."""
    return list(_parse(log.splitlines(), sources, unit))


def _parse(lines: list[str], sources: Sources, unit: str) -> Iterator[Diagnostic]:
    context = Place()
    for index, line in enumerate(lines):
        found = _CONTEXT.match(line)
        if found:
            own = sources.own(found["file"] or found["includer"])
            context = Place(own, int(found["line"] or found["at"]), int(found["column"] or 0)) if own else context
            continue
        found = _GXX.match(line) or _NVCC.match(line)
        if found:
            groups = found.groupdict()
            yield _located(groups, lines[index + 1 : index + 40], context, sources)
            context = Place()
            continue
        found = _TOOL.match(line)
        if found and not found["text"].startswith(_FOLLOWS):
            kind = found["kind"]
            yield _tool(found["text"], "warning" if kind == "warning" else "error", sources, unit)
            continue
        found = _LD.match(line) or _OBJECT.match(line)
        if found:
            yield _linker(found["text"], sources)


def _located(groups: dict[str, str | None], after: list[str], context: Place, sources: Sources) -> Diagnostic:
    name, text = groups["file"] or "", groups["text"] or ""
    place = Place(sources.own(name), int(groups["line"] or 0), int(groups.get("column") or 0))
    if not place.file:
        # An error inside a header of torch or the toolkit: what counts is the line of the project that brought it about.
        deeper = _instantiated(after, sources) or (context if context.file else None)
        text = f"{text} (in {Path(name).name}:{groups['line']})"
        place = deeper or Place()
    elif groups.get("column") is None:
        place = Place(place.file, place.line, _caret(after))
    severity: Severity = "warning" if groups["kind"] == "warning" else "error"
    return make(severity, text, place, sources)


def _caret(after: list[str]) -> int:
    """nvcc marks the column below the line of source, both indented by two."""
    if len(after) > 1 and re.fullmatch(r"\s*\^\s*", after[1]):
        return max(1, after[1].index("^") - 1)
    return 0


def _instantiated(after: list[str], sources: Sources) -> Place | None:
    for line in after:
        if _GXX.match(line) or _NVCC.match(line):
            return None
        found = _CALLED.match(line) or _INSTANTIATED.search(line)
        if found and found["file"] and sources.own(found["file"]):
            return Place(sources.own(found["file"]), int(found["line"]))
    return None


def _tool(text: str, severity: Severity, sources: Sources, unit: str) -> Diagnostic:
    """ptxas knows lines of PTX only: the kernel it names, or the instruction, is looked up in the source."""
    place = Place()
    kernel = re.search(r"'?(_Z\w+)'?", text)
    if kernel:
        place = sources.search(rf"\b{_base_name(kernel[1])}\b\s*\(", [unit])
    for quoted in [] if kernel else re.findall(r"'([^']+)'", text):
        place = place if place.file else sources.search(re.escape(quoted), [unit])
        first = re.match(r"\w+", quoted)
        place = place if place.file or not first else sources.search(rf"\b{first[0]}\.", [unit])
    return make(severity, text, place if place.file else Place(unit), sources)


def _linker(text: str, sources: Sources) -> Diagnostic:
    text = re.sub(r"/\S+/renamed/\d+\.o:?", "", text)
    symbol = re.search(r"(?:of|to) [`']([^'`]+)'", text)
    place = Place()
    if symbol:
        base = re.sub(r"\(.*", "", symbol[1]).rsplit("::", 1)[-1]
        if re.fullmatch(r"[\w~]+", base):
            files = [
                str(p.relative_to(sources.root))
                for p in sorted(sources.root.rglob("*"))
                if p.suffix in {".cu", ".cpp", ".cc", ".h", ".cuh"}
            ]
            place = sources.search(rf"\b{re.escape(base)}\s*\(", files)
    return make("error", text, place, sources)


def _base_name(mangled: str) -> str:
    """The function's own name in a mangled one: `_Z4loopPf` and `_ZN2ns4loopEPf` are `loop`."""
    names: list[str] = []
    position = 2
    while position < len(mangled):
        found = re.compile(r"N?(\d+)").match(mangled, position)
        if not found:
            break
        start, size = found.end(), int(found[1])
        names.append(mangled[start : start + size])
        position = start + size
    return re.escape(names[-1]) if names else re.escape(mangled)


def make(severity: Severity, message: str, place: Place, sources: Sources, advice: str = "") -> Diagnostic:
    """A diagnostic with its line of source and, unless `advice` is given, the hint that is known for it."""
    source = sources.line(place)
    return Diagnostic(
        severity=severity,
        message=summarise(message, MAX_MESSAGE),
        file=place.file,
        line=place.line,
        column=place.column,
        source=source,
        hint=advice
        or _header(message, sources)
        or (hint(message) if severity == "warning" else hint(message, source, place.file)),
    )


def _header(message: str, sources: Sources) -> str:
    """What to do about a header that is not found and is in the project all the same."""
    name = message.partition(": No such file or directory")[0].rpartition(" ")[2]
    found = sources.below(name) if name != message and _HEADER.fullmatch(name) else ""
    if not found:
        return ""
    folder = found[: -len(name)].rstrip("/") or "."
    return f'It is {found}: add "{folder}" to include of the table in build.toml that has this source, or name it relatively.'


def ordered(found: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Each once, errors before warnings, the first ones only: what comes later follows from them as a rule."""
    seen: set[tuple[str, int, str]] = set()
    unique: list[Diagnostic] = []
    for diagnostic in found:
        identity = (diagnostic.file, diagnostic.line, re.sub(r"sm_\w+|compute_\w+", "", diagnostic.message))
        if identity not in seen:
            seen.add(identity)
            unique.append(diagnostic)
    # One hint a list: the errors that follow from the first one would only repeat it.
    told: set[str] = set()
    for diagnostic in unique:
        if diagnostic.hint in told:
            diagnostic.hint = ""
        told.add(diagnostic.hint)
    errors = [d for d in unique if d.severity == "error"]
    warnings = [d for d in unique if d.severity != "error"]
    return errors[:MAX_ERRORS] + warnings[: MAX_WARNINGS if not errors else 2]
