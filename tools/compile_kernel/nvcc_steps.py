"""Runs side by side what nvcc would run: ``nvcc_steps.py nvcc ARGUMENTS``. Standard library alone, started by path, in the box.

For one architecture nvcc runs its seven programs one after the other, on one core. Three things are made independent of what
nvcc makes them wait for: the device's front end needs a module id that cudafe++ would draw (it is given one), the host
compiler needs the machine code that is embedded (only its assembler is made to read it), and architectures do not wait for
each other. The programs, their arguments and what they say stay nvcc's own, as ``nvcc --dryrun`` lists them. Whatever is not
understood there is left to nvcc itself.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

_OUTPUT = re.compile(r'(?:-o|--gen_c_file_name|--gen_device_file_name|--create=|--embedded-fatbin=)\s*"([^"]+)"')
_STUB = re.compile(r'--stub_file_name\s+"([^"]+)"')
_MODULE_ID = re.compile(r'--gen_module_id_file\s+--module_id_file_name\s+"([^"]+)"')
_QUOTED = re.compile(r'"([^"]+)"')
_LINKED_LATER = re.compile(r"-{1,2}(rdc|dc|dlto|lto|dlink|device-c|device-link|relocatable-device-code|cubin|ptx|fatbin)\b")
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


@dataclass
class Step:
    """One program: `command` for the shell, the files it makes, and once it has run what it said and how it ended."""

    command: str
    makes: set[str]
    needs: set[str] = field(default_factory=set)
    done: threading.Event = field(default_factory=threading.Event)
    said: bytes = b""
    code: int = 0


@dataclass(frozen=True)
class Listing:
    """What ``nvcc --dryrun`` listed."""

    variables: dict[str, str]
    commands: list[str]


def listing(text: str) -> Listing:
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
    return Listing(variables, commands)


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
    *_, front, host = [None, *(s for s in found if "cudafe++" in s.command.split()[0]), found[-1]]
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
    compiler = host.command.split(" ", 1)[0]
    host.command = host.command.replace(" -c ", " -S ", 1).replace(target[0], f'-o "{assembly}"')
    host.makes = {assembly}
    host.needs.add(str(Path(place[1]).parent / stub[1]))
    found.append(Step(f'{compiler} -c "{assembly}" -o "{target[1]}"', {target[1]}, {fatbin[1]}))


def carry_out(found: list[Step], environment: dict[str, str], workers: int) -> int:
    """Run the steps, `workers` at a time, each when what it needs is there; print what they say in nvcc's order.

    Like nvcc it ends at the first step, in that order, that fails, with that step's status.
    """
    makers = {name: step for step in found for name in step.makes}
    failed = threading.Event()
    running: dict[int, subprocess.Popen[bytes]] = {}
    slots = threading.Semaphore(workers)

    def run(number: int) -> None:
        step = found[number]
        for name in step.needs:
            maker = makers[name]
            maker.done.wait()
            step.code = step.code or (-1 if maker.code else 0)
        with slots:
            if not step.code and not failed.is_set():
                process = running[number] = subprocess.Popen(
                    ["/bin/sh", "-c", f"exec {step.command}"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
                )
                step.said = process.communicate()[0]
                step.code = process.returncode
            elif not step.code:
                step.code = -1
        step.done.set()

    with ThreadPoolExecutor(len(found)) as pool:
        for number in range(len(found)):
            pool.submit(run, number)
        code = 0
        for step in found:
            step.done.wait()
            sys.stdout.buffer.write(step.said)
            if step.code:
                code = step.code if step.code > 0 else 1
                break
        failed.set()
        for process in running.values():
            if code and process.poll() is None:
                process.kill()
    sys.stdout.flush()
    return code


def write_dependencies(preprocessed: list[Path], object_file: str, depfile: Path) -> None:
    """The rule that ``-MD`` would write, out of the line markers of what was preprocessed."""
    names: dict[str, None] = {}
    for path in preprocessed:
        for marker in re.finditer(r'^# \d+ "((?:[^"\\]|\\.)+)"', path.read_text(errors="replace"), re.MULTILINE):
            names[marker[1]] = None
    real = [re.sub(r"([ #\\])", r"\\\1", name).replace("$", "$$") for name in names if not name.startswith("<")]
    depfile.write_text(f"{object_file} : " + " \\\n  ".join(real) + "\n")


def main(arguments: list[str]) -> int:
    """Compile as `arguments`, a whole nvcc command with ``-c``, ``-o``, ``-MF`` and ``--keep-dir``, says."""
    try:
        if any(_LINKED_LATER.match(word) for word in arguments):
            raise NotUnderstoodError("device code that is linked later is embedded in another way")
        alone = [word for word in arguments if not re.match(r"--threads\b", word)]
        dry = subprocess.run([alone[0], "--dryrun", *alone[1:]], capture_output=True, text=True, check=True)
        listed = listing(dry.stderr)
        compiler = next(word.partition("=")[2] for word in arguments if word.startswith("-ccbin="))
        source, target = arguments[arguments.index("-c") + 1], arguments[arguments.index("-o") + 1]
        digest = hashlib.sha256(source.encode()).hexdigest()
        name = re.sub(r"\W", "_", Path(source).name)
        found = steps(listed.commands, compiler, f"_{digest[:8]}_{len(name)}_{name}_{digest[8:16]}")
    except (NotUnderstoodError, StopIteration, ValueError, IndexError, subprocess.CalledProcessError):
        os.execv(arguments[0], arguments)
    code = carry_out(found, os.environ | listed.variables, len(os.sched_getaffinity(0)))
    if code == 0:
        depfile = Path(arguments[arguments.index("-MF") + 1])
        preprocessed = [Path(name) for step in found for name in step.makes if name.endswith(".ii")]
        write_dependencies(preprocessed, target, depfile)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
