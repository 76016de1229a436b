"""Files are placed all or none, inside their directory alone, and what was there is not lost."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest

from kernelwright.tools.scaffold_kernel.place import place
from kernelwright.tools.tool import ToolError

FILES = {PurePosixPath("a.txt"): b"new a", PurePosixPath("deep/b.txt"): b"new b"}


def contents(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


@pytest.mark.parametrize("exists", [False, True])
def test_writes_a_new_or_empty_directory(tmp_path: Path, exists: bool) -> None:
    target = tmp_path / "below/project"
    if exists:
        target.mkdir(parents=True)
    place(FILES, target, overwrite=False)
    assert contents(target) == {"a.txt": b"new a", "deep/b.txt": b"new b"}
    assert [p.name for p in target.parent.iterdir()] == ["project"]


def test_a_directory_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"old a")
    with pytest.raises(ToolError) as caught:
        place(FILES, tmp_path, overwrite=False)
    assert caught.value.code == "conflict"
    assert contents(tmp_path) == {"a.txt": b"old a"}


def test_overwrite_keeps_what_it_does_not_write(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "a.txt").write_bytes(b"old a")
    (project / "notes.md").write_bytes(b"mine")
    place(FILES, project, overwrite=True)
    assert contents(project) == {"a.txt": b"new a", "deep/b.txt": b"new b", "notes.md": b"mine"}
    assert [p.name for p in tmp_path.iterdir()] == ["project"]


@pytest.mark.parametrize("link", ["a.txt", "deep"])
def test_does_not_follow_links_out(tmp_path: Path, link: str) -> None:
    project, outside = tmp_path / "project", tmp_path / "outside"
    project.mkdir()
    outside.mkdir()
    (outside / "b.txt").write_bytes(b"theirs")
    (project / link).symlink_to(outside if link == "deep" else outside / "b.txt")
    with pytest.raises(ToolError) as caught:
        place(FILES, project, overwrite=True)
    assert caught.value.code == "outside_roots"
    assert contents(outside) == {"b.txt": b"theirs"}


def test_the_directory_itself_may_be_no_link(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "project").symlink_to(tmp_path / "outside")
    with pytest.raises(ToolError, match="no directory"):
        place(FILES, tmp_path / "project", overwrite=True)
    assert not contents(tmp_path / "outside")


@pytest.mark.parametrize("name", ["a.txt", "deep"])
def test_a_file_and_a_directory_do_not_replace_each_other(tmp_path: Path, name: str) -> None:
    project = tmp_path / "project"
    project.mkdir()
    if name == "deep":
        (project / name).write_bytes(b"a file")
    else:
        (project / name).mkdir()
        (project / name / "c").write_bytes(b"kept")
    before = contents(project)
    with pytest.raises(ToolError) as caught:
        place(FILES, project, overwrite=True)
    assert caught.value.code == "conflict"
    assert contents(project) == before


def test_a_failure_half_way_puts_everything_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    (project / "deep").mkdir(parents=True)
    (project / "a.txt").write_bytes(b"old a")
    (project / "deep/b.txt").write_bytes(b"old b")
    replace = Path.replace

    def fails_at_b(self: Path, target: str | os.PathLike[str]) -> Path:
        if self.name == "b.txt" and "new" in self.parts:
            raise OSError("disk full")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fails_at_b)
    with pytest.raises(OSError, match="disk full"):
        place(FILES, project, overwrite=True)
    assert contents(project) == {"a.txt": b"old a", "deep/b.txt": b"old b"}
    assert [p.name for p in tmp_path.iterdir()] == ["project"]


def test_a_failure_before_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: Path, data: bytes) -> int:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", fails)
    with pytest.raises(OSError, match="disk full"):
        place(FILES, tmp_path / "project", overwrite=False)
    assert not list(tmp_path.iterdir())
