"""Compiled objects by content, shared by all projects of a user: what was compiled once is never compiled again.

An entry is found by the source, the arguments and the compiler (`Key`), then by the headers that the source included the last
time: those of the project by content, those of torch and the toolkit by size and time of change. Entries are folders that
appear by one rename, so a reader sees a whole entry or none, whoever is killed meanwhile.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_BYTES = 5 << 30
_PRUNE_EVERY_S = 600
_ABANDONED_S = 3600
_DEPS = "deps.json"


@dataclass(frozen=True)
class Entry:
    """A folder of the cache: the files that `put` was given, never written again."""

    folder: Path

    def file(self, name: str) -> Path:
        """One of its files."""
        return self.folder / name

    @property
    def id(self) -> str:
        """Identifies the content: the same inputs."""
        return f"{self.folder.parent.name}/{self.folder.name}"


def key(parts: Any) -> str:
    """Hash of plain data."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class Cache:
    """The cache below `root`. Losing any of it at any time costs time only."""

    def __init__(self, root: Path, max_bytes: int = MAX_BYTES) -> None:
        self._root = root
        self._max_bytes = max_bytes
        self._hashes: dict[str, str] = {}
        root.mkdir(parents=True, exist_ok=True)

    def find(self, name: str, project: Path) -> Entry | None:
        """The newest entry under the key `name` whose headers are what they were."""
        for candidate in sorted(self._candidates(name), key=_latest_first):
            # A candidate that another process drops meanwhile is none.
            with contextlib.suppress(OSError, ValueError):
                deps = json.loads((candidate / _DEPS).read_bytes())
                if all(self._stamp(path, project) == stamp for path, stamp in deps.items()):
                    os.utime(candidate)
                    return Entry(candidate)
        return None

    def put(self, name: str, files: Mapping[str, Path], dependencies: Iterable[str], project: Path) -> Entry:
        """Keep copies of `files` under the key `name`; returns the entry, which may be one that another process put first."""
        deps = {path: self._stamp(path, project) for path in dependencies}
        final = self._root / name[:2] / name[2:] / key(deps)[:16]
        if (final / _DEPS).is_file():
            return Entry(final)
        final.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=self._root))
        try:
            for target, source in files.items():
                shutil.copyfile(source, partial / target)
            (partial / _DEPS).write_text(json.dumps(deps), encoding="utf-8")
            partial.chmod(0o755)
            partial.rename(final)
        except OSError:
            # Another process put the same entry in the meantime; any other reason shows as a missing entry.
            shutil.rmtree(partial, ignore_errors=True)
            if not (final / _DEPS).is_file():
                raise
        return Entry(final)

    def prune(self) -> None:
        """Drop the entries used longest ago until the cache is within its size; at most every ten minutes, by one process."""
        with (self._root / ".lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return
            stamp = self._root / ".pruned"
            if stamp.exists() and time.time() - stamp.stat().st_mtime < _PRUNE_EVERY_S:
                return
            stamp.touch()
            self._drop_old()

    def _drop_old(self) -> None:
        # Other compiles finish theirs meanwhile: what was listed may be gone when it is looked at.
        now = time.time()
        for partial in self._root.glob(".partial-*"):
            used = _last_used(partial)
            if used is not None and now - used > _ABANDONED_S:
                shutil.rmtree(partial, ignore_errors=True)
        entries = sorted(self._root.glob("??/*/*"), key=_latest_first)
        total = 0
        for entry in entries:
            total += sum(file.stat().st_size for file in entry.iterdir())
            if total > self._max_bytes:
                shutil.rmtree(entry, ignore_errors=True)

    def _candidates(self, name: str) -> list[Path]:
        folder = self._root / name[:2] / name[2:]
        return [entry for entry in folder.iterdir() if entry.is_dir()] if folder.is_dir() else []

    def _stamp(self, path: str, project: Path) -> str:
        """What tells one state of a file from another; empty for a file that is not there."""
        full = project / path
        try:
            if Path(path).is_absolute():
                status = full.stat()
                return f"{status.st_size}:{status.st_mtime_ns}"
            if path not in self._hashes:
                self._hashes[path] = hashlib.sha256(full.read_bytes()).hexdigest()
            return self._hashes[path]
        except OSError:
            return ""


def _last_used(entry: Path) -> float | None:
    """When, in s since the epoch; None for what is not there any more."""
    try:
        return entry.stat().st_mtime
    except OSError:
        return None


def _latest_first(entry: Path) -> float:
    return -(_last_used(entry) or 0.0)
