"""Puts the files of a new project into its directory: all of them or none, and nothing outside it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from kernelwright.tools.tool import ToolError


def place(files: Mapping[PurePosixPath, bytes], directory: Path, *, overwrite: bool) -> None:
    """Write `files` below `directory`.

    A new or empty directory appears whole, by one rename. With `overwrite` the files of a directory that has some are replaced
    and its others stay; if that fails half-way, what was there before is put back. Raises ToolError `conflict` for a directory
    in use without `overwrite`, `outside_roots` where a link would lead out of it.
    """
    if directory.is_symlink() or (directory.exists() and not directory.is_dir()):
        raise ToolError("conflict", f"{directory.name!r} exists and is no directory.", "Pass another name or directory.")
    in_use = directory.is_dir() and any(directory.iterdir())
    if in_use and not overwrite:
        raise ToolError(
            "conflict",
            f"The directory {directory.name!r} exists and is not empty.",
            "Pass another name or directory, or overwrite=true to replace the files that the scaffold writes.",
        )
    directory.parent.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        new = stage / "new"
        for path, content in files.items():
            target = new / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        if in_use:
            _refuse_links(files, directory)
            _replace(files, new, stage / "old", directory)
        else:
            new.rename(directory)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _refuse_links(files: Mapping[PurePosixPath, bytes], directory: Path) -> None:
    for path in files:
        for part in (path, *path.parents):
            target = directory / part
            if part.parts and target.is_symlink():
                raise ToolError(
                    "outside_roots",
                    f"{part.as_posix()!r} in {directory.name!r} is a symbolic link, which may lead out of the project.",
                    "Remove the link or pass another directory.",
                )
            if target.is_dir() if part == path else (target.exists() and not target.is_dir()):
                raise ToolError(
                    "conflict",
                    f"{part.as_posix()!r} in {directory.name!r} is not what the scaffold needs there: "
                    f"{'a directory' if part == path else 'a file'}.",
                    "Move it away or pass another directory.",
                )


def _replace(files: Mapping[PurePosixPath, bytes], new: Path, old: Path, directory: Path) -> None:
    placed: list[PurePosixPath] = []
    try:
        for path in files:
            target, backup = directory / path, old / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                backup.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(target, backup)
            placed.append(path)
            (new / path).replace(target)
    except OSError:
        for path in placed:
            if (old / path).exists():
                (old / path).replace(directory / path)
            elif not (new / path).exists():
                (directory / path).unlink(missing_ok=True)
        raise
