"""What this machine has and lacks, with the command that mends each lack."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from kernelwright.server.settings import Settings
from kernelwright.tools import gpu, sandbox, toolchain

Need = Literal["ok", "missing", "optional"]
_MARKS = {"ok": "[green]ok[/]", "missing": "[red]missing[/]", "optional": "[yellow]absent[/]"}


@dataclass(frozen=True)
class Finding:
    """One thing looked for: `missing` stops the main job, `optional` narrows it."""

    name: str
    state: Need
    detail: str
    mend: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Look at everything the tools use."""
    tools = toolchain.detect(settings.host_python)
    devices = gpu.devices()
    tier = sandbox.available_tier()
    torch_command = f"{settings.host_python} -m pip install 'torch>=2.9'"
    return [
        _finding("torch", f"{tools.torch.version} ({settings.host_python})" if tools.torch else "", torch_command),
        _finding("g++", _tool(tools.gxx), "apt-get install -y g++"),
        _finding("ninja", _tool(tools.ninja), "pip install 'kernelwright[host]'"),
        _finding("kernels", _package("kernels"), "pip install 'kernelwright[host]'"),
        _finding("kernel-abi-check", _package("kernel_abi_check"), "pip install 'kernelwright[host]'", needed=False),
        _finding(
            "nvcc",
            _tool(tools.nvcc),
            "pip install nvidia-cuda-nvcc nvidia-nvvm nvidia-cuda-crt nvidia-cuda-runtime nvidia-cuda-cccl",
            needed=bool(devices),
        ),
        _finding(
            "GPU",
            ", ".join(f"{d.name} (compute capability {d.compute_capability})" for d in devices),
            "none here: the CPU backend works; use a host with an NVIDIA GPU for CUDA",
            needed=False,
        ),
        _finding("driver", devices[0].driver if devices else "", "install the NVIDIA driver", needed=False),
        _finding("sandbox", "" if tier == "none" else tier, "apt-get install -y bubblewrap"),
        _finding("ncu", _tool(tools.ncu), "install Nsight Compute of the CUDA toolkit", needed=False),
        _finding(
            "compute-sanitizer",
            _tool(tools.compute_sanitizer),
            "install the CUDA toolkit's compute-sanitizer",
            needed=False,
        ),
        _finding("Hub token", _hub_token(), "hf auth login (only publishing needs it)", needed=False),
    ]


def _tool(found: toolchain.Tool | None) -> str:
    return f"{found.version} ({found.path})" if found else ""


def _finding(name: str, detail: str, mend: str, *, needed: bool = True) -> Finding:
    if detail:
        return Finding(name, "ok", detail)
    return Finding(name, "missing" if needed else "optional", "", mend)


def _package(module: str) -> str:
    return "installed" if importlib.util.find_spec(module) else ""


def _hub_token() -> str:
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    return "present" if os.environ.get("HF_TOKEN") or (home / "token").is_file() else ""


def as_data(findings: list[Finding]) -> dict[str, Any]:
    """The findings as data, with `ok` telling whether the main job can run."""
    return {"ok": all(f.state != "missing" for f in findings), "findings": [asdict(f) for f in findings]}


def print_table(findings: list[Finding], console: Console) -> None:
    """The findings for a person."""
    table = Table("", "what", "found", "to mend it", box=None, pad_edge=False)
    for finding in findings:
        table.add_row(_MARKS[finding.state], finding.name, finding.detail, finding.mend)
    console.print(table)
