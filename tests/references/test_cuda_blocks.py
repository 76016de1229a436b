"""Every CUDA block of the guides compiles with nvcc for every architecture that its fence names, without a warning.

All blocks make one translation unit, each guide a namespace of its own, so that the headers are read once per architecture.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from guide_blocks import Block, blocks

from kernelwright.tools import gpu

CUDA = blocks("cuda")
RUNNER = Path(__file__).with_name("run_blocks.cu")
ARCHS = sorted({word for block in CUDA for word in block.words}, key=lambda arch: int(re.sub(r"\D", "", arch)))


def test_every_cuda_block_names_its_architectures() -> None:
    assert CUDA
    for block in CUDA:
        assert block.words, block.place
        assert all(re.fullmatch(r"sm_\d+[af]?", word) for word in block.words), block.place


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")
def test_cuda_blocks_compile(tmp_path: Path) -> None:
    done = _compile(tmp_path, _unit(CUDA), ARCHS)
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")
def test_an_instruction_the_architecture_lacks_is_found(tmp_path: Path) -> None:
    wrong = Block("wrong", 1, "cuda", ("sm_80",), '__device__ inline void f() { asm volatile("wgmma.fence.sync.aligned;"); }\n')
    done = _compile(tmp_path, _unit([wrong]), ["sm_80"])
    assert done.returncode != 0
    assert "wgmma" in done.stderr + done.stdout


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that runs the guides' kernels, built for 9.0."""
    if shutil.which("nvcc") is None:
        pytest.skip("needs nvcc")
    folder = tmp_path_factory.mktemp("runner")
    source, program = folder / "runner.cu", folder / "runner"
    chosen = [block for block in CUDA if "sm_90a" in block.words]
    source.write_text(_unit(chosen) + RUNNER.read_text(encoding="utf-8"), encoding="utf-8")
    target = ["-gencode", "arch=compute_90a,code=sm_90a"]
    argv = ["nvcc", "-std=c++17", "-O1", "-rdc=true", "-Werror", "all-warnings", *target, "-o", str(program), str(source)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return program


def test_the_runner_builds(runner: Path) -> None:
    assert runner.stat().st_size > 0


@pytest.mark.gpu
def test_kernels_of_the_guides_compute_what_they_say(runner: Path) -> None:
    if not any(device.compute_capability == "9.0" for device in gpu.devices()):
        pytest.skip("needs a GPU of compute capability 9.0")
    done = subprocess.run([str(runner)], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok ") == done.stdout.count("\n") > 10


def _unit(chosen: list[Block]) -> str:
    includes = sorted({line for block in chosen for line in re.findall(r"(?m)^#include .*$", block.text)})
    parts = includes[:]
    for block in chosen:
        numbers = sorted({int(re.sub(r"\D", "", word)) * 10 for word in block.words})
        named = " || ".join(["!defined(__CUDA_ARCH__)", *(f"__CUDA_ARCH__ == {number}" for number in numbers)])
        text = re.sub(r"(?m)^#include .*$", "", block.text)
        # Without `inline` the compiler must emit the function, and so the assembler sees its instructions.
        text = text.replace("__device__ inline ", "__device__ ")
        space = f"guide_{block.guide.replace('-', '_')}"
        parts += [f"#if {named}", f"namespace {space} {{", f'#line {block.line} "{block.guide}.md"', f"{text}}}", "#endif"]
    return "\n".join(parts) + "\n"


def _compile(folder: Path, source: str, archs: list[str]) -> subprocess.CompletedProcess[str]:
    unit = folder / "guides.cu"
    unit.write_text(source, encoding="utf-8")
    targets = [word for arch in archs for word in ("-gencode", f"arch={arch.replace('sm_', 'compute_')},code={arch}")]
    argv = ["nvcc", "-std=c++17", "-rdc=true", "-c", "-Werror", "all-warnings", "--threads", "2", *targets]
    return subprocess.run([*argv, "-o", str(folder / "guides.o"), str(unit)], capture_output=True, text=True, check=False)
