"""Files that nobody writes by hand: whole, whoever makes them at the same time."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kernelwright.tools.compile_kernel import elf, generated
from kernelwright.tools.toolchain import detect


def test_empty_libraries_are_made_by_several_threads_at_once(tmp_path: Path) -> None:
    found = detect(Path(sys.executable), cache=tmp_path)
    folder = generated.folder(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        places = list(pool.map(lambda _: generated.stubs(folder, found), range(4)))
    assert set(places) == {generated.stubs_folder(folder)}
    made = sorted(places[0].iterdir())
    assert [path.name for path in made] == ["libc10_cuda.so", "libcuda.so.1", "libtorch_cuda.so"]
    assert all(elf.read(path).undefined == {} for path in made)
