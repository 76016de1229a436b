"""Runs side by side what nvcc would run: ``nvcc_steps.py nvcc ARGUMENTS``. Standard library alone, started by path, in the box.

For one architecture nvcc runs its seven programs one after the other, on one core. Three things are made independent of what
nvcc makes them wait for: the device's front end needs a module id that cudafe++ would draw (it is given one), the host
compiler needs the machine code that is embedded (only its assembler is made to read it), and architectures do not wait for
each other. The programs, their arguments and what they say stay nvcc's own, as ``nvcc --dryrun`` lists them. Whatever is not
understood there is left to nvcc itself.

A permission for extended lambdas is tried without first: it makes cuda_runtime.h include <functional>, a sixth of all that the
front ends and the host compiler read. The object is the same wherever no lambda needs it and no header asks for it; whatever
fails without is compiled again with it, and only that is told.

Every compile waits for this file's imports, so they are few: no dataclasses, no hashlib, no concurrent.futures.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

_OUTPUT = re.compile(r'(?:-o|--gen_c_file_name|--gen_device_file_name|--create=|--embedded-fatbin=)\s*"([^"]+)"')
_STUB = re.compile(r'--stub_file_name\s+"([^"]+)"')
_MODULE_ID = re.compile(r'--gen_module_id_file\s+--module_id_file_name\s+"([^"]+)"')
_QUOTED = re.compile(r'"([^"]+)"')
_LINKED_LATER = re.compile(r"-{1,2}(rdc|dc|dlto|lto|dlink|device-c|device-link|relocatable-device-code|cubin|ptx|fatbin)\b")
_LAMBDAS = re.compile(r"-{1,2}(expt-)?extended-lambda(=true)?$")
_ASKS_FOR_LAMBDAS = b"EXTENDED_LAMBDA"
# A lambda's brackets, unlike an attribute's, and what __device__ and its like have become.
_DEVICE_LAMBDA = re.compile(rb"\][ \n]*(?:\([^;{}]*\)\s*)?(?:mutable\s*)?__attribute__\(\((?:device|host|global)")
# Without ^, which is ten times as slow.
_MARKER = re.compile(rb'\n# \d+ "((?:[^"\\\n]|\\.)+)"')
# Of glibc: pages of 2 MB where the system leaves that to programs. Of its time cudafe++ spends a fifth on page faults.
_HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
_PROGRAMS = {"cudafe++", "cicc", "ptxas", "fatbinary"}
# What `fatbinary --embedded-fatbin` writes, but for the bytes: the assembler reads those from the file.
_EMBEDDED = """\
#ifndef __SKIP_INTERNAL_FATBINARY_HEADERS
#include "fatbinary_section.h"
#endif
asm(".section .nv_fatbin, \\"a\\"\\n.align 8\\nfatbinData:\\n.incbin \\"{fatbin}\\"\\n.align 8\\n.text\\n");
extern "C" {{
extern const unsigned long long fatbinData[];
static const __fatBinC_Wrapper_t __fatDeviceText __attribute__((aligned(8))) __attribute__((section(".nvFatBinSegment"))) = {{
    0x466243b1, 1, fatbinData, 0}};
}}
"""


class NotUnderstoodError(Exception):
    """The list of steps has a shape that this file does not know."""


class Step:
    """One program: `command` for the shell, the files it makes and needs, and once it has run what it said and how it ended."""

    def __init__(self, command: str, makes: set[str], needs: set[str] | None = None) -> None:
        self.command = command
        self.makes = makes
        self.needs = needs or set()
        self.done = threading.Event()
        self.said = b""
        self.code = 0

    @property
    def program(self) -> str:
        """The word that the command starts with."""
        return self.command.split(" ", 1)[0]


class Outcome:
    """What the steps said, in nvcc's order; the status that nvcc would end with; the step that failed, if one did."""

    def __init__(self, said: bytes, code: int = 0, failed: Step | None = None) -> None:
        self.said = said
        self.code = code
        self.failed = failed


def listing(text: str) -> tuple[dict[str, str], list[str]]:
    """Variables and commands out of the lines that ``nvcc --dryrun`` writes."""
    variables: dict[str, str] = {}
    commands: list[str] = []
    for line in text.splitlines():
        if not line.startswith("#$ "):
            raise NotUnderstoodError(line)
        body = line[3:]
        if assigned := re.match(r"([A-Za-z_]+)=(.*)$", body):
            variables[assigned[1]] = assigned[2]
        elif not body.startswith("-- Filter Dependencies --"):
            commands.append(body)
    return variables, commands


