"""Which directory a project is, and that no path leads out of it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernelwright.server.workspace import MAX_BYTES, Directories, HostedWorkspaces, safe_path, write_files
from kernelwright.tools.tool import ToolError

PARTS = st.sampled_from(["..", ".", "a", "b.cu", "link", "~", "", "con", "a b", "\0", "\\", "é"])


@given(st.lists(PARTS, max_size=6).map("/".join), st.booleans())
def test_safe_path_stays_inside_or_refuses(relative: str, absolute: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        project.mkdir()
        (project / "link").symlink_to(folder)
        try:
            target = safe_path(project, "/" * absolute + relative)
        except ToolError as error:
            assert error.code == "outside_roots"
        else:
            assert target.resolve().is_relative_to(project.resolve())


@given(st.text(max_size=40))
def test_workspace_ids_are_names_never_paths(project: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        hosted = HostedWorkspaces(Path(folder))
        try:
            located = hosted.existing(project, create=True)
        except ToolError as error:
            assert error.code == "bad_argument"
        else:
            assert located.path.parent == Path(folder)
            assert located.path.name == project


@given(st.dictionaries(st.sampled_from(["a.cu", "src/b.cu", "src/deep/c.h"]), st.text(max_size=200), max_size=3))
def test_written_files_are_read_back_and_unchanged_ones_left_alone(files: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        try:
            assert sorted(write_files(project, files)) == sorted(files)
        except ToolError as error:
            assert "Unicode" in error.message
            return
        assert {path: (project / path).read_bytes().decode() for path in files} == files
        assert write_files(project, files) == []


def test_directories_are_found_below_any_root_and_nowhere_else(tmp_path: Path) -> None:
    first, second, other = (tmp_path / name for name in ("first", "second", "other"))
    for folder in (first, second, other):
        (folder / "kernel").mkdir(parents=True)
    (first / "sneaky").symlink_to(other / "kernel")
    workspaces = Directories((first, second))
    assert workspaces.existing("kernel").id == "kernel"
    assert workspaces.existing(str(second / "kernel")).path == second / "kernel"
    for outside in (str(other / "kernel"), "../other/kernel", "sneaky"):
        with pytest.raises(ToolError, match="outside"):
            workspaces.existing(outside)


def test_too_much_at_once_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ToolError) as refused:
        write_files(tmp_path, {"fine.txt": "x", "large.txt": "x" * (MAX_BYTES + 1)})
    assert refused.value.code == "too_large"
    assert list(tmp_path.iterdir()) == []


def test_a_hosted_project_is_no_directory_of_the_host(tmp_path: Path) -> None:
    hosted = HostedWorkspaces(tmp_path)
    with pytest.raises(ToolError) as refused:
        hosted.new("my-norm", "/somewhere")
    assert refused.value.code == "bad_argument"
    (tmp_path / "linked").symlink_to("/")
    with pytest.raises(ToolError) as refused:
        hosted.existing("linked")
    assert refused.value.code == "outside_roots"
