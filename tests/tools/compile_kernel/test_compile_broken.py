"""Every broken project yields its true first cause, with the right file and line, a useful hint and a short answer."""

from __future__ import annotations

from pathlib import Path

import compile_project_files
import pytest
from broken_kernels import BROKEN, Broken
from conftest import Compile


@pytest.mark.usefixtures("import_later")
@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.name)
def test_the_first_cause_is_named(broken: Broken, tmp_path: Path, compile_here: Compile) -> None:
    project = compile_project_files.write(tmp_path / "scale", broken.files)
    result = compile_here(project, backend=broken.backend, archs=broken.archs)
    assert result.status == "failed"
    assert result.artifact is None
    first = result.diagnostics[0]
    assert first.severity == "error"
    assert (first.file, first.line) == (broken.expected_file, broken.expected_line), first
    assert broken.hint.lower() in first.hint.lower(), first
    assert len(result.model_dump_json()) < 4000
    assert len(result.markdown()) < 4000
    assert str(tmp_path) not in result.model_dump_json()
    log = (tmp_path / "job" / "log.txt").read_text()
    assert "failed" in log


def test_the_corpus_is_large_enough_and_its_names_are_unique() -> None:
    assert len({broken.name for broken in BROKEN}) == len(BROKEN) >= 40
