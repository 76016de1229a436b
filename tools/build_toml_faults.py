"""What is wrong with a build.toml, in words: kernel-builder's parser names a word, here are its line and the way out."""

from __future__ import annotations

import re
from typing import Any

NAME_RULE = "start with a lowercase letter, then lowercase letters, digits and dashes, ending in a letter or digit"
SOME_EDITION_5 = """[general]
name = "my-kernel"
version = 1
edition = 5
license = "Apache-2.0"
backends = ["cuda", "cpu"]
[torch]
src = ["torch-ext/torch_binding.cpp"]"""
# What the parser says before the word that it minds, and how a line holds that word: the same word elsewhere is another matter.
_NAMED = {
    "unknown field": r"""[^#"']*(?:(?<![\w-]){}|"{}"|'{}')\s*="""
    r"""|\s*\[[^#=,]{0,99}(?<![\w-]){}(?![\w-])[^#=,]{0,99}\]\s*(?:#|$)""",
    "unknown variant": r"""[^#]*["']{}(?![\w-])""",
    "invalid kernel name": r"""[^#]*\bname\s*=\s*["']{}(?![\w-])""",
    "unsupported build edition": r"""[^#]*\bedition\s*=\s*["']?{}\b""",
}


def place(fault: str, content: str, data: dict[str, Any]) -> str:
    """Where in `content` the parser's `fault` lies, to be put behind it; empty where that is not certain.

    `content` is the file as its author wrote it, so that the line is one they can go to; `data` is what the parser read.
    """
    lines = content.splitlines()
    if missing := re.match(r"Missing field `?(backend|depends|src)\b", fault):
        return _lacking(missing[1], lines, data)
    if named := re.search(rf"({'|'.join(_NAMED)}) `?([\w.-]*\w)", fault, re.IGNORECASE):
        return _line(_NAMED[named[1].lower()].replace("{}", re.escape(named[2])), lines)
    return ""


def _lacking(key: str, lines: list[str], data: dict[str, Any]) -> str:
    # In edition 5 only the tables of kernels must have one of these keys.
    kernels = data.get("kernel")
    for name, values in kernels.items() if isinstance(kernels, dict) else ():
        if isinstance(values, dict) and key not in values:
            return f" in [kernel.{name}]" + _line(rf"\s*\[\s*kernel\s*\.\s*[\"']?{re.escape(name)}[\"']?\s*\]", lines)
    return ""


def _line(pattern: str, lines: list[str]) -> str:
    return next((f" (line {number})" for number, line in enumerate(lines, 1) if re.match(pattern, line)), "")


def advice(fault: str) -> str:
    """What to do about a `fault`, its place included."""
    fault = fault.lower()
    if "kernel name" in fault:
        return f"A name must {NAME_RULE}."
    if "unknown field" in fault:
        return "Remove that key or spell it as one of the expected ones: edition 5 knows no others."
    if "unknown variant" in fault:
        return "Write one of the expected values."
    if "missing field depends" in fault:
        return 'Add depends = ["torch"] to that table, with what else it includes, like "cutlass_3_6"; [] if it includes none.'
    if "missing field" in fault and "[kernel." in fault:
        return "Add the missing key to that table: every kernel has backend, depends and src."
    if "missing field" in fault:
        return "Add the missing key; edition 5 begins like:\n" + SOME_EDITION_5
    if "unsupported build edition" in fault:
        return "Write edition = 5."
    return "Edition 5 begins like:\n" + SOME_EDITION_5
