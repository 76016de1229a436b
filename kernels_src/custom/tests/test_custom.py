"""The built package against the reference in problem.py."""

import importlib.util
from pathlib import Path

import pytest
import torch

_SPEC = importlib.util.spec_from_file_location("problem", Path(__file__).parents[1] / "problem.py")
problem = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(problem)


@pytest.mark.kernels_ci
@pytest.mark.parametrize("shape", problem.cpu_shapes, ids=str)
def test_computes_the_reference(kernel, device, dtype, shape):
    given = problem.inputs(shape, dtype, device, torch.Generator(device).manual_seed(0))
    found = getattr(kernel, problem.entry)(*given)
    wanted = problem.reference(*(t.double() if torch.is_tensor(t) and t.is_floating_point() else t for t in given))
    torch.testing.assert_close(found, wanted.to(dtype))
