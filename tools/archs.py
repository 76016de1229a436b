"""GPUs by whatever name they are called: a product, nvidia-smi's name, a compute capability, an nvcc target.

The facts lie in ``references/arch/specs.toml`` (products) and ``references/arch/limits.toml`` (compute capabilities), each
number with its source.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from kernelwright.tools.tool import ToolError

_VENDOR_WORDS = frozenset({"nvidia", "tesla", "geforce", "amd", "instinct", "radeon", "gpu", "corporation", "graphics"})
# A name that has one of these beside a known name is another chip: RTX 4090 Laptop, RTX 3090 Ti, RTX 5090 D.
_OTHER_CHIP_WORDS = frozenset({"laptop", "mobile", "ti", "super", "d"})
_CAPABILITY = re.compile(r"(?:(?:sm|compute|cc|cuda)[\s_-]*)?(\d{1,2})\.?(\d)[af]?")
_NOT_SPECS = frozenset({"name", "compute_capability", "aliases", "families", "sources"})
_NOT_LIMITS = frozenset({"default", "guidance", "target", "family", "min_cuda", "max_cuda", "features", "fp32_lanes_per_sm"})


@dataclass(frozen=True)
class Arch:
    """A GPU product and how to compile for it.

    `compute_capability` is "9.0", or "gfx942" for AMD; `target` what nvcc's -arch takes; `min_cuda` the first toolkit that
    knows this target, `max_cuda` the last one ("" when every newer one does).
    """

    key: str
    name: str
    compute_capability: str
    target: str
    min_cuda: str
    max_cuda: str = ""

    @property
    def nvcc_flag(self) -> str:
        """The nvcc flag for this target alone; "" for AMD, whose compiler is another one."""
        if self.is_amd:
            return ""
        return f"-gencode arch={self.target.replace('sm_', 'compute_')},code={self.target}"

    @property
    def is_amd(self) -> bool:
        """Whether this is a GPU that Kernelwright knows but cannot compile for."""
        return self.compute_capability.startswith("gfx")


def all_archs() -> tuple[Arch, ...]:
    """Every GPU of ``specs.toml``, in its order (by compute capability, NVIDIA first)."""
    return tuple(_archs().values())


def resolve(spelling: str) -> Arch:
    """The GPU that `spelling` means: "h100", "sm_90a", "9.0", "NVIDIA H100 80GB HBM3", "gh200 480gb", "hopper" …

    Raises `ToolError` `unknown_arch`, whose hint has the nearest names and the list of all.
    """
    capability = capability_of(spelling)
    if capability:
        return _archs()[_limits_file()["capability"][capability]["default"]]
    wanted = _compact(spelling)
    for key, names in _names().items():
        if wanted and wanted in {_compact(name) for name in (*names, *_families().get(key, ()))}:
            return _archs()[key]
    best = _longest_contained_name(spelling)
    if best:
        return _archs()[best]
    raise _unknown(spelling)


def by_capability(compute_capability: str) -> Arch | None:
    """The product that stands for a compute capability such as "8.9", or None when it is not known."""
    entry = _limits_file()["capability"].get(compute_capability)
    return _archs()[entry["default"]] if entry else None


def capability_of(spelling: str) -> str | None:
    """The known compute capability that `spelling` is written as ("sm_90a", "9.0", "compute_100", "gfx942"), or None."""
    text = spelling.strip().lower()
    known = _limits_file()["capability"]
    if text in known:
        return text
    match = _CAPABILITY.fullmatch(text)
    if match and f"{match[1]}.{match[2]}" in known:
        return f"{match[1]}.{match[2]}"
    return None


def specs(arch: Arch) -> dict[str, Any]:
    """The product's numbers, keys with units as ``specs.toml`` explains them, and `unchecked`: those nobody looked up again."""
    entry = _specs_file()["gpu"][arch.key]
    values = {key: value for key, value in entry.items() if key not in _NOT_SPECS}
    unchecked = [key for key in values if isinstance(values[key], int | float) and source_of(arch, key)["kind"] == "unchecked"]
    return values | ({"unchecked": ", ".join(unchecked)} if unchecked else {})


