"""What an agent can read, a level at a time: the index, a guide's summary with its sections, one section.

The guides are markdown files in ``references/guides``: front matter of `key: value` lines, an introduction, `## ` sections.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from kernelwright.tools import arch_guidance, archs
from kernelwright.tools.tool import ToolError

ROOT_URI = "kernel://references"
ARCH_URI = "kernel://arch"

# The order in which the index shows them; a guide that names no group of these is an error that a test finds.
FIRST = "workflow"
GROUPS = ("Start", "Patterns", "Hardware", "Measure", "Integrate", "Ship")


@dataclass(frozen=True)
class Section:
    """One `## ` section of a guide; `text` includes its heading; `tokens` is its share of the guide's count."""

    slug: str
    title: str
    text: str
    tokens: int


@dataclass(frozen=True)
class Guide:
    """One guide; `tokens` counts its whole body, `intro` stands before the first section, `read_next` are URIs."""

    name: str
    title: str
    summary: str
    group: str
    tokens: int
    applies_to: str
    read_next: tuple[str, ...]
    intro: str
    body: str
    sections: dict[str, Section]

    @property
    def uri(self) -> str:
        """Where this guide is read."""
        return f"{ROOT_URI}/{self.name}"


@dataclass(frozen=True)
class Reference:
    """A text that was asked for; `text` is markdown under 10 kB."""

    uri: str
    title: str
    text: str


def names() -> tuple[str, ...]:
    """The names of all guides, in the order of the index."""
    return tuple(guide.name for guide in _guides().values())


def guide(name: str) -> Guide:
    """The guide called `name`. Raises `ToolError` `not_found` with the nearest names."""
    found = _guides().get(name)
    if found is None:
        raise _not_found("guide", name, list(_guides()))
    return found


@cache
def index() -> str:
    """All guides, a line each, under 550 tokens: the first thing to read."""
    lines = [
        "# Kernel guides",
        "read_reference(uri=NAME) lists a guide's sections; with section=S it gives one. "
        f"URI: {ROOT_URI}/NAME/S. A GPU: get_arch_guide, or {ARCH_URI}/h100.",
    ]
    for group in GROUPS:
        lines.append(f"## {group}")
        lines += [f"- {g.name}: {g.summary}" for g in _guides().values() if g.group == group]
    return "\n".join(lines)


def read(uri: str | None = None, section: str | None = None) -> Reference:
    """The index (no `uri`), a guide's summary and sections, one section, or a GPU's facts.

    `uri` may be `kernel://references[/guide[/section]]`, `kernel://arch/<gpu>`, or the bare `guide[/section]`.
    Raises `ToolError` `not_found` or `unknown_arch` with the nearest names.
    """
    text = (uri or "").strip().rstrip("/")
    if text.startswith(f"{ARCH_URI}/"):
        return _arch(text.removeprefix(f"{ARCH_URI}/"))
    path = text.removeprefix(ROOT_URI).strip("/")
    if "://" in path:
        raise _not_found("reference", text, [u for u, _ in uris()])
    if not path and not section:
        return Reference(ROOT_URI, "Index of the guides", index())
    if not path:
        raise ToolError("bad_argument", f"Section {section!r} of which guide?", f"Pass uri too: one of {', '.join(names())}.")
    name, _, inner = path.partition("/")
    found = guide(name)
    wanted = section or inner
    return _section(found, wanted) if wanted else Reference(found.uri, found.title, _overview(found))


def uris(*, sections: bool = False) -> list[tuple[str, str]]:
    """What `read` serves, as (URI, title): the index, guides, GPUs; with `sections` every section after its guide too."""
    found = [(ROOT_URI, "Index of the guides")]
    for g in _guides().values():
        found.append((g.uri, g.title))
        if sections:
            found += [(f"{g.uri}/{s.slug}", f"{g.title}: {s.title}") for s in g.sections.values()]
    return found + [(f"{ARCH_URI}/{a.key}", a.name) for a in archs.all_archs()]


def _arch(spelling: str) -> Reference:
    arch = archs.resolve(spelling)
    return Reference(f"{ARCH_URI}/{arch.key}", arch.name, arch_guidance.as_markdown(arch))


def _section(found: Guide, wanted: str) -> Reference:
    section = found.sections.get(_slug(wanted))
    if section is None:
        raise _not_found(f"section of {found.name}", wanted, list(found.sections))
    ending = _next_line(found)
    return Reference(f"{found.uri}/{section.slug}", f"{found.title}: {section.title}", f"{section.text}\n\n{ending}")


def _overview(found: Guide) -> str:
    lines = [f"# {found.title}", f"{found.summary}. Applies to: {found.applies_to}."]
    if found.intro:
        lines.append(found.intro)
    lines.append(
        "\n".join(["Sections:", *(f"- {s.slug}: {s.title} (about {s.tokens} tokens)" for s in found.sections.values())])
    )
    lines.append(_next_line(found))
    return "\n\n".join(lines)


def _next_line(found: Guide) -> str:
    return f"Read next: {', '.join(found.read_next)}"


def _not_found(what: str, wanted: str, known: list[str]) -> ToolError:
    close = difflib.get_close_matches(wanted, known, n=3, cutoff=0.4)
    nearest = f"Nearest: {', '.join(close)}. " if close else ""
    listing = ", ".join(known) if len(known) <= 40 else f"see {ROOT_URI}"
    return ToolError("not_found", f"No {what} is called {wanted!r}.", f"{nearest}Known: {listing}.")


@cache
def _guides() -> dict[str, Guide]:
    folder = files("kernelwright.references").joinpath("guides")
    parsed = [
        parse(entry.name.removesuffix(".md"), entry.read_text(encoding="utf-8"))
        for entry in folder.iterdir()
        if entry.name.endswith(".md")
    ]
    return {g.name: g for g in sorted(parsed, key=lambda g: (GROUPS.index(g.group), g.name != FIRST, g.name))}


def parse(name: str, text: str) -> Guide:
    """A guide out of the text of its file. Raises ValueError for one that is not written as the module says."""
    matter, body = _front_matter(name, text)
    intro, *rest = re.split(r"(?m)^## ", body)
    total = int(matter["tokens"])
    sections = {}
    for part in rest:
        title = part.partition("\n")[0].strip()
        section = Section(_slug(title), title, f"## {part.strip()}", round(total * len(part) / max(1, len(body))))
        if section.slug in sections:
            raise ValueError(f"{name}: two sections are called {section.slug}")
        sections[section.slug] = section
    return Guide(
        name=name,
        title=matter["title"],
        summary=matter["summary"].rstrip("."),
        group=matter["group"],
        tokens=total,
        applies_to=matter["applies_to"],
        read_next=tuple(part.strip() for part in matter["read_next"].split(",")),
        intro=intro.strip(),
        body=body,
        sections=sections,
    )


def _front_matter(name: str, text: str) -> tuple[dict[str, str], str]:
    match = re.match(r"---\n(.*?)\n---\n+(.*)", text, re.DOTALL)
    if not match:
        raise ValueError(f"{name}: no front matter between two lines of ---")
    pairs = [line.partition(": ") for line in match[1].splitlines()]
    matter = {key: value.strip() for key, _, value in pairs}
    missing = {"title", "summary", "group", "tokens", "applies_to", "read_next"} - set(matter)
    if missing:
        raise ValueError(f"{name}: the front matter lacks {', '.join(sorted(missing))}")
    return matter, match[2].strip()


def _slug(title: str) -> str:
    return "-".join(re.findall(r"[a-z0-9]+", title.lower()))
