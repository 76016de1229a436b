"""A kernel project on disk: its build.toml, the files that make it, and their hash. Nothing outside its folder is reachable."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path, PurePosixPath

from kernelwright.tools import build_toml
from kernelwright.tools.build_toml import BuildToml
from kernelwright.tools.files import inside
from kernelwright.tools.tool import ToolError

MAX_FILES = 5000
MAX_FILE_BYTES = 16 << 20
MAX_TOTAL_BYTES = 128 << 20
# What a pattern in src stands for is spelt out up to so many files: a hint is to be read.
_MOST_LISTED = 8

# What never makes the package: version control, outputs of builds, caches and environments.
_SKIPPED = {"build", "result", "__pycache__", "node_modules", "venv", "dist"}
# Of the rest, what is beside the kernel: changing it changes no binary.
_BESIDE = {"tests", "benchmarks", "problem.py", "flake.nix", "flake.lock", "LICENSE"}


@dataclass(frozen=True)
class Project:
    """A kernel project whose build.toml is valid and whose files are few, small and its own."""

    path: Path
    build: BuildToml

    @classmethod
    def open(cls, path: Path) -> Project:
        """The project in `path`; raises ToolError for a bad build.toml, a path that leaves it, or too much in it."""
        project = cls(path.resolve(), build_toml.read(path))
        project.check()
        return project

    @property
    def name(self) -> str:
        """Name on the Hub, with dashes."""
        return self.build.name

    @property
    def python_name(self) -> str:
        """Name of the Python package, with underscores."""
        return self.build.python_name

    @property
    def backends(self) -> tuple[str, ...]:
        """Backends that build.toml declares."""
        return self.build.backends

    @property
    def sources(self) -> tuple[str, ...]:
        """Every source that build.toml names, relative to the project, each once."""
        named = [*self.build.binding.sources, *(s for c in self.build.components for s in c.sources)]
        return tuple(dict.fromkeys(named))

    @property
    def package_dir(self) -> Path:
        """Folder of the Python sources of the package."""
        outer = "tvm-ffi-ext" if self.build.binding.framework == "tvm-ffi" else "torch-ext"
        return self.path / outer / self.python_name

    @property
    def problem(self) -> Path:
        """Where `problem.py` lies if the project has one."""
        return self.path / "problem.py"

    def resolve(self, relative: str, what: str = "path") -> Path:
        """The file or folder that `relative` names; raises ToolError if it is not inside the project, links included."""
        return inside(self.path, relative, what)

    def check(self) -> None:
        """Raise ToolError unless every path of build.toml is a file of the project."""
        for source in self.sources:
            if not self.resolve(source, "src").is_file():
                raise ToolError(
                    "not_found",
                    f"build.toml names the source {source!r}, which is not a file of the project.",
                    self._nearest(source),
                )
        for include in {*self.build.binding.include, *(i for c in self.build.components for i in c.include)}:
            self.resolve(include, "include")
        if not self.package_dir.is_dir():
            place = self.package_dir.relative_to(self.path)
            raise ToolError(
                "not_found",
                f"The Python package {place} is missing.",
                f"Create {place}/__init__.py; its name is the kernel's with underscores.",
            )
        undeclared = sorted({c.backend for c in self.build.components} - set(self.backends))
        if undeclared:
            raise ToolError(
                "bad_argument",
                f"build.toml has kernels for {', '.join(undeclared)}, but backends lists only {', '.join(self.backends)}.",
                f"Add {', '.join(map(repr, undeclared))} to backends, or remove those kernels.",
            )

    def _nearest(self, source: str) -> str:
        import difflib

        if re.search(r"[*?]|\[.+\]|\{.+\}", source):
            found = self._matching(source)
            listed = (
                f"write {', '.join(map(json.dumps, found))} instead" if 0 < len(found) <= _MOST_LISTED else "name each file"
            )
            return f"Patterns are not expanded in src: {listed}."
        near = difflib.get_close_matches(source, [name for name, _ in self.files], n=3, cutoff=0.5)
        return f"Did you mean {' or '.join(map(repr, near))}?" if near else "Create it or remove it from src."

    def _matching(self, pattern: str) -> list[str]:
        # fnmatch's star crosses folders, which only ** should.
        deep = "**" in pattern
        names = [name for name, _ in self.files if deep or name.count("/") == pattern.count("/")]
        return [name for name in names if fnmatchcase(name, pattern.replace("**/", "*"))]

    @cached_property
    def files(self) -> tuple[tuple[str, int], ...]:
        """Files that belong to the project, relative, with their bytes, in order; refuses links that leave it and excess."""
        found: list[tuple[str, int]] = []
        total = 0
        for relative, entry in _walk(self.path, PurePosixPath()):
            if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(self.path):
                raise ToolError(
                    "outside_roots",
                    f"{relative} is a link that leaves the project.",
                    "Copy what it points at into the project.",
                )
            if not entry.is_file():
                continue
            size = entry.stat().st_size
            total += size
            found.append((str(relative), size))
            if size > MAX_FILE_BYTES:
                raise ToolError(
                    "too_large",
                    f"{relative} has {size} bytes, more than {MAX_FILE_BYTES}.",
                    "Split it, or keep data elsewhere.",
                )
            if len(found) > MAX_FILES or total > MAX_TOTAL_BYTES:
                raise ToolError(
                    "too_large",
                    f"The project holds more than {MAX_FILES} files or {MAX_TOTAL_BYTES >> 20} MiB.",
                    "Point at the kernel's own folder, and keep dependencies and data out of it.",
                )
        return tuple(sorted(found))

    @cached_property
    def source_sha256(self) -> str:
        """SHA-256 over names and contents of all that makes the package; tests, problem.py and text beside it do not count."""
        total = hashlib.sha256()
        for relative, _ in self.files:
            if PurePosixPath(relative).parts[0] in _BESIDE or relative.endswith(".md"):
                continue
            content = hashlib.sha256((self.path / relative).read_bytes()).digest()
            total.update(relative.encode() + b"\0" + content)
        return total.hexdigest()


def _walk(folder: Path, prefix: PurePosixPath) -> Iterator[tuple[PurePosixPath, os.DirEntry[str]]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name in _SKIPPED or entry.name.startswith("result-"):
                continue
            relative = prefix / entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path), relative)
            elif entry.is_file() or entry.is_symlink():
                yield relative, entry
