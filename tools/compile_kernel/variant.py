"""Building one variant from end to end: objects from the cache or the compilers, link, package, import check, ABI check."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from kernelwright.tools.compile_kernel import (
    abi,
    checker,
    clang_toolkit,
    compilers,
    diagnostics,
    generated,
    imports,
    namespaces,
    package,
    plan,
    registrations,
    resources,
    templates,
    verdicts,
)
from kernelwright.tools.compile_kernel.cache import Cache, Entry, key
from kernelwright.tools.compile_kernel.checker import Checker, Loaded
from kernelwright.tools.compile_kernel.contract import Abi, Diagnostic, KernelUse
from kernelwright.tools.compile_kernel.gpu_archs import Capability
from kernelwright.tools.compile_kernel.objects import Objects
from kernelwright.tools.compile_kernel.parts import CUDA_SUFFIXES
from kernelwright.tools.compile_kernel.plan import Plan, Unit
from kernelwright.tools.compile_kernel.sources import Sources
from kernelwright.tools.compile_kernel.target import Target, namespace, renamed_later
from kernelwright.tools.compile_kernel.together import Seat, Together
from kernelwright.tools.compile_kernel.work import BOUNDS, LOG, OBJECT, Compiled, Outcome, Work
from kernelwright.tools.project import Project
from kernelwright.tools.tool import Progress
from kernelwright.tools.toolchain import version_numbers

_LIBRARY, _CHECK = "library.so", "check.json"


@dataclass
class Built:
    """What came of one variant. `library` is relative to the variant's folder, `path` that folder, both only if `ok`."""

    target: Target
    ok: bool = False
    path: Path | None = None
    library: str = ""
    diagnostics: list[Diagnostic] = field(default_factory=list)
    kernels: list[KernelUse] = field(default_factory=list)
    abi: Abi | None = None
    cached: bool = False
    skipped: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)