def limits(compute_capability: str) -> dict[str, Any]:
    """What a compute capability allows a kernel: threads, blocks, registers, shared memory; `threads_per_warp` included."""
    entry = _limits_file()["capability"][compute_capability]
    own = {key: value for key, value in entry.items() if key not in _NOT_LIMITS}
    if compute_capability.startswith("gfx"):
        return {"threads_per_block": 1024, **own}
    return {"threads_per_warp": 32, "warps_per_sm": own["threads_per_sm"] // 32, **_limits_file()["common"], **own}


def features(compute_capability: str) -> list[str]:
    """What this compute capability has that older ones may lack, most useful first."""
    return list(_limits_file()["capability"][compute_capability]["features"])


def capability_entry(compute_capability: str) -> Mapping[str, Any]:
    """The whole entry of ``limits.toml``: target, family, guidance, fp32 lanes beside the limits."""
    entry: Mapping[str, Any] = _limits_file()["capability"][compute_capability]
    return entry


def source_of(arch: Arch, key: str) -> Mapping[str, str]:
    """Where the number `key` comes from: `title`, and `kind` (vendor, device, third-party, derived or unchecked)."""
    chosen = _specs_file()["gpu"][arch.key]["sources"]
    source: Mapping[str, str] = _specs_file()["source"][chosen.get(key, chosen["all"])]
    return source


def _longest_contained_name(spelling: str) -> str | None:
    """The key whose name has most of its words, all of them, in `spelling`: nvidia-smi adds sizes, form factors, MIG slices."""
    words = set(_words(spelling))
    if words & _OTHER_CHIP_WORDS:
        return None
    scores = {
        key: max((len(parts) for name in names if (parts := _words(name)) and set(parts) <= words), default=0)
        for key, names in _names().items()
    }
    best = max(scores, key=lambda key: scores[key])
    return best if scores[best] else None


def _unknown(spelling: str) -> ToolError:
    spellings = {_compact(name): name for names in _names().values() for name in names}
    spellings |= {cc.replace(".", ""): cc for cc in _limits_file()["capability"]}
    close = difflib.get_close_matches(_compact(spelling), list(spellings), n=3, cutoff=0.5)
    nearest = f"Nearest: {', '.join(spellings[c] for c in close)}. " if close else ""
    return ToolError(
        "unknown_arch",
        f"No GPU or architecture is called {spelling!r}.",
        f"{nearest}Known: {', '.join(_archs())}; or pass its compute capability, one of "
        f"{', '.join(cc for cc in _limits_file()['capability'])}.",
    )


def _words(name: str) -> list[str]:
    return [word for word in re.findall(r"[a-z0-9]+", name.lower()) if word not in _VENDOR_WORDS]


def _compact(name: str) -> str:
    return "".join(_words(name))


@cache
def _archs() -> dict[str, Arch]:
    capabilities = _limits_file()["capability"]
    found = {}
    for key, entry in _specs_file()["gpu"].items():
        limit = capabilities[entry["compute_capability"]]
        found[key] = Arch(
            key=key,
            name=entry["name"],
            compute_capability=entry["compute_capability"],
            target=limit["target"],
            min_cuda=limit["min_cuda"],
            max_cuda=limit.get("max_cuda", ""),
        )
    return found


@cache
def _names() -> dict[str, tuple[str, ...]]:
    return {key: (key, entry["name"], *entry["aliases"]) for key, entry in _specs_file()["gpu"].items()}


@cache
def _families() -> dict[str, tuple[str, ...]]:
    return {key: tuple(entry.get("families", ())) for key, entry in _specs_file()["gpu"].items()}


@cache
def _specs_file() -> dict[str, Any]:
    return _read("specs.toml")


@cache
def _limits_file() -> dict[str, Any]:
    return _read("limits.toml")


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(files("kernelwright.references").joinpath("arch", name).read_text(encoding="utf-8"))
