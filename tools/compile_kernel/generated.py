"""Files that every build needs and nobody writes by hand, put down once for each version of them."""

from __future__ import annotations

import subprocess
import tempfile
import uuid
from pathlib import Path

from kernelwright.tools.compile_kernel import templates
from kernelwright.tools.compile_kernel.cache import key
from kernelwright.tools.toolchain import Toolchain

_FILES = {
    "include/registration.h": templates.REGISTRATION_H,
    # kernel-builder writes it into torch-ext, and sources beside that folder include it from there.
    "include/torch-ext/registration.h": templates.REGISTRATION_H,
    "torch-ext/registration.h": templates.REGISTRATION_H,
    "include/c10/cuda/impl/cuda_cmake_macros.h": templates.CUDA_CMAKE_MACROS_H,
    **{f"libraries/{name}": text for name, text in templates.LIBRARY_HEADERS.items()},
    "old_systems.cpp": templates.OLD_SYSTEMS_CPP,
    "module.map": templates.VERSION_SCRIPT,
    "tvm_ffi.map": templates.TVM_FFI_VERSION_SCRIPT,
}
_STUBS = ("libtorch_cuda.so", "libc10_cuda.so", "libcuda.so.1")


def folder(cache: Path) -> Path:
    """The folder of the generated files below `cache`, made if need be; its name is their hash."""
    place = cache / "generated" / key(_FILES)[:16]
    for relative, text in _FILES.items():
        _put(place / relative, text.encode())
    return place


def stubs_folder(generated: Path) -> Path:
    """The folder that `stubs` fills, there but perhaps still empty: a box may show it before."""
    place = generated / "stubs"
    place.mkdir(exist_ok=True)
    return place


def stubs(generated: Path, toolchain: Toolchain) -> Path:
    """A folder with empty libraries for those that only a GPU host has, so that a CUDA package can be loaded without one."""
    place = stubs_folder(generated)
    for soname in _STUBS:
        if not (place / soname).exists():
            partial = place / f".{soname}.{uuid.uuid4().hex}"
            argv = [str(toolchain.need_gxx().path), "-shared", "-nostdlib", f"-Wl,-soname,{soname}", "-x", "c++", "/dev/null"]
            subprocess.run([*argv, "-o", str(partial)], check=True, capture_output=True, timeout=60)
            partial.replace(place / soname)
    return place


def _put(path: Path, content: bytes) -> None:
    if path.is_file() and path.stat().st_size == len(content):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    Path(file.name).chmod(0o644)
    Path(file.name).replace(path)
