"""CARD.md: its front matter, and the card filled in for one repository."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from kernelwright.tools.project import Project
from kernelwright.tools.tool import summarise

_FRONT_MATTER = re.compile(r"\A---\r?\n(.*?)^---[ \t]*\r?$", re.DOTALL | re.MULTILINE)
_PLACE = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_TEMPLATE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)


def path(project: Project) -> Path:
    """The card: `build/CARD.md`, which kernel-builder fills in, or the project's own `CARD.md`."""
    filled = project.path / "build" / "CARD.md"
    return project.resolve(str((filled if filled.is_file() else project.path / "CARD.md").relative_to(project.path)), "card")


def read(project: Project) -> str | None:
    """The card as written, None where there is none."""
    file = path(project)
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else None


def fill(text: str, project: Project, repo_id: str) -> str:
    """The card with `{{ repo_id }}`, `{{ version }}` and `{{ license }}` put in; other places stay as they are."""
    values = {"repo_id": repo_id, "version": str(project.build.version), "license": project.build.license.lower()}
    return _PLACE.sub(lambda match: values.get(match[1], match[0]), text)


def front_matter(text: str) -> tuple[dict[str, Any], str]:
    """The data between the `---` lines at the head of a card, and what is wrong with them or an empty string."""
    import yaml  # type: ignore[import-untyped]

    found = _FRONT_MATTER.match(text)
    if not found:
        return {}, "it does not begin with front matter between two lines of ---"
    try:
        data = yaml.safe_load(found[1])
    except yaml.YAMLError as error:
        return {}, f"its front matter is not YAML: {summarise(str(error), 120)}"
    if not isinstance(data, dict):
        return {}, "its front matter holds no keys"
    return data, ""


def problem(text: str, project: Project) -> str:
    """What must be mended in the filled-in card `text` before it can be published, or an empty string."""
    left = _TEMPLATE.search(text)
    if left:
        return f"it still holds {summarise(left[0], 60)!r}: write that part, or let `kernel-builder fill-card` do it"
    data, wrong = front_matter(text)
    if wrong:
        return f"{wrong}; begin it with\n---\nlibrary_name: kernels\nlicense: {project.build.license.lower()}\n---"
    if data.get("library_name") != "kernels":
        return "its front matter lacks library_name: kernels, by which the Hub knows a kernel"
    said = str(data.get("license", "")).lower()
    if said and said != project.build.license.lower():
        return f"its license is {said!r}, build.toml's is {project.build.license!r}: make them agree"
    return ""
