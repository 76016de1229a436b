"""What a model is shown of the tools: snapshotted, and short."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kernelwright.server.app import describe
from kernelwright.server.instructions import INSTRUCTIONS
from kernelwright.tools import TOOLS
from kernelwright.tools.tool import Tool

SNAPSHOTS = Path(__file__).parent / "schemas"


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_schema_is_as_snapshotted(tool: Tool) -> None:
    shown = describe(tool).model_dump(mode="json", by_alias=True, exclude_none=True)
    path = SNAPSHOTS / f"{tool.name}.json"
    assert path.is_file(), f"write it: {json.dumps(shown)}"
    assert shown == json.loads(path.read_text()), f"if this change is meant: python {Path(__file__).name} writes the snapshots"


def test_what_a_model_is_shown_is_under_7000_characters() -> None:
    shown = [(t.name, t.description, json.dumps(t.input_schema(), separators=(",", ":"))) for t in TOOLS]
    total = sum(len(part) for parts in shown for part in parts) + len(INSTRUCTIONS)
    assert total < 7000, total


def test_instructions_stand_alone_when_cut() -> None:
    assert "get_arch_guide" in INSTRUCTIONS[:250]
    assert "run_benchmark" in INSTRUCTIONS[:250]


if __name__ == "__main__":
    SNAPSHOTS.mkdir(exist_ok=True)
    for each in TOOLS:
        data = describe(each).model_dump(mode="json", by_alias=True, exclude_none=True)
        (SNAPSHOTS / f"{each.name}.json").write_text(json.dumps(data, indent=1) + "\n")
