"""What only a GPU can run compiles and imports here: the suite's CUDA by nvcc, each package's Python by itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cheats_gpu import CHEATS
from court_texts_gpu import GOOD_CU, GOOD_PYTHON
from honest_gpu import HONEST

from kernelwright.tools import toolchain

# Each in a fork of its own: some of them patch what they find, and torch is imported once.
IMPORT_ALL = """
import json, os, sys
import torch
for name, source in json.load(open(sys.argv[1])).items():
    pid = os.fork()
    if pid == 0:
        space = {"__name__": "package", "__file__": sys.argv[2]}
        exec(compile(source, name, "exec"), space)
        os._exit(0 if callable(space["norm"]) else 1)
    if os.waitpid(pid, 0)[1]: print(name)
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The CUDA library of the suite, for the GPU that the suite is written for."""
    folder = tmp_path_factory.mktemp("compiled")
    nvcc = toolchain.detect(Path(sys.executable), cache=folder).nvcc
    if nvcc is None:
        pytest.skip("needs nvcc")
    (folder / "good.cu").write_text(GOOD_CU)
    flags = ["-O1", "-shared", "-Xcompiler", "-fPIC", "-arch=sm_90", "-Werror", "all-warnings"]
    built = subprocess.run(
        [str(nvcc.path), *flags, "-o", str(folder / "libgood.so"), str(folder / "good.cu")], capture_output=True, text=True
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder / "libgood.so"


def test_every_package_of_the_gpu_suite_imports(library: Path) -> None:
    # The real harness is not there, so what reaches into it is left to the GPU.
    texts = {name: cheat.source for name, cheat in CHEATS.items() if "sys.modules" not in cheat.source}
    texts |= {name: source for name, (source, _) in HONEST.items()}
    listed = library.with_name("texts.json")
    listed.write_text(json.dumps({name: GOOD_PYTHON + source for name, source in texts.items()}))
    package = library.with_name("__init__.py")
    ran = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, str(listed), str(package)], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "", ran.stdout + ran.stderr


def test_every_kernel_that_a_package_names_is_in_the_library(library: Path) -> None:
    import ctypes
    import re

    entries = ctypes.CDLL(str(library))
    sources = [cheat.source for cheat in CHEATS.values()] + [source for source, _ in HONEST.values()]
    named = {name for source in sources for name in re.findall(r"'(norm_\w+)'", source)}
    assert {"norm_by_count", "norm_split"} <= named
    assert [name for name in named if not hasattr(entries, f"suite_{name}")] == []


def test_there_are_enough_of_both() -> None:
    assert len(CHEATS) >= 30 and len(HONEST) >= 12
