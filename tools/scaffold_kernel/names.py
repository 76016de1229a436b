"""The names a new project may bear, on the Hub and in Python."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass

from kernelwright.tools.tool import ToolError

_NAME = re.compile(r"[a-z](?:[a-z0-9-]*[a-z0-9])")
_ORG = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9]|[._-](?=[A-Za-z0-9]))*")
_LONGEST = 96

NAME_RULE = "lowercase letters, digits and dashes, first a letter, last no dash, at least two"


@dataclass(frozen=True)
class Names:
    """What a project is called: `hub` with dashes in build.toml and on the Hub, `python` with underscores."""

    hub: str
    org: str | None

    @property
    def python(self) -> str:
        """The Python package, and the stem of the source folders."""
        return self.hub.replace("-", "_")

    @property
    def repo_id(self) -> str | None:
        """Where it would be published, if an organisation is known."""
        return f"{self.org}/{self.hub}" if self.org else None


def check(name: str, org: str | None) -> Names:
    """The names, or ToolError `bad_argument` that states the rule and the nearest allowed name."""
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        offer = _nearest(name)
        hint = f"Pass {offer!r}, say." if offer else "Pass a name like 'my-rmsnorm'."
        raise ToolError("bad_argument", f"name {name[:_LONGEST]!r} is no kernel name: {NAME_RULE}, at most {_LONGEST}.", hint)
    if keyword.iskeyword(name.replace("-", "_")):
        raise ToolError("bad_argument", f"name {name!r} is a keyword of Python: no package can bear it.", f"Pass 'my-{name}'.")
    if org is not None and (not _ORG.fullmatch(org) or len(org) > _LONGEST):
        raise ToolError(
            "bad_argument",
            f"org {org[:_LONGEST]!r} is no user or organisation of the Hub: letters, digits, and single dashes between them.",
            "Pass what stands before the slash of your repositories, or leave org out.",
        )
    return Names(name, org)


def _nearest(name: str) -> str:
    tidy = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-").lstrip("0123456789-")[:_LONGEST].rstrip("-")
    return tidy if _NAME.fullmatch(tidy) else ""
