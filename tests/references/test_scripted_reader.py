"""A reader that knows nothing but what read_reference tells it ends at `verdict: ok`: the path the guides describe works."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kernelwright.tools.compile_kernel.contract import CompileArgs
from kernelwright.tools.compile_kernel.run import run as compile_kernel
from kernelwright.tools.read_reference.contract import ReadReferenceArgs
from kernelwright.tools.read_reference.run import run as read_reference
from kernelwright.tools.run_benchmark.contract import BenchmarkArgs
from kernelwright.tools.run_benchmark.run import run as run_benchmark
from kernelwright.tools.scaffold_kernel.contract import ScaffoldArgs
from kernelwright.tools.scaffold_kernel.run import run as scaffold_kernel
from kernelwright.tools.tool import Context

FILE = re.compile(r"(?ms)^```\w+[^\n]* file=(\S+)\n(.*?)^```$")


class Reader:
    """Reads by the tool alone, and remembers every text it was given."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.texts: list[str] = []

    def read(self, uri: str | None = None, section: str | None = None) -> str:
        text = read_reference(ReadReferenceArgs(uri=uri, section=section), self.context).text
        self.texts.append(text)
        return text

    def whole_guide(self, uri: str) -> str:
        """All sections of a guide, as its summary lists them."""
        sections = re.findall(r"(?m)^- ([a-z0-9-]+): .* tokens\)$", self.read(uri))
        return "\n".join(self.read(uri, section) for section in sections)


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_from_the_index_to_an_ok_verdict(make_context: Callable[..., Context], tmp_path: Path) -> None:
    reader = Reader(make_context())
    first = re.findall(r"(?m)^- ([a-z0-9-]+): ", reader.read())[0]
    following = re.findall(r"kernel://references/[a-z-]+", reader.read(first))
    guide = reader.whole_guide(following[0])

    call = re.search(r'scaffold_kernel\(op="([a-z_]+)", name="([a-z-]+)"\)', guide)
    assert call is not None
    project = tmp_path / call[2]
    scaffold_kernel(ScaffoldArgs(op=call[1], name=call[2]), make_context(project))
    deleted = re.search(r"Delete (.*?) and the tests", guide)
    assert deleted is not None
    for path in re.findall(r"`([^`]+)`", deleted[1]):
        target = project / path
        assert target.exists(), path
        shutil.rmtree(target) if target.is_dir() else target.unlink()
    files = dict(FILE.findall(guide))
    assert len(files) == 6
    for path, text in files.items():
        (project / path).write_text(text, encoding="utf-8")

    compiled = compile_kernel(CompileArgs(project=str(project), backend="cpu"), make_context(project))
    assert compiled.status == "ok", compiled.markdown()
    assert compiled.abi is not None and compiled.abi.ok
    judged = run_benchmark(
        BenchmarkArgs(project=str(project), backend="cpu", dtypes=["float32"], shapes=[[64, 1024]], baselines=["eager"]),
        make_context(project),
    )
    # A machine with other work makes it inconclusive, which says nothing of the guide.
    assert judged.verdict in {"ok", "inconclusive"}, judged.markdown()
    assert judged.reference is not None and judged.reference.source == "project"
    assert all(row.correct for row in judged.rows)


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")
def test_the_same_project_compiles_for_cuda(make_context: Callable[..., Context], tmp_path: Path) -> None:
    project = tmp_path / "squared-relu"
    scaffold_kernel(ScaffoldArgs(op="rmsnorm", name="squared-relu"), make_context(project))
    for path, text in FILE.findall(Reader(make_context()).whole_guide("new-op")):
        (project / path).write_text(text, encoding="utf-8")
    compiled = compile_kernel(CompileArgs(project=str(project), backend="cuda", archs=["h100"]), make_context(project))
    assert compiled.status == "ok", compiled.markdown()
    assert {kernel.spill_bytes for kernel in compiled.kernels} == {0}
    assert any("squared_relu" in kernel.name for kernel in compiled.kernels)
