"""Files that a client names: none leads out of its folder, and all are written or none."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernelwright.tools.files import MAX_BYTES, inside, write_files
from kernelwright.tools.tool import ToolError

PARTS = st.sampled_from(["..", ".", "a", "b c", "", "/", "link", "~", "ä", "a\\b", "\0", "-x", "etc", "inner"])


@given(st.lists(PARTS, min_size=1, max_size=5).map("/".join))
def test_no_path_leads_outside(tmp_path_factory: pytest.TempPathFactory, relative: str) -> None:
    base = tmp_path_factory.getbasetemp() / "paths"
    root = base / "root"
    (root / "inner").mkdir(parents=True, exist_ok=True)
    if not (root / "link").is_symlink():
        (root / "link").symlink_to("..")
    try:
        found = inside(root, relative)
    except ToolError as error:
        assert error.code in {"outside_roots", "bad_argument"}
    else:
        assert found.is_relative_to(root.resolve())


def test_files_are_written_all_or_none(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text("old")
    with pytest.raises(ToolError, match="leaves the project"):
        write_files(tmp_path, {"new.txt": "new", "../out.txt": "out"})
    assert not (tmp_path / "new.txt").exists()
    assert write_files(tmp_path, {"a/new.txt": "new\n", "old.txt": "old"}) == ("a/new.txt",)
    assert (tmp_path / "a" / "new.txt").read_text() == "new\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "old.txt"]
    with pytest.raises(ToolError, match="folder") as caught:
        write_files(tmp_path, {"a": "text"})
    assert caught.value.code == "conflict"


def test_files_do_not_go_through_a_link(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "link").symlink_to(outside)
    with pytest.raises(ToolError) as caught:
        write_files(root, {"link/stolen.txt": "x"})
    assert caught.value.code == "outside_roots"
    assert list(outside.iterdir()) == []


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
        assert write_files(project, files) == ()


def test_too_much_at_once_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ToolError) as refused:
        write_files(tmp_path, {"fine.txt": "x", "large.txt": "x" * (MAX_BYTES + 1)})
    assert refused.value.code == "too_large"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("second", ["a/b", "a/b/c"])
def test_a_file_below_a_file_is_refused_before_anything_is_written(tmp_path: Path, second: str) -> None:
    with pytest.raises(ToolError) as refused:
        write_files(tmp_path, {"a": "file", second: "below it"})
    assert refused.value.code == "conflict"
    assert list(tmp_path.iterdir()) == []