def steps(commands: list[str], compiler: str, module_id: str) -> list[Step]:
    """The commands as steps that know what they wait for; writes the files that take the place of a dependency."""
    found: list[Step] = []
    for command in commands:
        program = Path(shlex.split(command)[0]).name
        if program not in _PROGRAMS and program != Path(compiler).name:
            raise NotUnderstoodError(command)
        if drawn := _MODULE_ID.search(command):
            Path(drawn[1]).write_text(module_id)
            command = command.replace("--gen_module_id_file", "")
        makes = set(_OUTPUT.findall(command))
        if program == "cicc":
            makes |= set(_STUB.findall(command))
        found.append(Step(command, makes))
    _split_host(found)
    made = {name for step in found for name in step.makes}
    for step in found:
        step.needs |= (set(_mentioned(step.command)) & made) - step.makes
    return found


def _mentioned(command: str) -> list[str]:
    """Paths in quotes, those inside ``--image3=…,file=`` too."""
    return [part for quoted in _QUOTED.findall(command) for part in (quoted, quoted.rpartition("file=")[2])]


def _split_host(found: list[Step]) -> None:
    """Cut the last step, the host compiler's, in two: compiling, for which the machine code need not exist, and assembling."""
    *_, front, host = [None, *(s for s in found if "cudafe++" in s.program), found[-1]]
    embed = next((s for s in found if "--embedded-fatbin=" in s.command), None)
    target = re.search(r'-o "([^"]+)"\s*$', host.command)
    stub = _STUB.search(front.command) if front else None
    if embed is None or front is None or target is None or stub is None or " -c " not in host.command:
        raise NotUnderstoodError(host.command)
    place = re.search(r'--gen_c_file_name "([^"]+)"', front.command)
    fatbin, embedded = (re.search(rf'--{word}="([^"]+)"', embed.command) for word in ("create", "embedded-fatbin"))
    if place is None or fatbin is None or embedded is None:
        raise NotUnderstoodError(embed.command)
    embed.command = embed.command.replace(embedded[0], "")
    embed.makes.discard(embedded[1])
    Path(embedded[1]).write_text(_EMBEDDED.format(fatbin=fatbin[1]))
    assembly = f"{target[1]}.s"
    host.command = host.command.replace(" -c ", " -S ", 1).replace(target[0], f'-o "{assembly}"')
    host.makes = {assembly}
    host.needs.add(str(Path(place[1]).parent / stub[1]))
    found.append(Step(f'{host.program} -c "{assembly}" -o "{target[1]}"', {target[1]}, {fatbin[1]}))


def carry_out(
    found: list[Step], environment: dict[str, str], workers: int, refuse: Callable[[Path], bool] | None = None
) -> Outcome | None:
    """Run the steps, `workers` at a time, each when what it needs is there.

    Like nvcc it ends at the first step, in nvcc's order, that fails. None if `refuse` turned a preprocessed file down.
    """
    makers = {name: step for step in found for name in step.makes}
    ended = threading.Event()
    running: dict[int, subprocess.Popen[bytes]] = {}
    slots = threading.Semaphore(workers)

    def run(number: int) -> None:
        step = found[number]
        for name in step.needs:
            maker = makers[name]
            maker.done.wait()
            step.code = step.code or (-1 if maker.code else 0)
        with slots:
            if not step.code and not ended.is_set():
                process = running[number] = subprocess.Popen(
                    ["/bin/sh", "-c", f"exec {step.command}"],
                    env=_HUGE_PAGES | environment if "cudafe++" in step.program else environment,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                )
                step.said = process.communicate()[0]
                step.code = process.returncode
            elif not step.code:
                step.code = -1
        step.done.set()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(found))]
    for thread in threads:
        thread.start()
    outcome = _followed(found, refuse)
    ended.set()
    for process in list(running.values()):
        if (outcome is None or outcome.code) and process.poll() is None:
            process.kill()
    for thread in threads:
        thread.join()
    return outcome


def _followed(found: list[Step], refuse: Callable[[Path], bool] | None) -> Outcome | None:
    said = b""
    for step in found:
        step.done.wait()
        said += step.said
        if step.code:
            return Outcome(said, step.code if step.code > 0 else 1, step)
        if refuse and any(refuse(path) for path in _preprocessed([step])):
            return None
    return Outcome(said)


