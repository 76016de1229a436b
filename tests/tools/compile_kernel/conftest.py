"""What tests of compiling share: one cache for the session, so that each object is compiled once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kernelwright.tools.compile_kernel import checker, variant
from kernelwright.tools.compile_kernel.build import compile_project
from kernelwright.tools.compile_kernel.checker import Checker, Loaded
from kernelwright.tools.compile_kernel.contract import CompileResult
from kernelwright.tools.tool import Context

Compile = Callable[..., CompileResult]


@pytest.fixture(scope="session")
def compile_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The object cache of this session."""
    return tmp_path_factory.mktemp("compile-cache")


@pytest.fixture
def compile_here(compile_cache: Path, tmp_path: Path) -> Compile:
    """`compile_here(project, **options)`: compile_project in this test's context; the log is `tmp_path/job/log.txt`."""

    def run(project: Path, cache: Path = compile_cache, **options: Any) -> CompileResult:
        context = Context(folder=tmp_path / "job", cache=cache, host_python=Path(sys.executable), job_id="job-1")
        return compile_project(project, context=context, **options)

    return run


class LateChecker:
    """Starts when it is asked, not before: a compile that fails never gets that far, and importing torch takes two seconds."""

    def __init__(self, *arguments: Any) -> None:
        self._arguments = arguments

    def __enter__(self) -> LateChecker:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def ask(self, order: dict[str, Any]) -> Loaded:
        with Checker(*self._arguments) as real:
            return real.ask(order)


class NoChecker(LateChecker):
    """Takes every package for loadable: for tests of what happens around the import, which others make for real."""

    def ask(self, order: dict[str, Any]) -> Loaded:
        return Loaded(ok=True)


@pytest.fixture
def import_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The import check starts after the compile instead of beside it."""
    monkeypatch.setattr(variant, "Checker", LateChecker)


@pytest.fixture
def import_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The import check is left out; what it would have found goes into no cache that another test reads."""
    monkeypatch.setattr(variant, "Checker", NoChecker)
    monkeypatch.setattr(checker, "version", lambda: "skipped")
