"""The built package, and the device that its tests run on."""

from pathlib import Path

import pytest
import torch
from kernels import get_local_kernel


def pytest_configure(config):
    config.addinivalue_line("markers", "kernels_ci: what the kernels community runs on every build")


@pytest.fixture(scope="session")
def kernel():
    """The variant below `build/` that fits this machine."""
    return get_local_kernel(Path(__file__).parents[1])


@pytest.fixture(scope="session")
def device(kernel):
    """Where the loaded variant runs: its name says so."""
    return "cpu" if "-cpu-" in Path(kernel.__file__).parent.name else "cuda"


@pytest.fixture(params=[torch.float32, torch.bfloat16, torch.float16], ids=str)
def dtype(request):
    return request.param
