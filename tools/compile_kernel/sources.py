"""The project's files as diagnostics show them: lines, and the places where something stands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

MAX_LINE = 160


@dataclass(frozen=True)
class Place:
    """A position in a source; line 0 where none is known."""

    file: str = ""
    line: int = 0
    column: int = 0


class Sources:
    """The project's files, for the line that a diagnostic points at. Undecodable bytes are shown as such."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._lines: dict[str, list[str]] = {}

    def line(self, place: Place) -> str:
        """The text at `place`, or empty."""
        lines = self.lines(place.file)
        return lines[place.line - 1].strip()[:MAX_LINE] if 0 < place.line <= len(lines) else ""

    def lines(self, relative: str) -> list[str]:
        """All lines of a file of the project; none for any other."""
        if relative not in self._lines:
            path = self.root / self.own(relative) if relative else self.root
            self._lines[relative] = path.read_bytes().decode("utf-8", "replace").splitlines() if path.is_file() else []
        return self._lines[relative]

    def own(self, name: str) -> str:
        """`name` relative to the project, or empty if it is a file of the toolchain."""
        path = (self.root / name).resolve()
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) and path.is_file() else ""

    def below(self, name: str) -> str:
        """The first file, in order, whose path ends with `name`, which may have folders of its own; empty if there is none."""
        wanted = PurePosixPath(name).parts
        found = (path.relative_to(self.root) for path in sorted(self.root.rglob(wanted[-1])))
        return next((str(path) for path in found if path.parts[-len(wanted) :] == wanted and path.parts[0] != "build"), "")

    def search(self, pattern: str, files: Iterable[str]) -> Place:
        """The first place in `files` that matches."""
        return next(self._matches(pattern, files), Place())

    def every(self, pattern: str, files: Iterable[str]) -> list[Place]:
        """All lines of `files` that match."""
        return list(self._matches(pattern, files))

    def _matches(self, pattern: str, files: Iterable[str]) -> Iterator[Place]:
        for file in files:
            for number, text in enumerate(self.lines(file), 1):
                found = re.search(pattern, text)
                if found:
                    yield Place(file, number, found.start() + 1)
