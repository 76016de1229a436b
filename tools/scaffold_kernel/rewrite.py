"""The files of a catalogue project under another name, with the chosen backends only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import cast

import tomlkit
from tomlkit.items import Table

from kernelwright.tools import catalogue
from kernelwright.tools.scaffold_kernel import custom
from kernelwright.tools.scaffold_kernel.names import Names
from kernelwright.tools.scaffold_kernel.reference import STUB, Reference

BACKENDS = ("cpu", "cuda")
# The reference is recognised by its hash, so these bytes must not change.
_UNCHANGED = {PurePosixPath("problem.py")}


@dataclass(frozen=True)
class Plan:
    """What is asked for: which op, called what, for which backends and compute capabilities ("9.0"; empty: every one)."""

    op: str
    names: Names
    backends: tuple[str, ...]
    capabilities: tuple[str, ...] = ()
    reference: Reference | None = None

    @property
    def function(self) -> str:
        """The function that the package gives: the operation's, of a kernel of one's own the project's or what it says."""
        if self.op != catalogue.SKELETON:
            return self.op
        return (self.reference and self.reference.entry) or self.names.python


def files(plan: Plan) -> dict[PurePosixPath, bytes]:
    """Every file of the new project: path in it, content. An operation's `problem.py` is the catalogue's, byte for byte."""
    root = catalogue.folder(plan.op)
    skeleton = plan.op == catalogue.SKELETON
    result: dict[PurePosixPath, bytes] = {}
    for path in catalogue.files(plan.op):
        content = (root / path).read_bytes()
        if path.parts[0] in {f"{plan.op}_{b}" for b in BACKENDS if b not in plan.backends}:
            continue
        if skeleton:
            target, text = _own(path, content.decode(), plan)
            result[target] = text.encode()
        else:
            result[_renamed(path, plan)] = content if path in _UNCHANGED else _text(path, content.decode(), plan).encode()
    return result


def _own(path: PurePosixPath, text: str, plan: Plan) -> tuple[PurePosixPath, str]:
    """A file of the skeleton: its signature is that of the reference, its names are the project's."""
    reference = plan.reference
    if reference and path.name == "problem.py":
        text = custom.problem(text, reference, plan.function)
        return path, text if reference.whole else custom.renamed(text, plan.names.python, plan.function)
    text = _text(path, custom.with_signature(text, reference.parameters if reference else STUB), plan)
    target = PurePosixPath(custom.renamed(_renamed(path, plan).as_posix(), plan.names.python, plan.function))
    return target, custom.renamed(text, plan.names.python, plan.function)


def _renamed(path: PurePosixPath, plan: Plan) -> PurePosixPath:
    return PurePosixPath(_rename_folders(path.as_posix(), plan))


def _rename_folders(text: str, plan: Plan) -> str:
    text = re.sub(rf"\b{plan.op}_(cpu|cuda)/", rf"{plan.names.python}_\1/", text)
    return re.sub(rf"\btorch-ext/{plan.op}/", f"torch-ext/{plan.names.python}/", text)


def _text(path: PurePosixPath, text: str, plan: Plan) -> str:
    if path.name == "build.toml":
        return _build_toml(text, plan)
    if path.name == "torch_binding.cpp":
        return _one_branch(text, plan) if len(plan.backends) == 1 else text
    if path.name in {"CARD.md", "AGENTS.md", "flake.nix"}:
        return _document(text, plan)
    return text


def _document(text: str, plan: Plan) -> str:
    old = plan.op.replace("_", "-")
    dropped = [b for b in BACKENDS if b not in plan.backends]
    about = re.compile("|".join(rf"^(?:- {b}:|\| `{plan.op}_{b}/)" for b in dropped), re.IGNORECASE)
    kept = [line for line in text.splitlines(keepends=True) if not (dropped and about.match(line))]
    text = _rename_folders("".join(kept), plan)
    text = re.sub(rf"^(# (?:Working on )?){old}$", rf"\g<1>{plan.names.hub}", text, flags=re.MULTILINE)
    return text.replace(f'description = "{old}"', f'description = "{plan.names.hub}"')


def _build_toml(text: str, plan: Plan) -> str:
    document = tomlkit.parse(text)
    general = cast(Table, document["general"])
    general["name"] = plan.names.hub
    general["backends"] = sorted(plan.backends)
    if plan.names.repo_id:
        hub = tomlkit.table()
        hub["repo-id"] = plan.names.repo_id
        hub.add(tomlkit.nl())
        general["hub"] = hub
    torch = cast(Table, document["torch"])
    stable = cast(Table, torch["stable-abi"])
    for backend in BACKENDS:
        if backend not in plan.backends:
            stable.remove(backend)
    document["kernel"] = _kernels(cast(Mapping[str, Table], document["kernel"]), plan)
    return tomlkit.dumps(document)


def _kernels(kernels: Mapping[str, Table], plan: Plan) -> Table:
    result = tomlkit.table(is_super_table=True)
    for old in kernels.values():
        if old["backend"] not in plan.backends:
            continue
        new = tomlkit.table()
        for key, value in old.items():
            new[key] = [_rename_folders(s, plan) for s in cast(Sequence[str], value)] if key == "src" else value
        if old["backend"] == "cuda" and plan.capabilities:
            new["cuda-capabilities"] = list(plan.capabilities)
        result[f"{plan.names.python}_{old['backend']}"] = new
    return result


def _one_branch(text: str, plan: Plan) -> str:
    """Of each `#if defined(CUDA_KERNEL)` the branch for the one backend; the bindings nest no conditionals."""
    kept: list[str] = []
    branch: bool | None = None
    for line in text.splitlines(keepends=True):
        if line.startswith("#if defined(CUDA_KERNEL)"):
            branch = "cuda" in plan.backends
        elif branch is not None and line.startswith("#else"):
            branch = not branch
        elif branch is not None and line.startswith("#endif"):
            branch = None
        elif branch is not False:
            kept.append(line)
    return "".join(kept)
