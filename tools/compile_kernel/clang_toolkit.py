"""A CUDA 12.6 compiler out of clang and wheels: NVIDIA's wheels of CUDA 12 hold headers and ptxas, but no nvcc.

clang wants these in one folder, so one is laid out in the cache, of links to the very files. `clang_steps` compiles with it.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kernelwright.tools.compile_kernel.contract import Diagnostic
from kernelwright.tools.tool import ToolError
from kernelwright.tools.toolchain import Tool, Toolchain

# Older ones refuse the headers of CUDA 12.6, which 19 takes for those of 12.5.
OLDEST_CLANG = 19
CLANG = "clang++"
_CUDA = "12.6"
_WHEELS = {
    "cuda_nvcc": "nvidia-cuda-nvcc-cu12",
    "cuda_runtime": "nvidia-cuda-runtime-cu12",
    "cuda_cccl": "nvidia-cuda-cccl-cu12",
}


@dataclass(frozen=True)
class Parts:
    """What was found: clang's path, and where each wheel of CUDA 12.6 lies with its version; None and absent where missing."""

    clang: Path | None
    wheels: dict[str, tuple[Path, str]]

    @property
    def complete(self) -> bool:
        """Whether a toolkit can be laid out."""
        return self.clang is not None and self.wheels.keys() == _WHEELS.keys()


def find(toolchain: Toolchain) -> Parts:
    """clang on this host, and the wheels in `host_python` or in the folder that `command` puts them into."""
    wheels: dict[str, tuple[Path, str]] = {}
    for place in (*toolchain.python.paths, _own_folder(toolchain)):
        for folder, project in _WHEELS.items():
            records = sorted(place.glob(f"{project.replace('-', '_')}-{_CUDA}.*.dist-info"))
            if folder not in wheels and records and (place / "nvidia" / folder).is_dir():
                version = records[-1].name.removesuffix(".dist-info").rpartition("-")[2]
                wheels[folder] = (place / "nvidia" / folder, version)
    return Parts(_clang(), wheels)


def command(parts: Parts, toolchain: Toolchain) -> str:
    """The command that brings what is missing; the wheels go into a folder of their own, where no torch minds their version."""
    missing: list[str] = []
    if parts.clang is None:
        missing.append(f"apt-get install -y clang-{OLDEST_CLANG}")
    if parts.wheels.keys() != _WHEELS.keys():
        pins = " ".join(f"'{project}=={_CUDA}.*'" for project in _WHEELS.values())
        target = shlex.quote(str(_own_folder(toolchain)))
        missing.append(f"{toolchain.host_python} -m pip install --no-deps --upgrade --target {target} {pins}")
    return " && ".join(missing)


def lay_out(parts: Parts, toolchain: Toolchain) -> Toolchain:
    """`toolchain` with what `parts`, which must be complete, make: its nvcc is clang, in a folder like a toolkit's."""
    assert parts.clang is not None
    version = parts.wheels["cuda_nvcc"][1]
    made_of = [str(parts.clang.resolve()), *(f"{folder} {found}" for folder, found in parts.wheels.values())]
    digest = hashlib.sha256("\n".join(made_of).encode()).hexdigest()[:12]
    home = toolchain.extras.parent / "toolkits" / f"cuda-{version}-clang-{digest}"
    if not home.is_dir():
        home.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=home.parent))
        _fill(scratch, parts.clang, {name: folder for name, (folder, _) in parts.wheels.items()})
        scratch.chmod(0o755)
        try:
            scratch.rename(home)
        except OSError:  # another process was faster
            shutil.rmtree(scratch)
    return replace(toolchain, nvcc=Tool(home / "bin" / CLANG, version))


def blame(toolchain: Toolchain, variant: str, found: Sequence[Diagnostic]) -> None:
    """Raise ToolError if it was clang that failed: what nvcc may well take is no fault of the kernel."""
    nvcc = toolchain.nvcc
    if nvcc is None or nvcc.path.name != CLANG:
        return
    first = next((d for d in found if d.severity == "error"), None)
    told = f"{first.file}:{first.line}: {first.message}" if first else "it gave no reason"
    raise ToolError(
        "toolchain_missing",
        f"{variant} cannot be built by clang for CUDA {nvcc.version}: {told}.",
        "Write it in a way that clang takes too, or install NVIDIA's CUDA 12.6 toolkit, whose nvcc is used where it exists.",
    )


def _fill(home: Path, clang: Path, wheels: dict[str, Path]) -> None:
    for name in ("cuda_runtime", "cuda_nvcc", "cuda_cccl"):
        shutil.copytree(wheels[name] / "include", home / "include", copy_function=_link, dirs_exist_ok=True)
    # clang's own prelude includes it, for the sake of those who have the wheel of curand; an empty one does as well.
    (home / "include" / "curand_mtgp32_kernel.h").touch()
    shutil.copytree(wheels["cuda_nvcc"] / "nvvm" / "libdevice", home / "nvvm" / "libdevice", copy_function=_link)
    shutil.copytree(wheels["cuda_runtime"] / "lib", home / "lib64", copy_function=_link)
    (home / "bin").mkdir()
    # pip makes no program of what lies among a wheel's data, and the wheel's own file is not ours to change.
    shutil.copyfile(wheels["cuda_nvcc"] / "bin" / "ptxas", home / "bin" / "ptxas")
    (home / "bin" / "ptxas").chmod(0o755)
    (home / "bin" / CLANG).symlink_to(clang.resolve())


def _link(source: str, target: str) -> None:
    """Hard links, because a box that shows the toolkit shows none of the folders that links by name would lead to."""
    if Path(target).exists():
        return
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _own_folder(toolchain: Toolchain) -> Path:
    return toolchain.extras.parent / f"cuda-{_CUDA}"


def _clang() -> Path | None:
    """The oldest clang that will do: the nearer to CUDA 12.6 in time, the better its headers are known to it."""
    found = (shutil.which(f"{CLANG}-{number}") for number in range(OLDEST_CLANG, OLDEST_CLANG + 4))
    return next((Path(path) for path in found if path), None)
