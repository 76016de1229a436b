"""What this host can compile with: nvcc, g++, ninja, the torch of `host_python`, and the profilers beside them.

Nothing is imported from `host_python`: importing torch takes two seconds, reading its `version.py` none. What must be asked of
a program (its version, its search path) is kept on disk under the program's path, size and time of change.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from kernelwright.tools.tool import ToolError

_PROBE_S = 30
_NVCC_VERSION = r"release [\d.]+, V([\d.]+)"
_ASK_PYTHON = """
import json, sys, sysconfig
print(json.dumps({
    "version": "%d.%d" % sys.version_info[:2],
    "include": sysconfig.get_paths()["include"],
    "paths": [p for p in sys.path if p],
    "prefixes": sorted({sys.prefix, sys.base_prefix}),
}))
"""


@dataclass(frozen=True)
class Tool:
    """A program and the version that it gives itself."""

    path: Path
    version: str

    @property
    def numbers(self) -> tuple[int, int]:
        """Major and minor version."""
        return version_numbers(self.version)


@dataclass(frozen=True)
class PythonInfo:
    """The interpreter that torch lives in: its version `3.11`, where Python.h is, and where it looks for modules."""

    version: str
    include: Path
    paths: tuple[Path, ...]
    prefixes: tuple[Path, ...]


@dataclass(frozen=True)
class TorchInfo:
    """The torch of `host_python`. `cuda` is the CUDA version it was built for, None for a CPU build."""

    version: str
    cuda: str | None
    folder: Path

    @property
    def numbers(self) -> tuple[int, int]:
        """Major and minor version."""
        return version_numbers(self.version)

    @property
    def include_dirs(self) -> tuple[Path, ...]:
        """Folders of torch's headers, in the order in which they are searched."""
        include = self.folder / "include"
        return (include, include / "torch" / "csrc" / "api" / "include")

    @property
    def lib(self) -> Path:
        """Folder of torch's shared libraries."""
        return self.folder / "lib"


@dataclass(frozen=True)
class Toolchain:
    """Programs found on this host; one that is missing is None. `extras` is where headers of `depends` may be put."""

    host_python: Path
    python: PythonInfo
    nvcc: Tool | None
    gxx: Tool | None
    ninja: Tool | None
    torch: TorchInfo | None
    ncu: Tool | None
    compute_sanitizer: Tool | None
    extras: Path

    @cached_property
    def cuda_home(self) -> Path | None:
        """Root of the CUDA toolkit that nvcc belongs to."""
        return self.nvcc.path.parent.parent if self.nvcc else None

    def module(self, name: str) -> Path | None:
        """Folder of the package `name` (``tvm_ffi``, ``cutlass_library``) where `host_python` would import it from."""
        for place in self.python.paths:
            if (place / name).is_dir():
                return place / name
        return None

    def need_nvcc(self) -> Tool:
        """nvcc, or ToolError with the command that brings one."""
        if self.nvcc is None:
            wheels = "nvidia-cuda-nvcc nvidia-nvvm nvidia-cuda-crt nvidia-cuda-runtime nvidia-cuda-cccl"
            major = (self.torch.cuda or "13.0") if self.torch else "13.0"
            pins = " ".join(f"'{wheel}=={major}.*'" for wheel in wheels.split())
            raise ToolError(
                "toolchain_missing",
                "No nvcc was found: not in CUDA_HOME, not on PATH, not in /usr/local/cuda*, not in host_python's wheels.",
                f"{self.host_python} -m pip install {pins}"
                if major.startswith("13")
                else "Install the CUDA toolkit and set CUDA_HOME.",
            )
        return self.nvcc

    def need_gxx(self) -> Tool:
        """g++, or ToolError with the command that brings one."""
        if self.gxx is None:
            raise ToolError("toolchain_missing", "No g++ was found on PATH.", "apt-get install -y g++")
        return self.gxx

    def need_ninja(self) -> Tool:
        """ninja, or ToolError with the command that brings one."""
        if self.ninja is None:
            raise ToolError("toolchain_missing", "No ninja was found on PATH.", f"{sys.executable} -m pip install ninja")
        return self.ninja

    def need_torch(self) -> TorchInfo:
        """torch, or ToolError that names the interpreter without it."""
        if self.torch is None:
            raise ToolError(
                "toolchain_missing",
                f"torch is not installed in host_python, {self.host_python}.",
                "Install torch there, or set host_python to the interpreter that has it.",
            )
        return self.torch


def detect(host_python: Path, *, cache: Path | None = None) -> Toolchain:
    """The toolchain of this host and of `host_python`, a path to an interpreter; raises ToolError if that one does not run."""
    memory = _Memory((cache or _default_cache()) / "toolchain.json")
    python = _python(host_python, memory)
    cuda_bins = _cuda_bins(python)
    nvcc = _tool(_first("nvcc", cuda_bins, real=True), memory, ["--version"], _NVCC_VERSION)
    toolchain = Toolchain(
        host_python=host_python,
        python=python,
        nvcc=nvcc,
        gxx=_tool(_first("g++", []), memory, ["-dumpfullversion"], r"([\d.]+)"),
        ninja=_tool(
            _first("ninja", [Path(sys.prefix) / "bin", *(p / "bin" for p in python.prefixes)]),
            memory,
            ["--version"],
            r"([\d.]*\d)",
        ),
        torch=_torch(python),
        ncu=_tool(_first("ncu", cuda_bins), memory, ["--version"], r"Version ([\d.]+)"),
        compute_sanitizer=_tool(_first("compute-sanitizer", cuda_bins), memory, ["--version"], r"[Vv]ersion ([\d.]+)"),
        extras=(cache or _default_cache()) / "depends",
    )
    memory.save()
    return toolchain


