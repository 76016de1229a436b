"""Running the compilers: one boxed ninja for all units that the cache does not hold, then the link."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from kernelwright.tools import sandbox
from kernelwright.tools.compile_kernel import clang_steps, clang_toolkit, nvcc_steps
from kernelwright.tools.compile_kernel import plan as plans
from kernelwright.tools.compile_kernel.plan import Plan, Unit
from kernelwright.tools.project import Project
from kernelwright.tools.sandbox import Box, Limits
from kernelwright.tools.tool import Progress, ToolError
from kernelwright.tools.toolchain import Toolchain

# Large projects (flash attention) compile for many minutes; a compile that never ends must not hold the host for longer.
LIMITS = Limits(wall_s=3600.0, memory_bytes=16 << 30, processes=512, file_bytes=2 << 30, output_bytes=32 << 20)
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
    """What one run has to do: compile `missing`, take `held` objects from the cache, link all in the order of the plan."""

    project: Project
    plan: Plan
    missing: tuple[Unit, ...]
    held: Mapping[Unit, Path]
    namespace: str
    generated: Path
    folder: Path


@cache
def version() -> str:
    """Changes with how compilers are driven: objects of an older way are not taken for those of a newer one."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in _STEPS.values())).hexdigest()


def run(work: Work, progress: Progress, made: Callable[[Compiled], None]) -> Outcome:
    """Compile and link in a box that shows the project, the toolchain and nothing else of the host.

    `made` is told of each object as soon as it is there: the compile may be cut off at any moment.
    """
    toolchain = work.plan.target.toolchain
    work.folder.mkdir(parents=True, exist_ok=True)
    (work.folder / "build.ninja").write_text(_ninja_file(work, toolchain), encoding="utf-8")
    argv = [str(toolchain.need_ninja().path), "-f", str(work.folder / "build.ninja"), "-k", "0", "-j", str(_jobs())]
    box = Box(
        read_only=_readable(work, toolchain),
        writable=(work.folder,),
        cwd=work.project.path,
        env={"NINJA_STATUS": "[%f/%t] ", "LC_ALL": "C", "CUDA_CACHE_DISABLE": "1"},
        limits=LIMITS,
    )
    pending = dict(enumerate(work.missing))

    def look() -> None:
        for index in [index for index in pending if _places(work, index)[0].is_file()]:
            made(_compiled(work, index, pending.pop(index)))

    code = _follow(sandbox.command(argv, box), look, progress)
    compiled = tuple(_compiled(work, index, unit) for index, unit in enumerate(work.missing))
    library = work.folder / "linked" / _output(work)
    log = work.folder / "link.log"
    return Outcome(
        compiled=compiled,
        library=library if library.is_file() else None,
        link_log=_text(log),
        killed=sandbox.KILLED.get(code, ""),
    )


def _jobs() -> int:
    return len(os.sched_getaffinity(0))


def _readable(work: Work, toolchain: Toolchain) -> tuple[Path, ...]:
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


def _output(work: Work) -> str:
    return _named(work.plan.output, work)


def _named(text: str, work: Work) -> str:
    return text.replace(plans.namespace(work.project, work.plan.target.backend), work.namespace)


def _ninja_file(work: Work, toolchain: Toolchain) -> str:
    lines = [_RULES.format(work=_path(work.folder))]
    objects: list[Path] = []
    index = {unit: number for number, unit in enumerate(work.missing)}
    for number, unit in enumerate(work.plan.units):
        if unit in index:
            built, depfile, keep, log = _places(work, index[unit])
            keep.mkdir(parents=True, exist_ok=True)
            source = work.generated / unit.source if unit.generated else Path(unit.source)
            cuda = unit.source.endswith(plans.CUDA_SUFFIXES)
            partial = built.with_name("partial.o")
            argv = [str(unit.compiler), *unit.arguments, "-c", str(source), "-o", str(partial), "-MD", "-MF", str(depfile)]
            # The PTX tells the launch bounds, which ptxas does not print.
            if cuda:
                argv = [sys.executable, "-I", "-S", str(_STEPS[unit.compiler.name]), *argv, "--keep", f"--keep-dir={keep}"]
            # A compiler that is killed leaves half an object: what has the object's name is whole.
            whole = shlex.join(["mv", str(partial), str(built)])
            lines.append(_edge(built, [], f"{shlex.join(argv)} > {shlex.quote(str(log))} 2>&1 && {whole}", unit.source))
        else:
            built = work.held[unit]
        real = work.folder / "renamed" / f"{number}.o"
        rename = f"LC_ALL=C sed {shlex.quote(_renaming(work))} {shlex.quote(str(built))} > {shlex.quote(str(real))}"
        lines.append(_edge(real, [built], rename, f"name {unit.source}"))
        objects.append(real)
    (work.folder / "renamed").mkdir(exist_ok=True)
    lines += _link_edges(work, toolchain, objects)
    return "\n".join(lines) + "\n"


def _renaming(work: Work) -> str:
    return f"s/{plans.namespace(work.project, work.plan.target.backend)}/{work.namespace}/g"


def _link_edges(work: Work, toolchain: Toolchain, objects: Sequence[Path]) -> list[str]:
    gxx = str(toolchain.need_gxx().path)
    linked, stubs = work.folder / "linked", work.folder / "stubs"
    linked.mkdir(exist_ok=True)
    stubs.mkdir(exist_ok=True)
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
    output, log = linked / _output(work), work.folder / "link.log"
    script = "tvm_ffi.map" if work.plan.target.framework == "tvm-ffi" else "module.map"
    argv = [gxx, *work.plan.link[:3], f"-Wl,--version-script={work.generated / script}", f"-Wl,-soname,{output.name}"]
    argv += [*map(str, objects), *map(str, libraries), *work.plan.link[3:], "-o", str(output)]
    edges.append(_edge(output, [*objects, *libraries], f"{shlex.join(argv)} > {shlex.quote(str(log))} 2>&1", "link"))
    return edges


def _edge(output: Path, inputs: Sequence[Path], command: str, what: str) -> str:
    joined = " ".join(_path(path) for path in inputs)
    return f"build {_path(output)}: run {joined}\n  cmd = {command.replace('$', '$$')}\n  what = {what.replace('$', '$$')}"


def _path(path: Path) -> str:
    return re.sub(r"([$ :])", r"$\1", str(path))


def _places(work: Work, index: int) -> tuple[Path, Path, Path, Path]:
    base = work.folder / "units" / str(index)
    return base / OBJECT, base / "deps.d", base / "keep", base / LOG


def _compiled(work: Work, index: int, unit: Unit) -> Compiled:
    built, depfile, keep, log = _places(work, index)
    return Compiled(unit, built, depfile, keep, _text(log))


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
