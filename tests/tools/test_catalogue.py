"""The catalogue: what it lists, how it finds an op by its problem.py, what it says of an op it lacks."""

from __future__ import annotations

import hashlib

import pytest

from kernelwright.tools import catalogue
from kernelwright.tools.tool import ToolError


def test_lists_complete_projects() -> None:
    assert "rmsnorm" in catalogue.ops()
    for op in catalogue.ops():
        files = {str(p) for p in catalogue.files(op)}
        needed = {
            "build.toml",
            "problem.py",
            "CARD.md",
            "AGENTS.md",
            "flake.nix",
            "benchmarks/benchmark.py",
            "tests/conftest.py",
        }
        needed |= {f"{op}_cuda/{op}.cu", f"{op}_cpu/{op}.cpp", f"torch-ext/{op}/__init__.py", f"tests/test_{op}.py"}
        assert needed <= files, needed - files


def test_leaves_out_what_a_build_leaves_behind() -> None:
    for op in catalogue.ops():
        assert not [p for p in catalogue.files(op) if {"build", "__pycache__"} & set(p.parts)]


def test_knows_a_reference_by_its_hash() -> None:
    for op in catalogue.ops():
        content = (catalogue.folder(op) / "problem.py").read_bytes()
        assert catalogue.reference_op(hashlib.sha256(content).hexdigest()) == op
        assert catalogue.reference_op(hashlib.sha256(content + b"\n").hexdigest()) is None


def test_summary_is_a_sentence_of_the_card() -> None:
    for op in catalogue.ops():
        summary = catalogue.summary(op)
        assert summary.endswith(".")
        assert 40 < len(summary) < 400


@pytest.mark.parametrize(("asked", "offered"), [("rms-norm", "rmsnorm"), ("RMSNorm", "rmsnorm"), ("soft_max", "softmax")])
def test_offers_the_nearest_op(asked: str, offered: str) -> None:
    with pytest.raises(ToolError) as caught:
        catalogue.folder(asked)
    assert caught.value.code == "unknown_op"
    assert asked in caught.value.message
    assert f"Did you mean {offered}" in caught.value.hint


@pytest.mark.parametrize("asked", ["", "..", "../tools", "rmsnorm/../rmsnorm", "/"])
def test_an_op_is_a_name_and_no_path(asked: str) -> None:
    with pytest.raises(ToolError, match="There is no op"):
        catalogue.folder(asked)