def other_cuda(toolchain: Toolchain, major: int, newest: tuple[int, int]) -> Toolchain | None:
    """The same toolchain with this host's newest nvcc of CUDA `major` that is not newer than `newest`, if there is one."""
    memory = _Memory(toolchain.extras.parent / "toolchain.json")
    found: list[Tool] = []
    for place in _cuda_bins(toolchain.python):
        tool = _tool(_first("nvcc", [place], real=True), memory, ["--version"], _NVCC_VERSION)
        if tool and tool.numbers[0] == major and tool.numbers <= newest:
            found.append(tool)
    memory.save()
    return replace(toolchain, nvcc=max(found, key=lambda tool: tool.numbers)) if found else None


def version_numbers(version: str) -> tuple[int, int]:
    """Major and minor number of `13.0`, `2.13.0+cpu` or `12`."""
    numbers = [int(n) for n in re.findall(r"\d+", version)[:2]]
    return (numbers[0] if numbers else 0, numbers[1] if len(numbers) > 1 else 0)


def _default_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path("~").expanduser() / ".cache")
    return Path(base) / "kernelwright"


class _Memory:
    """Answers of programs, kept on disk under what identifies the program; losing it costs a second, never an error."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed = False
        try:
            self._known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self._known = {}

    def ask(self, program: Path, key: str, compute: Callable[[], Any]) -> Any:
        status = program.stat()
        stamp = [str(program.resolve()), status.st_mtime_ns, status.st_size]
        entry = self._known.get(f"{key} {program}")
        if entry and entry["stamp"] == stamp:
            return entry["answer"]
        answer = compute()
        self._known[f"{key} {program}"] = {"stamp": stamp, "answer": answer}
        self._changed = True
        return answer

    def save(self) -> None:
        if not self._changed:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self._path.parent, delete=False, encoding="utf-8") as file:
                json.dump(self._known, file)
            Path(file.name).replace(self._path)
        except OSError:
            return  # a cache folder that cannot be written only costs the next call its second


def _python(host_python: Path, memory: _Memory) -> PythonInfo:
    def ask() -> Any:
        out = subprocess.run([str(host_python), "-c", _ASK_PYTHON], capture_output=True, timeout=_PROBE_S, check=True, cwd="/")
        return json.loads(out.stdout)

    try:
        answer = memory.ask(host_python, "python" + _environment_stamp(host_python), ask)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise ToolError(
            "toolchain_missing",
            f"host_python {host_python} does not run: {error}.",
            "Set host_python to the Python interpreter that torch is installed in.",
        ) from None
    return PythonInfo(
        version=answer["version"],
        include=Path(answer["include"]),
        paths=tuple(Path(p) for p in answer["paths"]),
        prefixes=tuple(Path(p) for p in answer["prefixes"]),
    )


def _environment_stamp(host_python: Path) -> str:
    """A virtual environment that was made anew at the same path has another search path: its configuration dates it."""
    config = host_python.parent.parent / "pyvenv.cfg"
    return f"@{config.stat().st_mtime_ns}" if config.is_file() else ""


def _torch(python: PythonInfo) -> TorchInfo | None:
    for place in python.paths:
        try:
            text = (place / "torch" / "version.py").read_text(encoding="utf-8")
        except OSError:
            continue
        version = re.search(r"^__version__\s*=\s*'([^']+)'", text, re.MULTILINE)
        cuda = re.search(r"^cuda[^=\n]*=\s*'([^']+)'", text, re.MULTILINE)
        if version:
            return TorchInfo(version[1], cuda[1] if cuda else None, place / "torch")
    return None


def _cuda_bins(python: PythonInfo) -> list[Path]:
    named = [Path(os.environ[name]) / "bin" for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    on_path = shutil.which("nvcc")
    versioned = sorted(Path("/usr/local").glob("cuda-*"), key=lambda p: version_numbers(p.name), reverse=True)
    installed = [Path("/usr/local/cuda/bin"), *(p / "bin" for p in versioned)]
    wheels = [bin_ for place in python.paths for bin_ in sorted(place.glob("nvidia/cu*/bin"), reverse=True)]
    return [*named, *([Path(on_path).parent] if on_path else []), *installed, *wheels]


def _first(name: str, places: list[Path], *, real: bool = False) -> Path | None:
    """The first program `name` in `places` or on PATH; `real` skips wrappers that are no part of a CUDA toolkit."""
    on_path = shutil.which(name)
    for candidate in [*(place / name for place in places), *([Path(on_path)] if on_path else [])]:
        if not os.access(candidate, os.X_OK) or candidate.is_dir():
            continue
        found = candidate.resolve()
        if real and not _has_runtime_headers(found.parent.parent):
            continue
        return found if real else candidate
    return None


def _has_runtime_headers(root: Path) -> bool:
    return any((root / include / "cuda_runtime.h").is_file() for include in ("include", "targets/x86_64-linux/include"))


def _tool(path: Path | None, memory: _Memory, ask: list[str], pattern: str) -> Tool | None:
    if path is None:
        return None

    def version() -> str:
        out = subprocess.run([str(path), *ask], capture_output=True, timeout=_PROBE_S, check=False)
        found = re.search(pattern, out.stdout.decode(errors="replace"))
        return found[1] if found else ""

    try:
        return Tool(path, memory.ask(path, " ".join(ask), version))
    except (OSError, subprocess.SubprocessError):
        return None
