"""What has to be compiled and linked for each variant, where that is done, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kernelwright.tools.compile_kernel.parts import CUDA_SUFFIXES
from kernelwright.tools.compile_kernel.plan import Plan, Unit
from kernelwright.tools.compile_kernel.target import namespace
from kernelwright.tools.project import Project

LOG_BYTES = 4 << 20
OBJECT, LOG, BOUNDS = "object.o", "log.txt", "bounds.json"


@dataclass(frozen=True)
class Compiled:
    """What came of one unit: `log` is all that the compiler said; `object` exists only where it succeeded, and is whole."""

    unit: Unit
    object: Path
    depfile: Path
    keep: Path
    log: str

    @property
    def ok(self) -> bool:
        """Whether there is an object."""
        return self.object.is_file()

    @property
    def begun(self) -> bool:
        """Whether a compiler was started for it."""
        return self.object.with_name(LOG).is_file()


@dataclass(frozen=True)
class Outcome:
    """All units that were compiled now, the library if it could be linked, the linker's words, and the limit that ended it."""

    compiled: tuple[Compiled, ...]
    library: Path | None
    link_log: str
    killed: str


@dataclass(frozen=True)
class Work:
    """What has to be done for one variant: compile `missing`, take `held` objects from the cache, link in the plan's order.

    `made` is told of each object as soon as it is there: the compile may be cut off at any moment.
    """

    project: Project
    plan: Plan
    missing: tuple[Unit, ...]
    held: Mapping[Unit, Path]
    namespace: str
    generated: Path
    made: Callable[[Compiled], None]

    @property
    def library(self) -> str:
        """Name of the library, which is the namespace of its ops too."""
        return self.plan.output.replace(namespace(self.project, self.plan.target.backend), self.namespace)


class Run:
    """Several works and the folder that they are carried out in; a unit that two of them miss is compiled once."""

    def __init__(self, works: Sequence[Work], folder: Path) -> None:
        self.works = works
        self.folder = folder
        missing = [unit for work in works for unit in work.missing]
        # What takes longest starts first: nvcc, then what includes torch, last what nobody wrote by hand.
        ordered = sorted(dict.fromkeys(missing), key=lambda unit: (not unit.source.endswith(CUDA_SUFFIXES), unit.generated))
        self.units = {unit: folder / "units" / str(number) for number, unit in enumerate(ordered)}

    def compiled(self, unit: Unit) -> Compiled:
        """What there is of `unit` by now."""
        place = self.units[unit]
        return Compiled(unit, place / OBJECT, place / "deps.d", place / "keep", _text(place / LOG))

    def forget(self, units: Iterable[Unit]) -> None:
        """As if no compiler had been started for `units`."""
        for unit in units:
            (self.units[unit] / LOG).unlink(missing_ok=True)

    def variant(self, work: Work) -> Path:
        """The folder of what is linked for `work`."""
        return self.folder / work.plan.target.variant

    def library(self, work: Work) -> Path:
        """Where its library will be."""
        return self.variant(work) / "linked" / work.library

    def outcome(self, work: Work, killed: str = "") -> Outcome:
        """What came of `work`."""
        library = self.library(work)
        return Outcome(
            compiled=tuple(self.compiled(unit) for unit in work.missing),
            library=library if library.is_file() else None,
            link_log=_text(self.variant(work) / "link.log"),
            killed=killed,
        )


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(LOG_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
