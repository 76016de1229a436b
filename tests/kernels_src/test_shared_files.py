"""What the projects of the catalogue share is the same in each, since each must stand alone."""

from __future__ import annotations

import pytest
from kernels._rust import Build

from kernelwright.tools import catalogue

OPS = catalogue.names()
SHARED = {
    "{op}_cuda/rows.cuh": OPS,
    "{op}_cuda/launch.cuh": OPS,
    "{op}_cuda/floats.cuh": OPS,
    "{op}_cuda/moments.cuh": ("layernorm", "adaln"),
    "{op}_cuda/gated.cuh": ("swiglu", "geglu"),
    "{op}_cpu/rows.h": OPS,
    "torch-ext/tensors.h": OPS,
    "tests/conftest.py": OPS,
}


@pytest.mark.parametrize("place", SHARED)
def test_shared_files_are_equal(place: str) -> None:
    texts = {op: (catalogue.folder(op) / place.format(op=op)).read_text() for op in SHARED[place]}
    assert [op for op in texts if texts[op] != texts[SHARED[place][0]]] == []


@pytest.mark.parametrize("op", OPS)
def test_build_toml_is_valid(op: str) -> None:
    Build.open(catalogue.folder(op))


@pytest.mark.parametrize("op", OPS)
def test_cuda_sources_stay_off_torch_headers(op: str) -> None:
    for path in (catalogue.folder(op) / f"{op}_cuda").iterdir():
        includes = [line for line in path.read_text().splitlines() if line.startswith("#include")]
        assert includes
        assert not [line for line in includes if "torch" in line or "ATen" in line or "c10" in line]
