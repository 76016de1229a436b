"""On a machine with a GPU: what is built for it by default also runs on it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import compile_project_files
import pytest
from conftest import Compile

from kernelwright.tools import gpu

RUN = """
import sys, torch
from pathlib import Path
from kernels import get_local_kernel
kernel = get_local_kernel(Path(sys.argv[1]))
x = torch.randn(100_003, device="cuda")
assert torch.equal(kernel.scale(x, 3.0), x * 3)
compiled = torch.compile(kernel.scale, fullgraph=True)
assert torch.equal(compiled(x, 2.0), x * 2)
"""


@pytest.mark.gpu
@pytest.mark.skipif(not gpu.devices(), reason="no NVIDIA GPU")
def test_the_default_build_runs_on_this_gpu(tmp_path: Path, compile_here: Compile) -> None:
    project = compile_project_files.write(tmp_path / "scale")
    result = compile_here(project)
    assert result.status == "ok", result.markdown()
    assert "-cu" in result.variant
    assert not [reason for reason in result.skipped if reason.startswith("import check")]
    major, minor = gpu.devices()[0].compute_capability.split(".")
    assert {kernel.arch.rstrip("af") for kernel in result.kernels} == {f"sm_{major}{minor}"}
    subprocess.run([sys.executable, "-c", RUN, str(project)], check=True, capture_output=True, cwd=tmp_path)
