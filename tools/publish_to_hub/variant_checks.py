"""Is each built variant whole, untouched since its build, made of today's sources, and loadable elsewhere?"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kernelwright.tools import build_toml, toolchain
from kernelwright.tools.compile_kernel import abi, elf
from kernelwright.tools.project import Project
from kernelwright.tools.publish_to_hub.contract import Check
from kernelwright.tools.publish_to_hub.package import Variant
from kernelwright.tools.tool import Context, ToolError, summarise

SOURCE_HASH = "source-sha256"
AGAIN = "compile_kernel(project, mode='release') makes it anew"


def check(project: Project, chosen: Sequence[Variant], context: Context) -> list[Check]:
    """The checks of the variants `chosen`, one `Check` over all of them for each question."""
    if not chosen:
        return []
    return [
        _over(chosen, "complete", lambda v: _complete(project, v), AGAIN),
        _over(chosen, "unchanged", _unchanged, AGAIN),
        _sources(project, chosen),
        _abi(chosen, context),
    ]


def metadata(variant: Variant) -> dict[str, Any]:
    """metadata.json as data, empty if it is missing or no JSON object."""
    try:
        data = json.loads((variant.path / "metadata.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _over(chosen: Sequence[Variant], name: str, problem: Callable[[Variant], str], mend: str) -> Check:
    problems = [f"{variant.name}: {text}" for variant in chosen if (text := problem(variant))]
    if not problems:
        return Check(name=name, ok=True)
    return Check(name=name, ok=False, detail=f"{summarise('; '.join(problems), 400)}. {mend}.")


def _complete(project: Project, variant: Variant) -> str:
    """By `kernels`' own reading of the metadata, and by what its loaders import."""
    try:
        found = build_toml.rust().Metadata.read_from_file(str(variant.path / "metadata.json"))
    except (OSError, ValueError) as error:
        return f"metadata.json: {summarise(str(error), 150)}"
    if str(found.name) != project.name or found.version != project.build.version:
        return (
            f"it was built as {found.name} version {found.version}, "
            f"build.toml says {project.name} version {project.build.version}"
        )
    needed = ["__init__.py", "_ops.py", f"{project.python_name}/__init__.py"]
    if variant.framework != "torch-noarch":
        needed.append(f"{found.id}.abi3.so" if variant.framework == "torch" else f"{found.id}.so")
    missing = [file for file in needed if not (variant.path / file).is_file()]
    if missing:
        return f"{', '.join(missing)} missing"
    ops = (variant.path / "_ops.py").read_text(encoding="utf-8", errors="replace")
    return "" if found.id in ops else f"_ops.py does not name {found.id}, the id of the metadata"


def _unchanged(variant: Variant) -> str:
    """By the digest of the metadata, if it has one; only `kernels verify-signature` looks at it later."""
    rust = build_toml.rust()
    try:
        digest = rust.Metadata.read_from_file(str(variant.path / "metadata.json")).digest
        if digest is None:
            return ""
        digest.validate(rust.Digest.hash_variant(digest.algorithm, str(variant.path)))
    except rust.DigestValidationError as error:
        return f"not as it was built: {summarise('; '.join(str(v) for v in error.violations), 150)}"
    except (OSError, ValueError, RuntimeError) as error:
        return f"its digest cannot be checked: {summarise(str(error), 150)}"
    return ""


def _sources(project: Project, chosen: Sequence[Variant]) -> Check:
    stale = [(variant, reason) for variant in chosen if (reason := _stale(project, variant))]
    if stale:
        said = "; ".join(f"{variant.name}: {reason}" for variant, reason in stale)
        return Check(name="sources", ok=False, detail=f"{summarise(said, 400)}. {AGAIN}.")
    unproven = [variant.name for variant in chosen if not _recorded_hash(variant)]
    if not unproven:
        return Check(name="sources", ok=True, detail="built from the sources that are in the project now")
    return Check(
        name="sources",
        ok=True,
        detail=(
            f"not proven: {summarise(', '.join(unproven), 150)} recorded no {SOURCE_HASH}. Its Python files are the project's; "
            "that its binary is made of the sources there now, only a fresh compile_kernel shows."
        ),
    )


def _recorded_hash(variant: Variant) -> str:
    provenance = metadata(variant).get("provenance")
    return str(provenance.get(SOURCE_HASH, "")) if isinstance(provenance, dict) else ""


def _stale(project: Project, variant: Variant) -> str:
    """Why the variant is not made of the project's sources, as far as can be seen; times of files prove nothing."""
    recorded = _recorded_hash(variant)
    if recorded:
        return "" if recorded == project.source_sha256 else "the sources were changed after it was built"
    here = {path.relative_to(project.package_dir): path for path in project.package_dir.rglob("*.py") if path.name != "_ops.py"}
    changed = [str(name) for name, path in here.items() if not _same(path, variant.path / name)]
    return f"{', '.join(sorted(changed)[:3])} changed after it was built" if changed else ""


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()


def _abi(chosen: Sequence[Variant], context: Context) -> Check:
    torch = toolchain.detect(context.host_python, cache=context.cache).torch
    include = torch.include_dirs[0] if torch else None
    problems: list[str] = []
    for variant in chosen:
        for library in variant.libraries:
            try:
                found = abi.check(
                    library, torch_include=include, stable_abi=variant.stable_abi, python=variant.framework == "torch"
                )
                problems += [f"{variant.name}: {problem}" for problem in found.problems]
            except (elf.NotElfError, OSError, ToolError) as error:
                problems.append(f"{variant.name}: {error}")
    if problems:
        return Check(
            name="abi", ok=False, detail=f"{summarise('; '.join(problems), 400)}. compile_kernel's abi says what to mend."
        )
    count = sum(len(variant.libraries) for variant in chosen)
    said = f"{count} binar{'y' if count == 1 else 'ies'} against {abi.MANYLINUX} and Python ABI {abi.PYTHON_ABI}"
    note = "" if include else f"; the calls into torch were not looked at: {context.host_python} has no torch"
    return Check(name="abi", ok=True, detail=said + note)