class Builder:
    """Builds the variants of one project; `folder` is scratch space of this call alone."""

    def __init__(self, project: Project, cache_root: Path, folder: Path, progress: Progress, warm: Path | None = None) -> None:
        self._project = project
        self._cache = Cache(cache_root / "objects")
        self._generated = generated.folder(cache_root)
        self._objects = Objects(project, self._cache, self._generated)
        self._folder = folder
        self._progress = progress
        self._warm = warm

    def build(self, targets: Sequence[Target]) -> list[Future[Built]]:
        """Each variant of `targets`, installed in the project's `build` folder if all went well, or the ToolError about it."""

        def run(works: Sequence[Work], done: Callable[[Work, Outcome], None]) -> None:
            compilers.run(works, self._folder / "work", self._progress, done)

        together = Together(len(targets), run)
        # A thread for each: all of them meet at the compilers.
        with ThreadPoolExecutor(len(targets)) as pool:
            started = [pool.submit(self._build, target, Seat(together)) for target in targets]
        self._cache.prune()
        return started

    def _build(self, target: Target, seat: Seat) -> Built:
        folder = self._folder / target.variant
        with seat:
            try:
                shutil.rmtree(folder, ignore_errors=True)
                (folder / "stage").mkdir(parents=True)
                if target.framework == "torch-noarch":
                    seat.leave()
                    return self._noarch(target, folder)
                return self._compiled(target, folder, seat)
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def _noarch(self, target: Target, folder: Path) -> Built:
        digits = key([self._project.source_sha256, target.variant])[:7]
        name = namespace(self._project, target.backend, digits)
        result = Built(target, cached=True)
        self._progress("packaging", target.variant)
        declared = self._project.build.binding.cuda_capabilities if target.backend == "cuda" else ()
        staged = folder / "stage" / target.variant
        package.assemble(
            self._project,
            staged,
            backend=target.backend,
            namespace=name,
            ops_py=templates.NOARCH_OPS_PY,
            library=None,
            capabilities=tuple(map(Capability.parse, declared)),
        )
        self._load(result, name, staged, None, None, None)
        return self._finish(result, staged)

    def _compiled(self, target: Target, folder: Path, seat: Seat) -> Built:
        made, name = self._planned(target)
        result = Built(target, skipped=list(made.skipped))
        held = self._objects.held(made.units)
        library = self._linked(made, held, name)
        if library:
            seat.leave()
            result.cached = True
            self._describe(result, made, [(unit, held[unit].file(LOG), held[unit].file(BOUNDS)) for unit in made.units])
            return self._package(result, made, name, library, folder, None)
        with Checker(folder / "stage", target, self._generated, self._warm) as waiting:
            fresh = self._compile(result, made, held, name, seat)
            return self._package(result, made, name, fresh, folder, waiting) if fresh else result

    def _planned(self, target: Target) -> tuple[Plan, str]:
        """The plan and the namespace of the ops, which no other build has.

        With the full ABI a dev build shares it with the builds before it until the binding changes: another name would compile
        the binding anew at each edit of a kernel, a minute if it includes all of torch.
        """
        made = plan.make(self._project, target, self._generated)
        later = renamed_later(target)
        text = self._project.source_sha256
        if not later and target.mode == "dev":
            text = key([(self._project.path / source).read_bytes().hex() for source in self._project.build.binding.sources])
        arguments = [[unit.source, list(unit.arguments)] for unit in made.units]
        name = namespace(self._project, target.backend, key([text, target.variant, arguments, made.link])[:7])
        return (made if later else plan.make(self._project, target, self._generated, name)), name

    def _compile(self, result: Built, made: Plan, held: dict[Unit, Entry], name: str, seat: Seat) -> Entry | None:
        missing = tuple(unit for unit in made.units if unit not in held)
        self._progress("compiling", f"{len(missing)} of {len(made.units)} sources for {result.target.variant}", 0.0)
        objects = {unit: entry.file(OBJECT) for unit, entry in held.items()}
        changed: list[str] = []

        def made_one(compiled: Compiled) -> None:
            held[compiled.unit], meanwhile = self._objects.keep(compiled)
            changed.extend([meanwhile] if meanwhile else [])

        outcome = seat.compile(Work(self._project, made, missing, objects, name, self._generated, made_one))
        for compiled in outcome.compiled:
            self._log(result, compiled)
        logs = [(c.unit, c.depfile.with_name(LOG), c.depfile.with_name(BOUNDS)) for c in outcome.compiled]
        logs += [(unit, held[unit].file(LOG), held[unit].file(BOUNDS)) for unit in made.units if unit not in set(missing)]
        self._describe(result, made, logs)
        result.log.append(outcome.link_log)
        sources = Sources(self._project.path)
        found = [*result.diagnostics, *diagnostics.parse(outcome.link_log, sources, "")]
        failed = [compiled for compiled in outcome.compiled if not compiled.ok]
        found += verdicts.unexplained(outcome, failed, found, sources)
        found += verdicts.changed_meanwhile(changed)
        result.diagnostics = diagnostics.ordered(found)
        if outcome.library is None:
            clang_toolkit.blame(result.target.toolchain, result.target.variant, result.diagnostics)
            return None
        files = {_LIBRARY: outcome.library}
        return self._cache.put(self._link_key(made, held, name), files, (), self._project.path)

    def _link_key(self, made: Plan, held: dict[Unit, Entry], name: str) -> str:
        return key([[held[unit].id for unit in made.units], list(made.link), list(made.stubs), made.output, name])

    def _linked(self, made: Plan, held: dict[Unit, Entry], name: str) -> Entry | None:
        if any(unit not in held for unit in made.units):
            return None
        return self._cache.find(self._link_key(made, held, name), self._project.path)

    def _describe(self, result: Built, made: Plan, logs: Iterable[tuple[Unit, Path, Path]]) -> None:
        """Diagnostics and resources out of what the compilers said, now or when the object was made."""
        sources = Sources(self._project.path)
        found: list[Diagnostic] = []
        origin: list[str] = []
        for unit, log, bounds in logs:
            if unit.generated:
                continue
            text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
            found += diagnostics.parse(text, sources, unit.source)
            if unit.source.endswith(CUDA_SUFFIXES):
                known = json.loads(bounds.read_text(encoding="utf-8")) if bounds.is_file() else {}
                result.kernels += resources.parse(text, known)
                origin += [unit.source] * (len(result.kernels) - len(origin))
        names = resources.demangled(kernel.name for kernel in result.kernels)
        for kernel in result.kernels:
            kernel.name = resources.short(names[kernel.name])
        found += verdicts.unlaunchable(zip(origin, result.kernels, strict=True), sources)
        result.diagnostics = diagnostics.ordered(found)

    def _package(self, result: Built, made: Plan, name: str, library: Entry, folder: Path, waiting: Checker | None) -> Built:
        self._progress("packaging", result.target.variant)
        renamed = made.output.replace(namespace(self._project, result.target.backend), name)
        linked = folder / renamed
        shutil.copyfile(library.file(_LIBRARY), linked)
        staged = folder / "stage" / result.target.variant
        package.assemble(
            self._project,
            staged,
            backend=result.target.backend,
            namespace=name,
            ops_py=templates.TVM_FFI_OPS_PY if result.target.framework == "tvm-ffi" else templates.TORCH_OPS_PY,
            library=linked,
            capabilities=made.capabilities,
        )
        result.library = renamed
        torch = result.target.toolchain.torch
        result.abi = abi.check(
            linked,
            torch_include=torch.include_dirs[0] if torch else None,
            stable_abi=result.target.stable_abi,
            python=result.target.framework == "torch",
        )
        self._load(result, name, staged, linked, library, waiting)
        if result.target.mode == "release" and not result.abi.ok:
            result.ok = False
            result.diagnostics = diagnostics.ordered([verdicts.not_portable(result.abi), *result.diagnostics])
        return self._finish(result, staged)

    def _load(
        self, result: Built, name: str, staged: Path, linked: Path | None, library: Entry | None, waiting: Checker | None
    ) -> None:
        """Import the package in a fresh box, unless the same package was imported there before."""
        torch = result.target.toolchain.need_torch()
        known_as = key(["check", checker.version(), name, library.id if library else "", torch.version, result.target.variant])
        known = self._cache.find(known_as, self._project.path)
        if known:
            loaded = Loaded.model_validate_json(known.file(_CHECK).read_bytes())
        else:
            result.cached = False
            self._progress("checking", f"import {self._project.python_name}")
            with ThreadPoolExecutor(1) as pool:
                # Reading the symbols takes a while too.
                functions = pool.submit(registrations.signatures, linked) if linked else None
                loaded = self._asked(result.target, name, staged, linked, waiting)
            if loaded.ok:
                loaded.functions.update(functions.result() if functions else {})
                file = staged.parent / _CHECK
                file.write_text(loaded.model_dump_json(by_alias=True), encoding="utf-8")
                self._cache.put(known_as, {_CHECK: file}, (), self._project.path)
        result.log.append(loaded.log)
        result.skipped += [loaded.skipped] if loaded.skipped else []
        sources = Sources(self._project.path)
        nothing = namespaces.no_ops(loaded, self._project, sources) if linked else None
        result.ok = loaded.ok and nothing is None
        found = [nothing] if nothing else verdicts.of_import(loaded, self._project, result.target, staged, sources)
        result.diagnostics = diagnostics.ordered([*found, *result.diagnostics])

    def _asked(self, target: Target, name: str, staged: Path, linked: Path | None, waiting: Checker | None) -> Loaded:
        order = checker.order(staged, name, linked, target)
        order["libraries"][:0] = _runtime(target, staged.parent)
        if waiting:
            loaded = waiting.ask(order)
        else:
            with Checker(staged.parent, target, self._generated, self._warm) as fresh:
                loaded = fresh.ask(order)
        return imports.excused(loaded, self._project, target)

    def _finish(self, result: Built, staged: Path) -> Built:
        if result.ok:
            result.path = package.install(self._project, staged, result.target.variant)
        return result

    def _log(self, result: Built, compiled: Compiled) -> None:
        result.log.append(f"$ {compiled.unit.compiler.name} {compiled.unit.source}\n{compiled.log}")


def _runtime(target: Target, visible: Path) -> list[str]:
    """The runtime of another CUDA than torch was built for, put where the check can load it: torch's own is not in its way."""
    home, nvcc, torch = target.toolchain.cuda_home, target.toolchain.nvcc, target.toolchain.torch
    if target.backend != "cuda" or nvcc is None or home is None or torch is None:
        return []
    if torch.cuda and version_numbers(torch.cuda)[0] == nvcc.numbers[0]:
        return []
    name = f"libcudart.so.{nvcc.numbers[0]}"
    found = next((home / place / name for place in ("lib64", "lib") if (home / place / name).is_file()), None)
    return [str(shutil.copyfile(found, visible / name))] if found else []
