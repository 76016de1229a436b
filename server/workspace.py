"""Projects on disk: which directory a tool's `project` means, and writing the files a client sends without leaving it.

Beside the agent (stdio) a project is a directory below one of the allowed roots. On a GPU host (HTTP) it is the id of a
workspace, so that no path of the host's own file system can be named.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from kernelwright.tools.tool import ToolError

MAX_FILES = 2000
MAX_BYTES = 16 << 20
WORKSPACE_ID = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")


@dataclass(frozen=True)
class Located:
    """A project: its directory, and the words a client names it with."""

    path: Path
    id: str


class Workspaces(Protocol):
    """Finds existing projects and places for new ones."""

    roots: tuple[Path, ...]

    def existing(self, project: str, *, create: bool = False) -> Located: ...

    def new(self, name: str, directory: str | None) -> Located: ...


class Directories:
    """Projects are directories below `roots`; a relative one starts at the first root."""

    def __init__(self, roots: tuple[Path, ...]) -> None:
        self.roots = tuple(dict.fromkeys(root.resolve() for root in roots))

    def existing(self, project: str, *, create: bool = False) -> Located:
        located = self._locate(project)
        if not located.path.is_dir():
            raise ToolError(
                "not_found",
                f"There is no project directory {project!r}.",
                "Pass the directory that scaffold_kernel returned as project, or call scaffold_kernel first.",
            )
        return located

    def new(self, name: str, directory: str | None) -> Located:
        return self._locate(directory or name)

    def _locate(self, project: str) -> Located:
        if not project or "\0" in project:
            raise ToolError("bad_argument", f"{project!r} is no directory.", "Pass the path of a project directory.")
        given = Path(project).expanduser()
        path = (given if given.is_absolute() else self.roots[0] / given).resolve()
        if not any(path != root and path.is_relative_to(root) for root in self.roots) and path not in self.roots:
            allowed = ", ".join(map(str, self.roots))
            raise ToolError(
                "outside_roots",
                f"{project!r} leads to {path}, outside the allowed roots.",
                f"Use a directory below {allowed}, or start the server with --root.",
            )
        home = self.roots[0]
        return Located(path, str(path.relative_to(home)) if path.is_relative_to(home) else str(path))


class HostedWorkspaces:
    """Projects are folders of this host, named by an id; a client fills them through `files`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.roots: tuple[Path, ...] = (folder,)

    def existing(self, project: str, *, create: bool = False) -> Located:
        located = self._locate(project)
        if not located.path.is_dir():
            if not create:
                raise ToolError(
                    "not_found",
                    f"There is no workspace {project!r} on this host.",
                    "Call scaffold_kernel, or send the project's files with the argument files.",
                )
            located.path.mkdir(parents=True, exist_ok=True)
        return located

    def new(self, name: str, directory: str | None) -> Located:
        if directory is not None and directory != name:
            raise ToolError(
                "bad_argument",
                f"directory={directory!r} cannot be chosen on this host.",
                "Leave directory out: the workspace is named after the kernel.",
            )
        return self._locate(name)

    def _locate(self, project: str) -> Located:
        if not WORKSPACE_ID.fullmatch(project) or len(project) > 64:
            raise ToolError(
                "bad_argument",
                f"{project!r} is no workspace id.",
                "Use lowercase letters, digits and dashes, at most 64: the name given to scaffold_kernel.",
            )
        path = self.folder / project
        if path.is_symlink():
            raise ToolError("outside_roots", f"Workspace {project!r} is a link.", "Choose another name.")
        return Located(path, project)


def safe_path(project: Path, relative: str) -> Path:
    """`relative` below `project`; a ToolError when it is absolute, climbs out, or passes through a link that does."""
    pure = PurePosixPath(relative)
    if not relative or "\0" in relative or "\\" in relative or pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise ToolError(
            "outside_roots", f"{relative!r} is no path inside the project.", "Give paths relative to the project, without '..'."
        )
    root = project.resolve()
    target = root.joinpath(*pure.parts)
    if not target.resolve().is_relative_to(root):
        raise ToolError("outside_roots", f"{relative!r} is a link out of the project.", "Remove the link.")
    return target


def write_files(project: Path, files: Mapping[str, str]) -> list[str]:
    """Write `files` ({path: text}) into `project`, each atomically; the paths that changed. All or nothing."""
    if len(files) > MAX_FILES:
        raise ToolError("too_large", f"{len(files)} files were sent.", f"Send at most {MAX_FILES} files: only what changed.")
    total = sum(len(text.encode("utf-8", "surrogatepass")) for text in files.values())
    if total > MAX_BYTES:
        raise ToolError("too_large", f"{total} bytes were sent.", f"Send at most {MAX_BYTES} bytes: only what changed.")
    targets = {safe_path(project, relative): text for relative, text in files.items()}
    for target in targets:
        if target.is_dir():
            raise ToolError("bad_argument", f"{target.name!r} is a directory.", "Give the path of a file.")
    return [str(target.relative_to(project.resolve())) for target, text in targets.items() if _write(target, text)]


def _write(target: Path, text: str) -> bool:
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise ToolError("bad_argument", f"{target.name!r} is no valid Unicode text.", "Send valid UTF-8.") from error
    if target.is_file() and target.read_bytes() == data:
        return False
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ToolError("bad_argument", f"A parent of {target.name!r} is a file.", "Choose another path.") from error
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
    Path(temporary).chmod(0o644)
    Path(temporary).replace(target)
    return True
