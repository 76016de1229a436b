"""Running the compilers: one boxed ninja for all units of all variants that the cache does not hold, and their links."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from kernelwright.tools import sandbox
from kernelwright.tools.compile_kernel import clang_steps, clang_toolkit, nvcc_steps
from kernelwright.tools.compile_kernel import plan as plans
from kernelwright.tools.compile_kernel.plan import Plan, Unit
from kernelwright.tools.project import Project
from kernelwright.tools.sandbox import Box, Limits
from kernelwright.tools.tool import Progress, ToolError


def limits(jobs: int, host_bytes: int) -> Limits:
    """What `jobs` compilers side by side may use up, on a host with `host_bytes` of memory.

    Memory and processes grow with the host: what is room enough on eight cores would end an honest build on a hundred. Large
    projects (flash attention) compile for many minutes; one that never ends must not hold the host for longer than an hour.
    """
    memory = max(16 << 30, min(jobs * (4 << 30), host_bytes // 2))
    processes = max(512, 16 * jobs)
    return Limits(wall_s=3600.0, memory_bytes=memory, processes=processes, file_bytes=2 << 30, output_bytes=32 << 20)


def _jobs() -> int:
    # One more than there are cores, as ninja itself has it: the last compile of a variant would leave one idle.
    return len(os.sched_getaffinity(0)) + 1


LIMITS = limits(_jobs(), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
LOG_BYTES = 4 << 20
OBJECT, LOG, BOUNDS = "object.o", "log.txt", "bounds.json"
# What carries out nvcc's arguments, by the name of the compiler.
_STEPS = {"nvcc": Path(nvcc_steps.__file__), clang_toolkit.CLANG: Path(clang_steps.__file__)}
_RULES = """\
builddir = {work}
rule run
  command = $cmd
  description = $what
"""


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


class _Run:
    """Several works and the folder that they are carried out in; a unit that two of them miss is compiled once."""

    def __init__(self, works: Sequence[Work], folder: Path) -> None:
        self.works = works
        self.folder = folder
        missing = [unit for work in works for unit in work.missing]
        # What takes longest starts first: nvcc, then what includes torch, last what nobody wrote by hand.
        ordered = sorted(
            dict.fromkeys(missing), key=lambda unit: (not unit.source.endswith(plans.CUDA_SUFFIXES), unit.generated)
        )
        self.units = {unit: folder / "units" / str(number) for number, unit in enumerate(ordered)}

    def compiled(self, unit: Unit) -> Compiled:
        """What there is of `unit` by now."""
        place = self.units[unit]
        return Compiled(unit, place / OBJECT, place / "deps.d", place / "keep", _text(place / LOG))

    def variant(self, work: Work) -> Path:
        """The folder of what is linked for `work`."""
        return self.folder / work.plan.target.variant

    def library(self, work: Work) -> Path:
        """Where its library will be."""
        return self.variant(work) / "linked" / _named(work.plan.output, work)

    def outcome(self, work: Work, killed: str = "") -> Outcome:
        """What came of `work`."""
        library = self.library(work)
        return Outcome(
            compiled=tuple(self.compiled(unit) for unit in work.missing),
            library=library if library.is_file() else None,
            link_log=_text(self.variant(work) / "link.log"),
            killed=killed,
        )


@cache
def version() -> str:
    """Changes with how compilers are driven: objects of an older way are not taken for those of a newer one."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in _STEPS.values())).hexdigest()


def run(works: Sequence[Work], folder: Path, progress: Progress, done: Callable[[Work, Outcome], None]) -> None:
    """Compile and link in a box that shows the project, the toolchains and nothing else of the host.

    The works are of one project. `done` is told of each one's outcome, once and as soon as its library is linked.
    """
    run = _Run(works, folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "build.ninja").write_text(_ninja_file(run), encoding="utf-8")
    ninja = works[0].plan.target.toolchain.need_ninja().path
    argv = [str(ninja), "-f", str(folder / "build.ninja"), "-k", "0", "-j", str(_jobs())]
    box = Box(
        read_only=tuple(dict.fromkeys(root for work in works for root in _readable(work))),
        writable=(folder,),
        cwd=works[0].project.path,
        env={"NINJA_STATUS": "[%f/%t] ", "LC_ALL": "C", "CUDA_CACHE_DISABLE": "1"},
        limits=replace(LIMITS, wall_s=LIMITS.wall_s * len(works)),
    )
    units = list(run.units)
    unlinked = {work.plan.target.variant: work for work in works}

    def look() -> None:
        for unit in [unit for unit in units if (run.units[unit] / OBJECT).is_file()]:
            units.remove(unit)
            for work in works:
                if unit in work.missing:
                    work.made(run.compiled(unit))
        for name in [name for name, work in unlinked.items() if run.library(work).is_file()]:
            work = unlinked.pop(name)
            done(work, run.outcome(work))

    code = _follow(sandbox.command(argv, box), look, progress)
    for work in unlinked.values():
        done(work, run.outcome(work, sandbox.KILLED.get(code, "")))


def _readable(work: Work) -> tuple[Path, ...]:
    toolchain = work.plan.target.toolchain
    roots = [
        work.project.path,
        work.generated,
        *_STEPS.values(),
        *work.plan.include_roots,
        *(path.parent for path in work.held.values()),
    ]
    roots += [toolchain.cuda_home] if toolchain.cuda_home else []
    roots += [toolchain.torch.lib] if toolchain.torch else []
    roots += [Path(flag[2:]) for flag in work.plan.link if flag.startswith("-L")]
    return tuple(dict.fromkeys(root.resolve() for root in roots))


