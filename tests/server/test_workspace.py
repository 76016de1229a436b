"""Which directory a project is, and that no name leads anywhere else."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernelwright.server.workspace import Directories, HostedWorkspaces
from kernelwright.tools.tool import ToolError


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


def test_a_hosted_project_is_no_directory_of_the_host(tmp_path: Path) -> None:
    hosted = HostedWorkspaces(tmp_path)
    with pytest.raises(ToolError) as refused:
        hosted.new("my-norm", "/somewhere")
    assert refused.value.code == "bad_argument"
    (tmp_path / "linked").symlink_to("/")
    with pytest.raises(ToolError) as refused:
        hosted.existing("linked")
    assert refused.value.code == "outside_roots"
