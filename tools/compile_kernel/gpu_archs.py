"""For which GPU architectures CUDA sources are compiled: what was asked, what the sources declare, what this nvcc can."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from kernelwright.tools import archs as known_archs
from kernelwright.tools import gpu
from kernelwright.tools.tool import ToolError
from kernelwright.tools.toolchain import version_numbers

# The first CUDA that compiles for a compute capability and its suffix, and the last that does for those since removed: NVIDIA's
# release notes of each toolkit.
_SINCE = {
    (6, 0): "5.0",
    (6, 5): "5.2",
    (7, 0): "5.3",
    (8, 0): "6.0 6.1 6.2",
    (9, 0): "7.0",
    (9, 2): "7.2",
    (10, 0): "7.5",
    (11, 0): "8.0",
    (11, 1): "8.6",
    (11, 4): "8.7",
    (11, 8): "8.9 9.0",
    (12, 0): "9.0a",
    (12, 8): "10.0 10.0a 10.1 10.1a 12.0 12.0a",
    (12, 9): "10.0f 10.1f 10.3 10.3a 10.3f 12.0f 12.1 12.1a 12.1f",
    (13, 0): "11.0 11.0a 11.0f",
}
_UNTIL = {(12, 9): "5.0 5.2 5.3 6.0 6.1 6.2 7.0 7.2 10.1 10.1a 10.1f"}
_FIRST_CUDA = {name: cuda for cuda, names in _SINCE.items() for name in names.split()}
_LAST_CUDA = {name: cuda for cuda, names in _UNTIL.items() for name in names.split()}
# What a dev build is for where there is no GPU to ask: one architecture of each kind of memory pipeline in wide use.
_DEV_DEFAULT = ("8.0", "9.0a")
# What a release holds unless the sources declare other capabilities; the last one also as PTX, for GPUs yet to come.
_RELEASE_DEFAULT = ("7.0", "7.5", "8.0", "8.6", "8.9", "9.0", "10.0", "12.0+PTX")


@dataclass(frozen=True, order=True)
class Capability:
    """A compute capability as build.toml spells it: `9.0`, `9.0a` (this one exactly), `10.0f` (its family), `12.0+PTX`."""

    major: int
    minor: int
    suffix: str = ""
    ptx: bool = False

    @classmethod
    def parse(cls, text: str) -> Capability:
        """From `9.0a`, `12.0+PTX`; raises ToolError for anything else."""
        found = re.fullmatch(r"(\d+)\.(\d+)([af]?)(\+PTX)?", text.strip())
        if not found:
            digits = re.fullmatch(r"(?:sm_|compute_)?(\d+)(\d)([af]?)", text.strip())
            meant = f"'{digits[1]}.{digits[2]}{digits[3]}', as in " if digits else "it like "
            raise ToolError(
                "bad_argument",
                f"build.toml, cuda-capabilities: {text!r} is not a CUDA capability.",
                f"Write {meant}'8.0', '9.0a', '10.0f' or '12.0+PTX'.",
            )
        return cls(int(found[1]), int(found[2]), found[3], bool(found[4]))

    @property
    def plain(self) -> str:
        """Without +PTX: `9.0a`."""
        return f"{self.major}.{self.minor}{self.suffix}"

    def __str__(self) -> str:
        return self.plain + ("+PTX" if self.ptx else "")

    @property
    def sm(self) -> str:
        """As nvcc names its machine code: `sm_90a`."""
        return f"sm_{self.major}{self.minor}{self.suffix}"

    def gencode(self) -> list[str]:
        """nvcc's arguments for its machine code, and its PTX where asked."""
        number = f"{self.major}{self.minor}{self.suffix}"
        flags = [f"-gencode=arch=compute_{number},code=sm_{number}"]
        return flags + ([f"-gencode=arch=compute_{number},code=compute_{number}"] if self.ptx else [])

    def runs_on(self, other: Capability) -> bool:
        """Whether machine code for this one runs on the GPU `other`."""
        if self.suffix == "a":
            return (self.major, self.minor) == (other.major, other.minor)
        if self.ptx:
            return (other.major, other.minor) >= (self.major, self.minor)
        return self.major == other.major and self.minor <= other.minor


def unsupported(capability: Capability, nvcc: str) -> str:
    """Why the nvcc of version `nvcc` cannot compile for `capability`; empty if it can."""
    first, last = _FIRST_CUDA.get(capability.plain), _LAST_CUDA.get(capability.plain)
    if first is None:
        return f"{capability.sm} is not an architecture that is known here"
    if version_numbers(nvcc) < first:
        return f"{capability.sm} needs CUDA {first[0]}.{first[1]} or newer, this nvcc is {nvcc}"
    if last and version_numbers(nvcc) > last:
        return f"{capability.sm} was removed after CUDA {last[0]}.{last[1]}, this nvcc is {nvcc}"
    return ""


@dataclass(frozen=True)
class Wanted:
    """Architectures to compile for; `guessed` where nobody named them and there is no GPU to ask."""

    capabilities: tuple[Capability, ...]
    guessed: bool


