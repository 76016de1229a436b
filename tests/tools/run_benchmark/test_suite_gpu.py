"""Cheating and honest kernels on a real GPU."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from cheats_gpu import CHEATS
from court import Court
from court_texts import PROBLEM
from court_texts_gpu import GOOD_CU, GOOD_PYTHON
from honest_gpu import HONEST

from kernelwright.tools import gpu, toolchain
from kernelwright.tools.sandbox import Tier
from kernelwright.tools.sandbox.confine import landlock_abi

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]


def _court(folder: Path, tier: Tier | None) -> Court:
    (folder / "good.cu").write_text(GOOD_CU)
    library = folder / "libgood.so"
    nvcc = toolchain.detect(Path(sys.executable), cache=folder).need_nvcc().path
    arch = "sm_" + gpu.devices()[0].compute_capability.replace(".", "")
    build = [str(nvcc), "-O3", "-shared", "-Xcompiler", "-fPIC", f"-arch={arch}", "-o", str(library), str(folder / "good.cu")]
    subprocess.run(build, check=True, capture_output=True)
    return Court(folder, "cuda", tier, library, GOOD_PYTHON, PROBLEM)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """`judged(source)`: the verdict on the good CUDA package with `source` appended."""
    court = _court(tmp_path_factory.mktemp("cuda"), None)
    yield court.judge
    court.close()


@pytest.mark.parametrize("name", HONEST)
def test_honest_kernel_passes_on_gpu(name: str, judged: Callable[..., Any]) -> None:
    source, problem = HONEST[name]
    found = judged(source, problem, most_profiled=1)
    assert found.verdict == "ok", found.reasons


@pytest.mark.parametrize("name", CHEATS)
def test_cheat_is_caught_on_gpu(name: str, judged: Callable[..., Any]) -> None:
    cheat = CHEATS[name]
    found = judged(cheat.source, most_profiled=1 if "suspicious" in cheat.verdicts else 0)
    assert found.verdict in cheat.verdicts, json.dumps(found.result, default=str)
    assert found.families & set(cheat.families), (found.families, found.reasons)


@pytest.mark.skipif(landlock_abi() < 1, reason="needs Landlock")
def test_second_tier_runs_cuda(tmp_path: Path) -> None:
    court = _court(tmp_path, "landlock")
    try:
        assert court.judge("", most_profiled=1).verdict == "ok"
        assert court.judge(CHEATS["nothing while captured"].source).verdict in {"incorrect", "rejected"}
    finally:
        court.close()
