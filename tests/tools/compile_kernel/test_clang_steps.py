"""clang in nvcc's place: the container is NVIDIA's byte for byte, and nvcc's arguments reach whom they are meant for."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernelwright.tools.compile_kernel import clang_steps
from kernelwright.tools.toolchain import detect

IMAGES = st.lists(
    st.tuples(st.sampled_from(["70", "80", "90", "90a"]), st.just(clang_steps._ELF), st.binary(min_size=9, max_size=50)),
    max_size=5,
)


def unpacked(data: bytes) -> list[tuple[int, int, bytes]]:
    """Architecture, kind and padded bytes of every image of the container that `data` starts with."""
    magic, _, at, size = struct.unpack_from("<IHHQ", data)
    assert magic == 0xBA55ED50
    found, end = [], at + size
    while at < end:
        kind, _, head, length = struct.unpack_from("<HHIQ", data, at)
        found.append((struct.unpack_from("<I", data, at + 28)[0], kind, data[at + head : at + head + length]))
        at += head + length
    assert at == end
    return found


@given(IMAGES)
def test_what_is_packed_can_be_read(images: list[tuple[str, int, bytes]]) -> None:
    found = unpacked(clang_steps.container(images))
    assert [(f"{number}", kind, data.rstrip(b"\0")) for number, kind, data in found] == [
        (name.rstrip("a"), kind, data.rstrip(b"\0")) for name, kind, data in images
    ]
    assert all(len(data) % 8 == 0 for _, _, data in found)


def test_the_container_is_nvidias(tmp_path: Path) -> None:
    nvcc = detect(Path(sys.executable), cache=tmp_path).nvcc
    if nvcc is None:
        pytest.skip("needs nvcc")
    source = tmp_path / "x.cu"
    source.write_text("__global__ void f(float* x) { *x = 1; }\n")
    for number in ("80", "90a"):
        subprocess.run([nvcc.path, "-cubin", f"-arch=sm_{number}", source, "-o", tmp_path / f"{number}.cubin"], check=True)
    ptx = b".version 8.5\n.target sm_90\n.address_size 64\n"
    (tmp_path / "90.ptx").write_bytes(ptx)
    images = ["kind=elf,sm=80,file=80.cubin", "kind=elf,sm=90a,file=90a.cubin", "kind=ptx,sm=90,file=90.ptx"]
    argv = [nvcc.path.with_name("fatbinary"), "-64", "--create=theirs", "--compress-mode=none"]
    subprocess.run([*argv, *(f"--image3={image}" for image in images)], check=True, cwd=tmp_path)
    elf, text = clang_steps._ELF, clang_steps._PTX
    machine = [(number, elf, (tmp_path / f"{number}.cubin").read_bytes()) for number in ("80", "90a")]
    assert clang_steps.container([*machine, ("90", text, ptx)]) == (tmp_path / "theirs").read_bytes()


def test_nvccs_arguments_are_sorted_by_who_needs_them() -> None:
    order = clang_steps.understood(
        [
            *("-O3", "-std=c++20", "--expt-relaxed-constexpr", "-Xcompiler=-fPIC,-fno-gnu-unique,-fopenmp", "--resource-usage"),
            *("-ccbin=/usr/bin/g++", "--threads=4", "-gencode=arch=compute_90,code=sm_90", "-DA=1", "-Xptxas=-O2,-dlcm=cg"),
            *("-gencode=arch=compute_90,code=compute_90", "-gencode=arch=compute_90a,code=sm_90a", "--use_fast_math"),
            *(
                "--maxrregcount=64",
                "-diag-suppress=177",
                "-lineinfo",
                "-Iinclude",
                "-isystem",
                "/a b",
                "-c",
                "x.cu",
                "-o",
                "x.o",
            ),
            *("-MD", "-MF", "x.d", "--keep", "--keep-dir=/k"),
        ]
    )
    assert (order.source, order.object, order.depfile, order.keep) == ("x.cu", Path("x.o"), Path("x.d"), Path("/k"))
    assert order.common == ["-O3", "-std=c++20", "-DA=1", "-Iinclude", "-isystem", "/a b"]
    assert order.host == ["-fPIC", "-fopenmp"]
    assert order.ptxas == ["-O2", "-dlcm=cg", "--maxrregcount=64"]
    assert order.codes == {"90": {"sm", "compute"}, "90a": {"sm"}}
    assert "-fgpu-flush-denormals-to-zero" in order.device