def wanted(archs: Sequence[str], nvcc: str, mode: str) -> Wanted:
    """What `archs` stands for. `auto` is the GPUs of this host in a dev build; without one, and in a release, a list for this
    nvcc.

    Raises ToolError unknown_arch for a spelling nobody knows and bad_argument for one that this nvcc cannot compile.
    """
    found: list[Capability] = []
    guessed = False
    for spelling in archs or ("auto",):
        if spelling != "auto":
            capability = _resolve(spelling)
            reason = unsupported(capability, nvcc)
            if reason:
                raise ToolError(
                    "bad_argument", f"archs: {reason}.", "Leave it out, or install that CUDA toolkit and set CUDA_HOME."
                )
            found.append(capability)
        elif mode == "dev" and gpu.devices():
            found += [_resolve(device.compute_capability) for device in gpu.devices()]
        else:
            guessed = True
            names = _RELEASE_DEFAULT if mode == "release" else _DEV_DEFAULT
            able = [c for c in map(Capability.parse, names) if not unsupported(c, nvcc)]
            found += _looking_ahead(able) if mode == "release" else able
    return Wanted(tuple(dict.fromkeys(found)), guessed)


def _looking_ahead(capabilities: Sequence[Capability]) -> list[Capability]:
    """With PTX of the newest one that other GPUs can run, where an older nvcc has lost the one that was to have it."""
    plain = [c for c in capabilities if not c.suffix]
    if not plain or any(c.ptx for c in capabilities):
        return list(capabilities)
    return [replace(c, ptx=True) if c == max(plain) else c for c in capabilities]


def _resolve(spelling: str) -> Capability:
    direct = re.fullmatch(r"(?:sm_|compute_)?(\d+)\.?(\d)([af]?)(\+PTX)?", spelling.strip())
    # Written as a target it is meant as one; as a capability or a name it is the GPU, and its own target the better one.
    if direct and (direct[3] or direct[4] or spelling.startswith(("sm_", "compute_"))):
        return Capability(int(direct[1]), int(direct[2]), direct[3], bool(direct[4]))
    target = known_archs.resolve(spelling).target
    digits = re.fullmatch(r"sm_(\d+)(\d)([af]?)", target)
    if not digits:
        raise ToolError("unknown_arch", f"{spelling!r} is {target}, which nvcc does not compile for.", "Name an NVIDIA GPU.")
    return Capability(int(digits[1]), int(digits[2]), digits[3])


def covers(wanted: Wanted, declared: Sequence[str], nvcc: str) -> bool:
    """Whether sources that declare these capabilities have code for any GPU of `wanted`; what declares none has it for all."""
    able = [c for c in map(Capability.parse, declared) if not unsupported(c, nvcc)]
    return not declared or any(_best(able, target) for target in wanted.capabilities)


def _best(able: Sequence[Capability], target: Capability) -> list[Capability]:
    """Of `able`, all of the very capability, else the newest whose code runs there; empty if none does."""
    exact = [c for c in able if (c.major, c.minor) == (target.major, target.minor)]
    runs = sorted((c for c in able if c.runs_on(target)), key=lambda c: (c.major, c.minor))
    return exact or runs[-1:]


def chosen(
    wanted: Wanted, declared: Sequence[str], nvcc: str, where: str, mode: str, *, linked: bool = False
) -> tuple[tuple[Capability, ...], list[str]]:
    """Of what is wanted, what the sources of `where` declare and this nvcc can; also a line for each one that is left out.

    A declared capability is the one compiled for: sources that declare `9.0` never see `9.0a`. For a GPU that none matches
    exactly the best one whose code runs there is taken. A release that nobody narrowed takes all that is declared. Where
    nothing remains, sources that are `linked` with others which do have code for what is wanted, so that their functions must
    exist, are compiled for the last capability that they declare; all others raise ToolError.
    """
    if not declared:
        return wanted.capabilities, []
    able = [c for c in map(Capability.parse, declared) if not unsupported(c, nvcc)]
    skipped = [f"{where}: {reason}" for reason in (unsupported(Capability.parse(d), nvcc) for d in declared) if reason]
    if wanted.guessed and mode == "release":
        newest_as_ptx = any(Capability.parse(text).ptx for text in declared)
        found = _looking_ahead(able) if newest_as_ptx else able
    else:
        best = {target: _best(able, target) for target in wanted.capabilities}
        found = [capability for capabilities in best.values() for capability in capabilities]
        instead = able[-1:] if not found and (wanted.guessed or linked) else []
        told = f"; compiled for {instead[0]}" if instead else ""
        missed = [] if wanted.guessed else [target for target, capabilities in best.items() if not capabilities]
        skipped += [f"{where}: declares {', '.join(declared)}, none of which runs on {target}{told}" for target in missed]
        found += instead
    if not found:
        asked = ", ".join(map(str, wanted.capabilities))
        raise ToolError(
            "bad_argument" if able else "toolchain_missing",
            f"{where} has nothing to compile for: it declares {', '.join(declared)}, asked for is {asked}, nvcc is {nvcc}.",
            "Change cuda-capabilities in build.toml, or pass archs that it covers.",
        )
    return tuple(dict.fromkeys(found)), list(dict.fromkeys(skipped))
