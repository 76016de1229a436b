"""A project's objects in the cache: which units have one, and each new one kept the moment it is made."""

from __future__ import annotations

import hashlib
import json
import os.path
import uuid
from collections.abc import Iterable
from pathlib import Path

from kernelwright.tools.compile_kernel import ninja_file, resources
from kernelwright.tools.compile_kernel.cache import Cache, Entry, key
from kernelwright.tools.compile_kernel.plan import Unit
from kernelwright.tools.compile_kernel.work import BOUNDS, LOG, OBJECT, Compiled
from kernelwright.tools.project import Project


class Objects:
    """Objects of the units of one project. It must be made before anything of the project is compiled."""

    def __init__(self, project: Project, cache: Cache, generated: Path) -> None:
        self._project = project
        self._cache = cache
        self._generated = generated
        self._before = {relative: self._state(relative) for relative, _ in project.files}

    def held(self, units: Iterable[Unit]) -> dict[Unit, Entry]:
        """The objects that the cache has, out of which nothing needs to be compiled."""
        return {unit: entry for unit in units if (entry := self._cache.find(self._key(unit), self._project.path))}

    def keep(self, compiled: Compiled) -> tuple[Entry, str]:
        """Put the object of `compiled` into the cache; also the file that was changed while it was made, or empty.

        Of such an object nobody knows what it was made of: it serves this build, and no other one finds it.
        """
        bounds = compiled.depfile.with_name(BOUNDS)
        bounds.write_text(json.dumps(resources.launch_bounds(compiled.keep)), encoding="utf-8")
        files = {OBJECT: compiled.object, LOG: compiled.depfile.with_name(LOG), BOUNDS: bounds}
        dependencies = [self._relative(path) for path in _read_depfile(compiled.depfile)]
        name = self._key(compiled.unit)
        changed = next(filter(self._changed, (compiled.unit.source, *dependencies)), "")
        if changed:
            name = key([name, uuid.uuid4().hex])
        return self._cache.put(name, files, dependencies, self._project.path), changed

    def _key(self, unit: Unit) -> str:
        source = self._generated / unit.source if unit.generated else self._project.path / unit.source
        compiler = unit.compiler.stat()
        return key(
            [
                *(str(unit.compiler), compiler.st_size, compiler.st_mtime_ns, list(unit.arguments), unit.source),
                ninja_file.version(),
                hashlib.sha256(source.read_bytes()).hexdigest(),
            ]
        )

    def _relative(self, path: str) -> str:
        full = Path(path)
        return str(full.relative_to(self._project.path)) if full.is_relative_to(self._project.path) else path

    def _changed(self, path: str) -> bool:
        relative = os.path.normpath(path)
        return relative in self._before and self._state(relative) != self._before[relative]

    def _state(self, relative: str) -> tuple[int, int]:
        try:
            status = (self._project.path / relative).stat()
        except OSError:
            return 0, 0
        return status.st_size, status.st_mtime_ns


def _read_depfile(path: Path) -> list[str]:
    """Prerequisites in a Makefile rule, spaces and dollars unescaped."""
    text = path.read_text(encoding="utf-8", errors="replace").replace("\\\n", " ")
    _, _, names = text.partition(": ")
    words = names.replace("\\ ", "\0").split()
    return list(dict.fromkeys(word.replace("\0", " ").replace("$$", "$").replace("\\#", "#") for word in words))
