"""A process that keeps torch imported, so that an import check takes as long as the import: its owner's and its users' side.

Its owner, a server, starts it beside the first compile and takes it along when it ends; whoever compiles is told its address.
Each check is made by a fork of that process, confined by Landlock and seccomp inside the box in which the process itself runs.
A host without Landlock has none, and every check starts a fresh Python.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from kernelwright.tools import gpu, sandbox
from kernelwright.tools.compile_kernel import generated, import_check
from kernelwright.tools.sandbox import Box, Limits, confine, supervise
from kernelwright.tools.sandbox.box import gpu_devices, readable
from kernelwright.tools.toolchain import Toolchain

FORKSERVER = Path(__file__).with_name("forkserver.py")
IDLE_S = 900.0
ANSWER_S = 120.0
LIMITS = Limits(wall_s=7 * 86400.0, memory_bytes=16 << 30, processes=512, file_bytes=1 << 20, output_bytes=1 << 20)


class Warm:
    """The process for the torch of `toolchain`; it checks packages below `visible`. Close it, or use it in a `with` block."""

    def __init__(self, toolchain: Toolchain, cache: Path, visible: Path) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="kernelwright-"))
        self.address = self._folder / "checks"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.address))
        listener.listen(64)
        try:
            with listener:
                self._process = _start(toolchain, cache, visible, listener)
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    @staticmethod
    def possible(toolchain: Toolchain) -> bool:
        """Whether this host can have one."""
        return toolchain.torch is not None and confine.landlock_abi() > 0 and sandbox.available_tier() != "none"

    def alive(self) -> bool:
        """Whether it still answers; it ends by itself when nobody has asked it for a quarter of an hour."""
        return self._process.poll() is None

    def close(self) -> None:
        """End it and everything it started."""
        if self.alive():
            self._process.terminate()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Warm:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def environment(toolchain: Toolchain, stubs: Path) -> dict[str, str]:
    """What a check of a CUDA package needs under a torch without CUDA: the toolkit's libraries, and empty ones for torch's."""
    home = toolchain.cuda_home
    return {"LD_LIBRARY_PATH": ":".join(map(str, [stubs, *((home / "lib64", home / "lib") if home else ())]))}


def ask(address: Path, order: dict[str, Any], stage: Path, torch_version: str) -> dict[str, Any] | None:
    """The answer of `import_check` to `order` about the package below `stage`, with the key `log`; None if there is none."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_S + 30)
            connection.connect(str(address))
            connection.sendall(json.dumps({**order, "stage": str(stage), "torch": torch_version}).encode() + b"\n")
            reply = json.loads(connection.makefile("rb").readline(8 << 20))
    except (OSError, ValueError):
        return None
    return {**reply["answer"], "log": reply["log"]} if reply["answer"] else None


def _start(toolchain: Toolchain, cache: Path, visible: Path, listener: socket.socket) -> subprocess.Popen[bytes]:
    torch = toolchain.need_torch()
    home = toolchain.cuda_home
    env, stubs = {"OMP_NUM_THREADS": "1"}, []
    if torch.cuda is None:
        # A torch that has CUDA must see its own libraries alone. Whoever asks about a CUDA package fills the folder.
        stubs = [generated.stubs_folder(generated.folder(cache))]
        env |= environment(toolchain, stubs[0])
    visible.mkdir(parents=True, exist_ok=True)
    scripts = [FORKSERVER, Path(import_check.__file__), Path(confine.__file__), Path(supervise.__file__)]
    wide = [torch.folder.parent, *stubs, *([home] if home else [])]
    box = Box(read_only=(*scripts, *wide, visible), env=env, gpu=bool(torch.cuda and gpu.devices()), limits=LIMITS)
    python = str(toolchain.host_python)
    options = {
        "listen": listener.fileno(),
        "confine": confine.__file__,
        "supervise": supervise.__file__,
        "read_only": [str(path) for path in readable([python], Box(read_only=tuple(wide), gpu=box.gpu))],
        "devices": [str(path) for path in gpu_devices()] if box.gpu else [],
        "gpu": box.gpu,
        "answer_s": ANSWER_S,
        "idle_s": IDLE_S,
    }
    return subprocess.Popen(
        sandbox.command([python, "-s", str(FORKSERVER), json.dumps(options)], box),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(listener.fileno(),),
    )
