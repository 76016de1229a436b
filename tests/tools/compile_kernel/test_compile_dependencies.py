"""Where the headers of `depends` are looked for, and what is said where they are not."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

from kernelwright.tools.compile_kernel.dependencies import Dependency, MissingError, find
from kernelwright.tools.toolchain import Toolchain, detect


@pytest.fixture
def toolchain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toolchain:
    """This host's, with one empty folder of Python packages and one of headers."""
    monkeypatch.delenv("CUTLASS_SRC_DIR", raising=False)
    found = detect(Path(sys.executable), cache=tmp_path / "cache")
    packages = dataclasses.replace(found.python, paths=(tmp_path / "packages",))
    return dataclasses.replace(found, python=packages, extras=tmp_path / "extras")


def cutlass(place: Path, version: str, header: str = "version.h") -> Path:
    major, minor = version.split(".")
    folder = place / "include" / "cutlass"
    folder.mkdir(parents=True)
    (folder / "cutlass.h").touch()
    (folder / header).write_text(f"#define CUTLASS_MAJOR {major}\n#define CUTLASS_MINOR {minor}\n#define CUTLASS_PATCH 9\n")
    return place


def first(found: Dependency) -> Path:
    return found.include[0].parent


def refusal(name: str, toolchain: Toolchain) -> MissingError:
    with pytest.raises(MissingError) as error:
        find(name, toolchain)
    return error.value


@pytest.mark.parametrize(
    ("name", "wheel"),
    [("cutlass_3_6", "nvidia-cutlass==3.6.0"), ("cutlass_4_4", "flashinfer-python=="), ("cutlass_4_5", "flashinfer-python==")],
)
def test_headers_that_a_wheel_holds_are_told_with_the_command(name: str, wheel: str, toolchain: Toolchain) -> None:
    error = refusal(name, toolchain)
    assert f"-m pip install --no-deps --target {toolchain.extras / name} {wheel}" in error.hint
    assert "CUTLASS_SRC_DIR" in error.hint


@pytest.mark.parametrize("name", ["cutlass_2_10", "cutlass_5_0"])
def test_headers_that_no_wheel_holds_are_told_with_the_variable_that_helps(name: str, toolchain: Toolchain) -> None:
    error = refusal(name, toolchain)
    assert name.removeprefix("cutlass_").replace("_", ".") in error.message
    assert "CUTLASS_SRC_DIR" in error.hint
    assert "pip install" not in error.hint


@pytest.mark.parametrize("inside", ["cutlass_library/source", "flashinfer/data/cutlass"])
def test_headers_of_a_wheel_are_found_where_it_was_put(inside: str, toolchain: Toolchain) -> None:
    place = cutlass(toolchain.extras / "cutlass_4_5" / inside, "4.5")
    assert first(find("cutlass_4_5", toolchain)) == place
    assert "4.4" in refusal("cutlass_4_4", toolchain).message


def test_the_checkout_that_is_named_goes_first(toolchain: Toolchain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cutlass(toolchain.extras / "cutlass_2_10" / "cutlass_library/source", "3.3")
    place = cutlass(tmp_path / "checkout", "2.10", "cutlass.h")
    monkeypatch.setenv("CUTLASS_SRC_DIR", str(place))
    assert first(find("cutlass_2_10", toolchain)) == place


@pytest.mark.parametrize(
    ("name", "fits"), [("cutlass_4_0", True), ("cutlass_3_9", True), ("cutlass_4_5", False), ("cutlass_2_10", False)]
)
def test_headers_of_host_python_serve_what_is_written_for_them_or_for_older_ones(
    name: str, fits: bool, toolchain: Toolchain
) -> None:
    place = cutlass(toolchain.python.paths[0] / "cutlass_library/source", "4.2")
    if fits:
        assert first(find(name, toolchain)) == place
    else:
        assert "those of 4.2 in host_python" in refusal(name, toolchain).message
