"""Projects on disk: which directory a tool's `project` means.

Beside the agent (stdio) a project is a directory below one of the allowed roots. On a GPU host (HTTP) it is the id of a
workspace, so that no path of the host's own file system can be named.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kernelwright.tools.tool import ToolError

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