def _named(text: str, work: Work) -> str:
    return text.replace(plans.namespace(work.project, work.plan.target.backend), work.namespace)


def _ninja_file(run: _Run) -> str:
    lines = [_RULES.format(work=_path(run.folder))]
    lines += [_unit_edge(run, unit) for unit in run.units]
    for work in run.works:
        lines += _variant_edges(run, work)
    return "\n".join(lines) + "\n"


def _unit_edge(run: _Run, unit: Unit) -> str:
    made = run.compiled(unit)
    made.keep.mkdir(parents=True, exist_ok=True)
    # A compiler that is killed leaves half an object: what has the object's name is whole.
    partial = made.object.with_name("partial.o")
    source = run.works[0].generated / unit.source if unit.generated else Path(unit.source)
    argv = [str(unit.compiler), *unit.arguments, "-c", str(source), "-o", str(partial), "-MD", "-MF", str(made.depfile)]
    # The PTX tells the launch bounds, which ptxas does not print.
    if unit.source.endswith(plans.CUDA_SUFFIXES):
        argv = [sys.executable, "-I", "-S", str(_STEPS[unit.compiler.name]), *argv, "--keep", f"--keep-dir={made.keep}"]
    log = shlex.quote(str(made.object.with_name(LOG)))
    whole = shlex.join(["mv", str(partial), str(made.object)])
    return _edge(made.object, [], f"{shlex.join(argv)} > {log} 2>&1 && {whole}", unit.source)


def _variant_edges(run: _Run, work: Work) -> list[str]:
    """Objects get the real namespace, then they are linked."""
    renamed = run.variant(work) / "renamed"
    renamed.mkdir(parents=True, exist_ok=True)
    edges: list[str] = []
    objects: list[Path] = []
    placeholder = plans.namespace(work.project, work.plan.target.backend)
    for number, unit in enumerate(work.plan.units):
        built = work.held[unit] if unit in work.held else run.compiled(unit).object
        real = renamed / f"{number}.o"
        rename = ["sed", f"s/{placeholder}/{work.namespace}/g", str(built)]
        command = f"LC_ALL=C {shlex.join(rename)} > {shlex.quote(str(real))}"
        edges.append(_edge(real, [built], command, f"name {unit.source}"))
        objects.append(real)
    return [*edges, *_link_edges(run, work, objects)]


def _link_edges(run: _Run, work: Work, objects: Sequence[Path]) -> list[str]:
    toolchain = work.plan.target.toolchain
    gxx = str(toolchain.need_gxx().path)
    output, stubs = run.library(work), run.variant(work) / "stubs"
    for folder in (output.parent, stubs):
        folder.mkdir(exist_ok=True)
    edges: list[str] = []
    libraries: list[Path] = []
    for soname in work.plan.stubs:
        real = toolchain.torch.lib / soname if toolchain.torch else None
        if real and real.is_file() and not work.plan.target.stable_abi:
            libraries.append(real)
            continue
        stub = stubs / soname
        argv = [gxx, "-shared", "-nostdlib", f"-Wl,-soname,{soname}", "-x", "c++", "/dev/null", "-o", str(stub)]
        edges.append(_edge(stub, [], shlex.join(argv), f"stub {soname}"))
        libraries.append(stub)
    log, partial = run.variant(work) / "link.log", output.with_name("partial.so")
    script = "tvm_ffi.map" if work.plan.target.framework == "tvm-ffi" else "module.map"
    argv = [gxx, *work.plan.link[:3], f"-Wl,--version-script={work.generated / script}", f"-Wl,-soname,{output.name}"]
    argv += [*map(str, objects), *map(str, libraries), *work.plan.link[3:], "-o", str(partial)]
    whole = shlex.join(["mv", str(partial), str(output)])
    command = f"{shlex.join(argv)} > {shlex.quote(str(log))} 2>&1 && {whole}"
    return [*edges, _edge(output, [*objects, *libraries], command, "link")]


def _edge(output: Path, inputs: Sequence[Path], command: str, what: str) -> str:
    joined = " ".join(_path(path) for path in inputs)
    return f"build {_path(output)}: run {joined}\n  cmd = {command.replace('$', '$$')}\n  what = {what.replace('$', '$$')}"


def _path(path: Path) -> str:
    return re.sub(r"([$ :])", r"$\1", str(path))


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(LOG_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def _follow(command: Sequence[str], look: Callable[[], None], progress: Progress) -> int:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    said: list[bytes] = []
    try:
        for line in process.stdout:
            step = re.match(rb"\[(\d+)/(\d+)\] (.*)", line)
            if step:
                look()
                progress(
                    "compiling",
                    f"{step[1].decode()}/{step[2].decode()} {step[3].decode('utf-8', 'replace')}",
                    int(step[1]) / int(step[2]),
                )
            elif len(said) < 50:
                said.append(line)
        code = process.wait()
        look()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    if code and code not in sandbox.KILLED and not any(b"FAILED" in line or b"ninja: build stopped" in line for line in said):
        words = b"".join(said).decode("utf-8", "replace").strip()
        raise ToolError(
            "sandbox_unavailable", f"The compilers could not be started: {words[-600:]}", "Run `kernelwright doctor`."
        )
    return code
