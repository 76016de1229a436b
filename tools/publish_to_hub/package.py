"""What would be uploaded: the built variants of a project and the files of them, of the card and of the benchmark."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from kernelwright.tools.project import Project
from kernelwright.tools.publish_to_hub import card
from kernelwright.tools.tool import ToolError

MAIN = "main"
MAX_FILES = 20_000
_LEFTOVERS = {"__pycache__"}


@dataclass(frozen=True)
class Variant:
    """One folder below `build/` whose name is a variant's: `torch-stable-abi29-cpu-x86_64-linux`.

    `framework` is `torch`, `torch-noarch` or `tvm-ffi`; `stable_abi` is the oldest torch that it promises to load in, or empty.
    """

    path: Path
    framework: Literal["torch", "torch-noarch", "tvm-ffi"]
    stable_abi: str

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.path.name

    @cached_property
    def files(self) -> tuple[PurePosixPath, ...]:
        """Files of the variant, relative to it, in order; raises ToolError for a link or too many."""
        return tuple(sorted(PurePosixPath(path.relative_to(self.path)) for path in _walk(self.path)))

    @property
    def libraries(self) -> tuple[Path, ...]:
        """Shared libraries of the variant."""
        return tuple(self.path / file for file in self.files if file.suffix == ".so")


@dataclass(frozen=True)
class Upload:
    """A file of the repository: its branch and path there, and where its content comes from."""

    branch: str
    path: str
    source: Path
    text: str | None = None

    @property
    def content(self) -> bytes:
        """What will be uploaded."""
        return self.source.read_bytes() if self.text is None else self.text.encode()

    @property
    def size(self) -> int:
        """Bytes of the content."""
        return self.source.stat().st_size if self.text is None else len(self.text.encode())


def variants(project: Project) -> tuple[Variant, ...]:
    """Every variant that lies in `build/`, by name; other folders there are nobody's business here."""
    folder = project.path / "build"
    if folder.is_symlink() or not folder.is_dir():
        return ()
    found = (_variant(path) for path in sorted(folder.iterdir()) if path.is_dir() and not path.is_symlink())
    return tuple(variant for variant in found if variant)


def choose(built: Sequence[Variant], asked: Sequence[str] | Literal["all"]) -> tuple[Variant, ...]:
    """Those of `built` that were asked for; raises ToolError naming the ones that are there."""
    if asked == "all":
        return tuple(built)
    names = {variant.name for variant in built}
    unknown = [name for name in asked if name not in names]
    if unknown or not asked:
        said = f"There is no built variant {', '.join(map(repr, unknown))}." if unknown else "variants is empty."
        have = f"Built are: {', '.join(sorted(names))}." if names else "None is built: call compile_kernel with mode='release'."
        raise ToolError("bad_argument", said, have)
    return tuple(variant for variant in built if variant.name in asked)


def uploads(project: Project, chosen: Sequence[Variant], repo_id: str) -> tuple[Upload, ...]:
    """Every file that goes to the Hub, as kernel-builder's upload lays them out: the card on main, all else on `v<version>`."""
    branch = revision(project)
    found = [Upload(branch, f"benchmarks/{path.name}", path) for path in benchmarks(project)]
    for variant in chosen:
        found += [Upload(branch, f"build/{variant.name}/{file}", variant.path / file) for file in variant.files]
    text = card.read(project)
    readme = [] if text is None else [Upload(MAIN, "README.md", card.path(project), card.fill(text, project, repo_id))]
    if len(found) > MAX_FILES:
        raise ToolError("too_large", f"{len(found)} files would be uploaded, more than {MAX_FILES}.", "Choose fewer variants.")
    return (*readme, *found)


def revision(project: Project) -> str:
    """The branch of the package's version: `v1`."""
    return f"v{project.build.version}"


def benchmarks(project: Project) -> tuple[Path, ...]:
    """The files that `kernels benchmark` runs."""
    return _own(project, "benchmarks", "benchmark*.py")


def tests(project: Project) -> tuple[Path, ...]:
    """The project's test files."""
    return _own(project, "tests", "test_*.py")


def _own(project: Project, folder: str, pattern: str) -> tuple[Path, ...]:
    found = sorted(path for path in (project.path / folder).glob(pattern) if path.is_file())
    for path in found:
        project.resolve(str(path.relative_to(project.path)), folder)
    return tuple(found)


def _variant(path: Path) -> Variant | None:
    from kernels import variants as known  # brings huggingface_hub along

    try:
        parsed = known.parse_variant(path.name)
    except ValueError:
        return None
    framework: Any = parsed.framework
    if isinstance(framework, known.TorchNoarch):
        return Variant(path, "torch-noarch", "")
    if isinstance(framework, known.TvmFfi):
        return Variant(path, "tvm-ffi", "")
    return Variant(path, "torch", str(framework.version) if isinstance(framework, known.TorchStableAbi) else "")


def _walk(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name in _LEFTOVERS:
                continue
            if entry.is_symlink():
                # A link in a package could carry any file of this host to the Hub.
                raise ToolError(
                    "outside_roots",
                    f"build/{Path(entry.path).relative_to(folder.parent)} is a link.",
                    "Compile again: a package holds files of its own.",
                )
            if entry.is_dir():
                yield from _walk(Path(entry.path))
            elif entry.is_file():
                yield Path(entry.path)
