"""The folder of one variant as the Hub and `kernels` expect it: library, Python sources, _ops.py, metadata."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from kernelwright.tools import build_toml
from kernelwright.tools.compile_kernel import templates
from kernelwright.tools.compile_kernel.gpu_archs import Capability
from kernelwright.tools.project import Project
from kernelwright.tools.tool import ToolError

_GIT_S = 10


def assemble(
    project: Project,
    folder: Path,
    *,
    backend: str,
    namespace: str,
    ops_py: str,
    library: Path | None,
    capabilities: Sequence[Capability],
) -> None:
    """Write the variant into `folder`, which must not exist. `library` is None for a package without compiled parts."""
    folder.mkdir(parents=True)
    _copy_python(project, folder)
    (folder / "_ops.py").write_text(ops_py.format(namespace=namespace), encoding="utf-8")
    if library:
        shutil.copyfile(library, folder / library.name)
        (folder / library.name).chmod(0o755)
    compatibility = folder / project.python_name
    # A module of the package's own name would be hidden by a folder of that name.
    if not (compatibility / "__init__.py").exists() and not compatibility.with_suffix(".py").exists():
        compatibility.mkdir(exist_ok=True)
        text = templates.COMPATIBILITY_PY.format(name=project.python_name)
        (compatibility / "__init__.py").write_text(text, encoding="utf-8")
    data = metadata(project, backend=backend, name=namespace, capabilities=capabilities)
    path = folder / "metadata.json"
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    digest = build_toml.rust().Digest.hash_variant(build_toml.rust().DigestAlgorithm.SHA256, str(folder))
    data["digest"] = {"algorithm": "sha256", "files": dict(sorted(digest.files.items()))}
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def _copy_python(project: Project, folder: Path) -> None:
    root = project.package_dir.relative_to(project.path)
    endings = {"py", "pyi", *project.build.binding.data_extensions}
    for relative, _ in project.files:
        path = Path(relative)
        if path.is_relative_to(root) and path.suffix.lstrip(".") in endings and path.name != "_ops.py":
            target = folder / path.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(project.path / path, target)
    if not (folder / "__init__.py").is_file():
        raise ToolError("not_found", f"{root}/__init__.py is missing.", "Create it: it is what `import` of the kernel runs.")


def metadata(project: Project, *, backend: str, name: str, capabilities: Sequence[Capability]) -> dict[str, Any]:
    """metadata.json without its digest."""
    build = project.build
    described: dict[str, Any] = {"type": backend}
    if capabilities:
        described["archs"] = sorted({str(c) for c in capabilities})
    data: dict[str, Any] = {"name": build.name, "id": name, "version": build.version, "license": build.license}
    data |= {key: value for key, value in (("upstream", build.upstream), ("source", build.source)) if value}
    data["python-depends"] = list(build.python_depends.get(backend, ()))
    data["kernel-depends"] = list(build.kernel_depends.get(backend, ()))
    data["backend"] = described
    provenance: dict[str, Any] = {"kernel-builder": {"version": f"kernelwright-{_own_version()}"}}
    provenance["source-sha256"] = project.source_sha256
    git = _git(project.path)
    if git:
        provenance["kernel"] = git
    data["provenance"] = provenance
    return data


def _own_version() -> str:
    try:
        return version("kernelwright")
    except PackageNotFoundError:
        return "unknown"


def _git(folder: Path) -> dict[str, Any] | None:
    """Commit of the repository that the project is in and whether tracked files were changed; None outside of one."""
    if not any((parent / ".git").exists() for parent in (folder, *folder.parents)):
        return None
    # Hooks and helpers of a configuration that an agent wrote must not run: only plumbing that reads.
    safe = ["git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-C", str(folder)]
    env = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_CONFIG_NOSYSTEM": "1"}
    try:
        commit = subprocess.run(
            [*safe, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=_GIT_S, check=True, env=env
        )
        changed = subprocess.run(
            [*safe, "diff-index", "--quiet", "--no-ext-diff", "HEAD", "--", "."], capture_output=True, timeout=_GIT_S, env=env
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit.stdout.strip(), "dirty": changed.returncode != 0}


@contextmanager
def locked(project: Project) -> Iterator[Path]:
    """The project's `build` folder, held against other compiles of the same project while a variant is put in place."""
    folder = project.path / "build"
    if folder.is_symlink():
        raise ToolError("outside_roots", "build is a link.", "Remove the link: compiled packages are written below build/.")
    folder.mkdir(exist_ok=True)
    with (folder / ".lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def _same(staged: Path, place: Path) -> bool:
    """Whether `place` holds exactly the files of `staged`: then nothing is moved under whoever has it open."""

    def names(folder: Path) -> list[str]:
        return sorted(
            str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts
        )

    if place.is_symlink() or not place.is_dir() or names(staged) != names(place):
        return False
    return all((staged / name).read_bytes() == (place / name).read_bytes() for name in names(staged))


def install(project: Project, staged: Path, variant: str) -> Path:
    """Put the staged folder in the place of `build/<variant>`; whoever looks sees the old variant or the new one."""
    with locked(project) as folder:
        place = folder / variant
        if _same(staged, place):
            return place
        partial, old = folder / f".new-{variant}", folder / f".old-{variant}"
        for leftover in (partial, old):
            shutil.rmtree(leftover, ignore_errors=True)
        shutil.copytree(staged, partial)
        if place.is_symlink():
            place.unlink()
        elif place.exists():
            place.rename(old)
        partial.rename(place)
        shutil.rmtree(old, ignore_errors=True)
    return place
