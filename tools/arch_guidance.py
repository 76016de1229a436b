"""What follows from a GPU's facts for a kernel: the guidance of its generation, with this product's numbers put in.

The texts lie in ``references/arch/guidance``; `$name` in them is a value of `values`, so that no number is written twice.
"""

from __future__ import annotations

from importlib.resources import files
from string import Template
from typing import Any

from kernelwright.tools import archs
from kernelwright.tools.archs import Arch

# Wall time of one eager call of a stable-ABI op, 1024 x 4096 bf16 on an H200 host (torch 2.11+cu130), as we measured it.
EAGER_CALL_US = 18

_NEXT_ELSE = ("vectorization", "reductions", "launches")
_NEXT: dict[str, tuple[str, ...]] = {
    "ampere-ga10x": ("vectorization", "reductions", "ada-and-rtx"),
    "ampere": ("vectorization", "reductions", "ada-and-rtx"),
    "ada": ("vectorization", "reductions", "ada-and-rtx"),
    "blackwell-rtx": ("vectorization", "reductions", "ada-and-rtx"),
    "hopper": ("vectorization", "reductions", "hopper"),
    "blackwell": ("vectorization", "reductions", "blackwell"),
    "thor": ("vectorization", "launches", "blackwell"),
    "cdna": ("gpus", "triton"),
}


def guidance(arch: Arch) -> str:
    """Markdown of at most 600 tokens: what limits kernels on `arch`, levers in the order of their yield, sizes, mistakes."""
    name = archs.capability_entry(arch.compute_capability)["guidance"]
    text = files("kernelwright.references").joinpath("arch", "guidance", f"{name}.md").read_text(encoding="utf-8")
    return Template(text).substitute(values(arch)).strip()


def read_next(arch: Arch) -> tuple[str, ...]:
    """Names of the guides that help most on `arch`, most useful first."""
    return _NEXT.get(archs.capability_entry(arch.compute_capability)["guidance"], _NEXT_ELSE)


def values(arch: Arch) -> dict[str, str]:
    """The numbers that the texts may use, as they are printed: rates in TFLOP/s, bandwidth in GB/s, sizes as named."""
    spec, limit = archs.specs(arch), archs.limits(arch.compute_capability)
    half = spec.get("bf16_tflops") or spec.get("fp16_tflops")
    threads = limit["threads_per_sm"]
    numbers: dict[str, Any] = {
        "name": arch.name,
        "target": arch.target,
        "min_cuda": arch.min_cuda,
        "sms": spec["sms"],
        "gbps": spec["bandwidth_gbps"],
        "l2_mb": spec["l2_mb"],
        "fp32_tflops": spec["fp32_tflops"],
        "half_tflops": half if half else "an unstated number of",
        "half_ridge": round(half * 1000 / spec["bandwidth_gbps"]) if half else "a ridge that no data sheet states,",
        "fp32_ridge": round(spec["fp32_tflops"] * 1000 / spec["bandwidth_gbps"]),
        "call_mb": round(EAGER_CALL_US * spec["bandwidth_gbps"] / 1000),
        "threads": threads,
        "blocks256": threads // 256,
        "grid256": spec["sms"] * (threads // 256),
        "shared_kb": limit["shared_kb_per_sm"],
        "shared_bytes": limit["shared_bytes_per_block"],
        "shared_kb_block": limit["shared_bytes_per_block"] // 1024,
        "shared_two": limit["shared_kb_per_sm"] * 1024 // 2 - limit["shared_bytes_reserved"],
    }
    if "registers_per_sm" in limit:
        # ptxas hands registers out in eights a thread.
        numbers["registers_full"] = limit["registers_per_sm"] // threads // 8 * 8
        numbers["blocks"] = limit["blocks_per_sm"]
    return {key: str(value) for key, value in numbers.items()}


def as_markdown(arch: Arch) -> str:
    """Facts and guidance of `arch` in one text, as ``kernel://arch/<key>`` serves it."""
    flag = f"Compile with `{arch.nvcc_flag}`, CUDA {arch.min_cuda} or newer." if arch.nvcc_flag else "Not a target of nvcc."
    parts = [
        f"# {arch.name} ({arch.key}, compute capability {arch.compute_capability})",
        f"{flag} Features: {', '.join(archs.features(arch.compute_capability))}.",
        "\n".join(["## Specs", *(f"- {key}: {value}" for key, value in archs.specs(arch).items())]),
        "\n".join(["## Limits", *(f"- {key}: {value}" for key, value in archs.limits(arch.compute_capability).items())]),
        guidance(arch),
        "Read next: " + ", ".join(f"kernel://references/{name}" for name in read_next(arch)),
    ]
    return "\n\n".join(parts)