def _preprocessed(found: list[Step]) -> list[Path]:
    return [Path(name) for step in found for name in step.makes if name.endswith(".ii")]


def uses_lambdas(preprocessed: Path, toolkit: Path) -> bool:
    """Whether the permission for extended lambdas may make a difference, in what was preprocessed without it."""
    text = preprocessed.read_bytes()
    if any(text[match.start() - 1] != ord("]") for match in _DEVICE_LAMBDA.finditer(text)):
        return True
    own = {os.path.realpath(place / "cuda_runtime.h") for place in (toolkit / "include", *toolkit.glob("targets/*/include"))}
    return any(_asks(name) and os.path.realpath(name) not in own for name in _included(text))


def _asks(name: str) -> bool:
    try:
        return _ASKS_FOR_LAMBDAS in Path(name).read_bytes()
    except OSError:
        # A #line may name what is not there.
        return True


def _included(text: bytes) -> list[str]:
    """The files named by the line markers of a preprocessed text, the source too."""
    names = dict.fromkeys(_MARKER.findall(b"\n" + text))
    return [name.decode(errors="surrogateescape") for name in names if not name.startswith(b"<")]


def write_dependencies(preprocessed: list[Path], object_file: str, depfile: Path) -> None:
    """The rule that ``-MD`` would write, out of the line markers of what was preprocessed."""
    names = dict.fromkeys(name for path in preprocessed for name in _included(path.read_bytes()))
    real = [re.sub(r"([ #\\])", r"\\\1", name).replace("$", "$$") for name in names]
    depfile.write_text(f"{object_file} : " + " \\\n  ".join(real) + "\n", errors="surrogateescape")


def understood(arguments: list[str]) -> tuple[list[Step], dict[str, str]]:
    """The steps that `arguments`, a whole nvcc command, stand for, and the environment of them; raises NotUnderstoodError."""
    if any(_LINKED_LATER.match(word) for word in arguments):
        raise NotUnderstoodError("device code that is linked later is embedded in another way")
    alone = [word for word in arguments if not re.match(r"--threads\b", word)]
    dry = subprocess.run([alone[0], "--dryrun", *alone[1:]], capture_output=True, text=True)
    if dry.returncode:
        raise NotUnderstoodError(dry.stderr)
    variables, commands = listing(dry.stderr)
    compiler = next((word.partition("=")[2] for word in arguments if word.startswith("-ccbin=")), "")
    source = _after("-c", arguments)
    digest = f"{zlib.crc32(source.encode()):08x}"
    name = re.sub(r"\W", "_", Path(source).name)
    found = steps(commands, compiler, f"_{digest}_{len(name)}_{name}_{digest}")
    return found, os.environ | variables


def _after(option: str, arguments: list[str]) -> str:
    try:
        return arguments[arguments.index(option) + 1]
    except (ValueError, IndexError):
        raise NotUnderstoodError(f"no {option}") from None


def compiled(arguments: list[str]) -> tuple[list[Step], Outcome]:
    """Carry out nvcc's `arguments`: the steps that made the object, and what came of them; raises NotUnderstoodError."""
    workers = len(os.sched_getaffinity(0))
    without = [word for word in arguments if not _LAMBDAS.match(word)]
    if without != arguments:
        found, environment = understood(without)
        toolkit = Path(environment.get("TOP", ""))
        outcome = carry_out(found, environment, workers, lambda path: uses_lambdas(path, toolkit))
        if outcome and (outcome.failed is None or "ptxas" in outcome.failed.program):
            return found, outcome
    found, environment = understood(arguments)
    outcome = carry_out(found, environment, workers)
    assert outcome is not None
    return found, outcome


def main(arguments: list[str]) -> int:
    """Compile as `arguments`, a whole nvcc command with ``-c``, ``-o``, ``-MF`` and ``--keep-dir``, says."""
    try:
        target, depfile = _after("-o", arguments), Path(_after("-MF", arguments))
        found, outcome = compiled(arguments)
    except NotUnderstoodError:
        os.execv(arguments[0], arguments)
    sys.stdout.buffer.write(outcome.said)
    sys.stdout.flush()
    if outcome.code == 0:
        write_dependencies(_preprocessed(found), target, depfile)
    return outcome.code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
