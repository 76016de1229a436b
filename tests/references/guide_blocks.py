"""The guides' code blocks, as the tests of this folder want them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

REFERENCES = Path(str(files("kernelwright.references")))
GUIDES = REFERENCES / "guides"
FENCE = re.compile(r"(?ms)^```(\S[^\n]*)\n(.*?)^```$")


@dataclass(frozen=True)
class Block:
    """A fenced block: the guide it stands in, the line of its first line, its language, the words after it, its text.

    `file` is where the block belongs in a project, for those that are whole files.
    """

    guide: str
    line: int
    language: str
    words: tuple[str, ...]
    text: str
    file: str = ""

    @property
    def place(self) -> str:
        """Where it stands, for a message."""
        return f"{self.guide}.md:{self.line}"


def blocks(*languages: str) -> list[Block]:
    """All blocks in one of `languages`, guide after guide, each in the order of its text."""
    found = []
    for path in sorted(GUIDES.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        for match in FENCE.finditer(text):
            language, *words = match[1].split()
            if language in languages:
                line = text.count("\n", 0, match.start()) + 2
                file = next((word.removeprefix("file=") for word in words if word.startswith("file=")), "")
                plain = tuple(word for word in words if not word.startswith("file="))
                found.append(Block(path.stem, line, language, plain, match[2], file))
    return found
