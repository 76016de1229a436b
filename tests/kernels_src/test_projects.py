"""Every op, scaffolded under another name, compiles for the CPU and keeps what its project promises."""

from __future__ import annotations

import json
from pathlib import Path

import children
import promises
import pytest
import wrong_arguments
from conftest import Scaffolded, context_of

from kernelwright.tools import catalogue, toolchain
from kernelwright.tools.compile_kernel.build import compile_project

every_op = pytest.mark.parametrize("op", catalogue.ops())


@every_op
def test_own_tests_pass(scaffolded: Scaffolded, tmp_path: Path, op: str) -> None:
    assert " passed" in children.run(promises.own_tests, scaffolded(op), folder=tmp_path)


@every_op
def test_compiles_whole_and_once_for_all_shapes(scaffolded: Scaffolded, tmp_path: Path, op: str) -> None:
    children.run(promises.compiles_over_shapes, scaffolded(op), folder=tmp_path)


@every_op
def test_kernels_benchmark_runs_it(scaffolded: Scaffolded, tmp_path: Path, op: str) -> None:
    pytest.importorskip("tabulate")
    text = children.run(promises.kernels_benchmark, scaffolded(op), folder=tmp_path)
    results = json.loads(text[text.index("\n{\n") : text.rindex("}") + 1])["results"]
    assert results
    assert [r["workload"] for r in results if not r["verified"]] == []


@every_op
def test_wrong_arguments_are_refused_by_name(scaffolded: Scaffolded, tmp_path: Path, op: str) -> None:
    children.run(wrong_arguments.are_refused_by_name, scaffolded(op), folder=tmp_path)


def test_takes_the_place_of_layers(scaffolded: Scaffolded, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    children.run(promises.takes_the_place_of_layers, scaffolded("rmsnorm"), scaffolded("rope"), folder=tmp_path)


@every_op
def test_compiles_for_cuda(scaffolded: Scaffolded, op: str) -> None:
    project = scaffolded(op)
    context = context_of(project, project.parent)
    if toolchain.detect(context.host_python, cache=context.cache).nvcc is None:
        pytest.skip("needs nvcc")
    # The oldest: what it lacks must not be asked for.
    result = compile_project(project, backend="cuda", archs=["sm_75"], context=context)
    assert result.status == "ok", result.markdown()
    assert result.abi and result.abi.ok
