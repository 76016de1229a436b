"""What the judge says of every op on the CPU: right on every distribution of inputs, at a small shape of its own."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import promises
import pytest
import torch
from conftest import Scaffolded

from kernelwright.tools import catalogue
from kernelwright.tools.run_benchmark import request as requests
from kernelwright.tools.run_benchmark.contract import BenchmarkArgs
from kernelwright.tools.run_benchmark.request import Subject
from kernelwright.tools.sandbox import available_tier
from kernelwright.tools.tool import Context

sys.path.insert(0, str(Path(__file__).parents[1] / "tools/run_benchmark"))
from court import Court, Judged


class Hearing(Court):
    """A court for packages that were built elsewhere."""

    def hear(self, project: Path) -> Judged:
        """The verdict on the built package of `project`, at one small shape."""
        (variant,) = (project / "build").glob("*-cpu-*")
        package, text = self.packages / project.name, self.problems / f"{project.name}.py"
        shutil.copytree(variant, package)
        shutil.copy(project / "problem.py", text)
        _, problem = promises.load(project)
        shape = promises.small_shape(problem)
        context = Context(self.folder, self.folder / "cache", Path(sys.executable), job_id="trial")
        subject = Subject(f"judged_{project.name}", package, text, "cpu")
        args = BenchmarkArgs(project="p", shapes=[list(shape)], dtypes=["float32"], baselines=[])
        request = requests.build(args, context, subject) | {"most_profiled": 0, "set_bytes": 64 << 20}
        return self._try(request, self.candidate)


@pytest.fixture(scope="module")
def court(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hearing]:
    if available_tier() == "none":
        pytest.skip("needs a sandbox")
    court = Hearing(tmp_path_factory.mktemp("court"), "cpu", available_tier(), Path(), "", "")
    yield court
    court.close()


@pytest.mark.parametrize("op", catalogue.ops())
def test_the_judge_finds_it_right(court: Hearing, scaffolded: Scaffolded, op: str) -> None:
    judged = court.hear(scaffolded(op))
    assert judged.verdict in {"ok", "inconclusive"}, judged.reasons
    rows = judged.result["rows"]
    assert rows
    assert all(row["correct"] for row in rows)


@pytest.mark.parametrize("op", [op for op in catalogue.ops() if op != "custom"])
def test_no_measured_shape_is_degenerate(op: str) -> None:
    """An input that passes as an output makes the whole verdict `invalid`, on the GPU alone where shapes differ."""
    problem = promises.problem_of(catalogue.folder(op))
    small = [shape for shape in problem.shapes if math.prod(shape) < 1 << 23] or [min(problem.shapes, key=math.prod)]
    for shape in small:
        args = problem.inputs(shape, torch.float32, "cpu", torch.Generator().manual_seed(1))
        given = [arg.clone() for arg in args if isinstance(arg, torch.Tensor)]
        found = problem.reference(*args)
        for output in found if isinstance(found, tuple) else (found,):
            alike = [arg for arg in given if (arg.shape, arg.dtype) == (output.shape, output.dtype)]
            assert not any(torch.allclose(arg, output, rtol=1e-2, atol=1e-2) for arg in alike), shape
