"""Starts `import_check.py` in a box beside the compilers, and asks it about the package when that is built."""

from __future__ import annotations

import hashlib
import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

from pydantic import BaseModel

from kernelwright.tools import gpu, sandbox
from kernelwright.tools.compile_kernel import dependencies, elf, generated, import_check, registrations, warm
from kernelwright.tools.compile_kernel.registrations import Op
from kernelwright.tools.compile_kernel.target import Target
from kernelwright.tools.sandbox import Box, Limits

# Importing torch takes 2 s, waiting for the compilers as long as they take.
LIMITS = Limits(wall_s=4000.0, memory_bytes=8 << 30, processes=128, file_bytes=1 << 20, output_bytes=1 << 20)
ANSWER_S = 120.0
# What a CPU build of torch cannot define for a CUDA package: the stable ABI's own functions, with the full ABI any of C++, and
# those of the libraries that torch for CUDA brings with it.
ABSENT_WITHOUT_CUDA = (
    "aoti_torch_get_current_cuda_stream",
    "aoti_torch_cuda_",
    *("cublas", "cusparse", "cufft", "curand", "cudnn", "nvrtc", "nccl"),
    "_ZN3c10",
    "_ZNK3c10",
    "_ZN2at",
    "_ZNK2at",
    "_ZN5torch",
)


class Loaded(BaseModel):
    """Whether the package loads; `problem` says in plain data why not, `skipped` why it could not be tried here.

    `elsewhere` names the ops that came into being at the import and are not in the package's namespace. `functions` are the C++
    types of what its ops may be registered with, as `registrations.signatures` has them.
    """

    ok: bool
    ops: list[Op] = []
    elsewhere: list[str] = []
    problem: dict[str, Any] | None = None
    log: str = ""
    skipped: str = ""
    functions: dict[str, list[str]] = {}

    @classmethod
    def answered(cls, answer: Any, log: str) -> Loaded:
        """From what `import_check` says, or the package in its place; raises ValueError for what it does not say."""
        said = answer if isinstance(answer, dict) else {}
        return cls.model_validate(
            {**{key: said[key] for key in ("ok", "ops", "elsewhere", "problem") if key in said}, "log": log}
        )


class Checker:
    """Loads one package from below `stage`, boxed. Use it in a `with` block.

    With `warm_at`, the address of a process that keeps torch imported, that one is asked first, and only a package that loads
    is taken from it: whatever else it says is found out again by a fresh process, which without `warm_at` starts at once.
    """

    def __init__(self, stage: Path, target: Target, generated_files: Path, warm_at: Path | None = None) -> None:
        self._stage = stage
        self._target = target
        self._generated = generated_files
        self._warm = warm_at
        self._pool = ThreadPoolExecutor(1)
        # Nothing of this may be seen by a torch that has CUDA: its own libraries must win.
        foreign = target.backend == "cuda" and target.toolchain.need_torch().cuda is None
        self._stubs = self._pool.submit(generated.stubs, generated_files, target.toolchain) if foreign else None
        self._process = None if warm_at else self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        target, chain = self._target, self._target.toolchain
        torch = chain.need_torch()
        script = Path(import_check.__file__)
        roots = [self._stage, script, torch.folder.parent]
        env = {"OMP_NUM_THREADS": "1"}
        if self._stubs:
            stubs = generated.stubs_folder(self._generated)
            env |= warm.environment(chain, stubs)
            roots += [stubs, *([chain.cuda_home] if chain.cuda_home else [])]
        # Packages may ask for the device's properties when they are imported.
        box = Box(read_only=tuple(roots), env=env, gpu=target.backend == "cuda" and bool(gpu.devices()), limits=LIMITS)
        argv = [str(chain.host_python), "-s", str(script)]
        return subprocess.Popen(
            sandbox.command(argv, box), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def __enter__(self) -> Checker:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._pool.shutdown()
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.terminate()
        self._process.communicate()

    def ask(self, order: dict[str, Any]) -> Loaded:
        """Load the package that `order` describes; a process that dies or hangs is an answer too."""
        if self._stubs:
            self._stubs.result()
        if self._warm:
            answer = warm.ask(self._warm, order, self._stage, self._target.toolchain.need_torch().version)
            with suppress(ValueError):
                loaded = Loaded.answered(answer, str(answer["log"])[-20000:] if answer else "")
                if loaded.ok:
                    return loaded
        self._process = self._process or self._start()
        try:
            out, err = self._process.communicate(json.dumps(order).encode() + b"\n", timeout=ANSWER_S)
        except subprocess.TimeoutExpired:
            return Loaded(ok=False, problem={"kind": "hang", "message": f"the import did not end within {ANSWER_S:.0f} s"})
        log = err.decode("utf-8", "replace")[-20000:]
        try:
            return Loaded.answered(json.loads(out.decode("utf-8", "replace").splitlines()[-1]), log)
        except (ValueError, IndexError):
            ended = sandbox.describe_exit(self._process.returncode)
            return Loaded(ok=False, problem={"kind": "crash", "message": f"the import ended the process: {ended}"}, log=log)


@cache
def version() -> str:
    """Changes with what is checked: what an older check found says nothing about a newer one."""
    made_by = (Path(import_check.__file__), Path(registrations.__file__))
    return hashlib.sha256(b"".join(path.read_bytes() for path in made_by)).hexdigest()


def order(folder: Path, name: str, library: Path | None, target: Target) -> dict[str, Any]:
    """What the checker is asked about the variant in `folder`."""
    here = target.toolchain.need_torch()
    foreign = target.backend == "cuda" and here.cuda is None
    symbols: list[str] = []
    libraries = [str(path) for path in sorted(here.lib.glob("lib*.so"))]
    if library:
        dynamic = elf.read(library)
        libraries += dynamic.needed
        if target.framework == "tvm-ffi":
            folders = [flag[2:] for flag in dependencies.tvm_ffi(target.toolchain).link if flag.startswith("-L")]
            libraries += [f"{folder}/libtvm_ffi.so" for folder in folders]
        absent = ABSENT_WITHOUT_CUDA
        symbols = [
            symbol
            for symbol in dynamic.undefined
            if symbol not in dynamic.weak and not symbol.startswith("_Py") and not (foreign and symbol.startswith(absent))
        ]
    return {
        "folder": str(folder),
        "id": name,
        "namespace": name,
        "lazy": foreign,
        "libraries": libraries,
        "symbols": symbols,
        "keys": ["CUDA" if target.backend == "cuda" else "CPU"],
    }
