"""Every broken project yields its true first cause, with the right file and line, a useful hint and a short answer."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import compile_project_files
import pytest
from broken_kernels import BROKEN, Broken
from conftest import LateChecker

from kernelwright.tools.compile_kernel import variant
from kernelwright.tools.compile_kernel.build import compile_project
from kernelwright.tools.compile_kernel.contract import CompileResult
from kernelwright.tools.tool import Context

Results = dict[str, CompileResult]
# All of them are compiled before the first is looked at.
pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Results]:
    """What compiling each broken project that was selected gave, two at a time: one compiler keeps one core busy."""
    folder, cache = tmp_path_factory.mktemp("broken"), tmp_path_factory.mktemp("broken-cache")
    mine = [item for item in request.session.items if item.path == request.path]
    wanted = {item.callspec.params["broken"] for item in mine if "broken" in getattr(item, "fixturenames", ())}  # type: ignore[attr-defined]

    def compiled(broken: Broken) -> CompileResult:
        project = compile_project_files.write(folder / broken.name / "scale", broken.files)
        context = Context(
            folder=folder / broken.name / "job", cache=cache, host_python=Path(sys.executable), job_id=broken.name
        )
        return compile_project(project, backend=broken.backend, archs=broken.archs, context=context)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(variant, "Checker", LateChecker)
        with ThreadPoolExecutor(2) as pool:
            yield dict(zip((broken.name for broken in wanted), pool.map(compiled, wanted), strict=True))


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.name)
def test_the_first_cause_is_named(broken: Broken, results: Results) -> None:
    result = results[broken.name]
    assert result.status == "failed"
    assert result.artifact is None
    first = result.diagnostics[0]
    assert first.severity == "error"
    assert (first.file, first.line) == (broken.expected_file, broken.expected_line), first
    assert broken.hint.lower() in first.hint.lower(), first
    assert len(result.model_dump_json()) < 4000
    assert len(result.markdown()) < 4000
    assert "/work/" not in result.model_dump_json()
    assert "/broken" not in result.model_dump_json()


def test_the_corpus_is_large_enough_and_its_names_are_unique() -> None:
    assert len({broken.name for broken in BROKEN}) == len(BROKEN) >= 40
