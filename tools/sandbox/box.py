"""What a box is: which files it shows, what it may use up."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Tier = Literal["bubblewrap", "landlock", "none"]

SYSTEM_FOLDERS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
SYSTEM_FILES = (
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/alternatives",
    "/etc/localtime",
    "/etc/OpenCL",
)


@dataclass(frozen=True)
class Limits:
    """What one boxed process tree may use: seconds of wall time, bytes of resident memory, processes, bytes per written
    file, bytes of output that the caller keeps."""

    wall_s: float = 120.0
    memory_bytes: int = 8 << 30
    processes: int = 256
    file_bytes: int = 1 << 30
    output_bytes: int = 8 << 20


@dataclass(frozen=True)
class Box:
    """What a boxed process sees. Paths keep their names; everything else of the host's files is absent or denied."""

    read_only: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()
    cwd: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    gpu: bool = False
    limits: Limits = field(default_factory=Limits)
    tier: Tier | None = None


@dataclass(frozen=True)
class Completed:
    """How a boxed process ended. `returncode` is negative for a signal, a key of `KILLED` when a limit ended it."""

    returncode: int
    stdout: bytes
    stderr: bytes
    timed_out: bool
    truncated: bool
    seconds: float


def readable(argv: Sequence[str], box: Box) -> tuple[Path, ...]:
    """Every host path that `argv` may read in `box`, outermost first: system, Python, CUDA toolkits, the box's own."""
    wanted = [Path(p) for p in (*SYSTEM_FOLDERS, *SYSTEM_FILES)]
    wanted += python_roots(Path(sys.executable))
    if argv and Path(argv[0]).name.startswith("python"):
        wanted += python_roots(Path(argv[0]))
    wanted += [Path(os.environ[name]) for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    if box.gpu:
        wanted += [Path("/sys"), *(Path(p) for p in _library_path())]
    else:
        wanted += [Path("/sys/devices/system/cpu"), Path("/sys/devices/system/node")]
    wanted += box.read_only
    seen = {path for path in wanted if path.is_absolute() and path != Path("/") and path.exists()}
    # A link below a folder that is shown anyway, as /usr/local/cuda is, cannot be mounted over: what it leads to is shown.
    linked = {path.resolve() for path in seen if path.is_symlink() and _below(path, seen)}
    shown = {path for path in seen | linked if not _below(path, seen - linked)}
    return tuple(sorted(shown, key=lambda p: len(p.parts)))


def _below(path: Path, folders: set[Path]) -> bool:
    return any(parent in folders for parent in path.parents)


def python_roots(executable: Path) -> list[Path]:
    """The folders an interpreter needs: its virtual environment's, and the installation that one was made from."""
    roots = [executable.parent.parent]
    config = roots[0] / "pyvenv.cfg"
    if config.is_file():
        for line in config.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition("=")
            if key.strip() == "home" and value.strip():
                roots.append(Path(value.strip()).parent)
    real = executable.resolve()
    if real.exists():
        roots.append(real.parent.parent)
    return [root for root in dict.fromkeys(roots) if len(root.parts) > 2]


def environment(argv: Sequence[str], box: Box, tmp: str) -> dict[str, str]:
    """The whole environment of a boxed process: nothing is inherited but where GPU libraries lie."""
    path = [str(Path(argv[0]).parent)] if argv and Path(argv[0]).is_absolute() else []
    path += [str(Path(sys.executable).parent), "/usr/local/cuda/bin", "/usr/local/bin", "/usr/bin", "/bin"]
    env = {
        "PATH": ":".join(dict.fromkeys(path)),
        "HOME": tmp,
        "TMPDIR": tmp,
        "USER": "kernelwright",
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if box.gpu and _library_path():
        env["LD_LIBRARY_PATH"] = ":".join(_library_path())
    for name in ("CUDA_HOME", "CUDA_VISIBLE_DEVICES") if box.gpu else ("CUDA_HOME",):
        if os.environ.get(name):
            env[name] = os.environ[name]
    return env | dict(box.env)


def gpu_devices() -> list[Path]:
    """The device nodes through which a process reaches NVIDIA GPUs."""
    return sorted(Path("/dev").glob("nvidia*"))


def _library_path() -> list[str]:
    given = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    return [p for p in dict.fromkeys([*given, "/usr/local/nvidia/lib64", "/usr/local/nvidia/lib"]) if p and Path(p).is_dir()]
