"""Carries out `read_reference`."""

from __future__ import annotations

from kernelwright.tools import reference_library
from kernelwright.tools.read_reference.contract import ReadReferenceArgs, Reference
from kernelwright.tools.tool import Context


def run(args: ReadReferenceArgs, context: Context) -> Reference:
    """The index, a guide, a section or a GPU's facts as markdown. Raises `ToolError` `not_found` with the nearest names."""
    found = reference_library.read(args.uri, args.section)
    return Reference(uri=found.uri, title=found.title, text=found.text)
