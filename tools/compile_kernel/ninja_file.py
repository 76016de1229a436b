"""The file that ninja reads: edges that compile each unit, give its object the real namespace, and link each variant."""

from __future__ import annotations

import hashlib
import re
import shlex
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from kernelwright.tools.compile_kernel import clang_steps, clang_toolkit, nvcc_steps
from kernelwright.tools.compile_kernel.parts import CUDA_SUFFIXES
from kernelwright.tools.compile_kernel.plan import Unit
from kernelwright.tools.compile_kernel.target import namespace
from kernelwright.tools.compile_kernel.work import LOG, Run, Work

# What carries out nvcc's arguments, by the name of the compiler.
STEPS = {"nvcc": Path(nvcc_steps.__file__), clang_toolkit.CLANG: Path(clang_steps.__file__)}
_RULES = """\
builddir = {work}
rule run
  command = $cmd
  description = $what
"""


@cache
def version() -> str:
    """Changes with how compilers are driven: objects of an older way are not taken for those of a newer one."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in STEPS.values())).hexdigest()


def text(run: Run) -> str:
    """The whole file for all works of `run`; makes the folders that its edges write into."""
    lines = [_RULES.format(work=_path(run.folder))]
    lines += [_unit_edge(run, unit) for unit in run.units]
    for work in run.works:
        lines += _variant_edges(run, work)
    return "\n".join(lines) + "\n"


def _unit_edge(run: Run, unit: Unit) -> str:
    made = run.compiled(unit)
    made.keep.mkdir(parents=True, exist_ok=True)
    # A compiler that is killed leaves half an object: what has the object's name is whole.
    partial = made.object.with_name("partial.o")
    source = run.works[0].generated / unit.source if unit.generated else Path(unit.source)
    argv = [str(unit.compiler), *unit.arguments, "-c", str(source), "-o", str(partial), "-MD", "-MF", str(made.depfile)]
    # The PTX tells the launch bounds, which ptxas does not print.
    if unit.source.endswith(CUDA_SUFFIXES):
        argv = [sys.executable, "-I", "-S", str(STEPS[unit.compiler.name]), *argv, "--keep", f"--keep-dir={made.keep}"]
    log = shlex.quote(str(made.object.with_name(LOG)))
    whole = shlex.join(["mv", str(partial), str(made.object)])
    return _edge(made.object, [], f"{shlex.join(argv)} > {log} 2>&1 && {whole}", unit.source)


def _variant_edges(run: Run, work: Work) -> list[str]:
    """Objects get the real namespace, then they are linked."""
    renamed = run.variant(work) / "renamed"
    renamed.mkdir(parents=True, exist_ok=True)
    edges: list[str] = []
    objects: list[Path] = []
    placeholder = namespace(work.project, work.plan.target.backend)
    for number, unit in enumerate(work.plan.units):
        built = work.held[unit] if unit in work.held else run.compiled(unit).object
        real = renamed / f"{number}.o"
        rename = ["sed", f"s/{placeholder}/{work.namespace}/g", str(built)]
        command = f"LC_ALL=C {shlex.join(rename)} > {shlex.quote(str(real))}"
        edges.append(_edge(real, [built], command, f"name {unit.source}"))
        objects.append(real)
    return [*edges, *_link_edges(run, work, objects)]


def _link_edges(run: Run, work: Work, objects: Sequence[Path]) -> list[str]:
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
