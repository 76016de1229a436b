"""The lists that setuptools cannot find out by itself, held true; and the generated part of the README."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from kernelwright.server.docs import generated

TOP = Path(__file__).parents[1]
ROOMS = ("server", "tools")


def test_every_package_is_listed() -> None:
    listed = tomllib.loads((TOP / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {
        "kernelwright." + ".".join(init.parent.relative_to(TOP).parts)
        for room in (*ROOMS, "references", "kernels_src")
        for init in (TOP / room).rglob("__init__.py")
        if room in ROOMS or init.parent == TOP / room
    }
    assert set(listed) == found
    assert len(listed) == len(set(listed))


def test_readme_table_is_generated() -> None:
    readme = (TOP / "README.md").read_text()
    assert readme == generated(readme), "run: make docs"


@pytest.mark.parametrize("room", ["tools", "references", "kernels_src"])
def test_arrows_run_one_way(room: str) -> None:
    for path in (TOP / room).rglob("*.py"):
        assert "kernelwright.server" not in path.read_text(), path


def test_only_the_server_imports_mcp() -> None:
    for room in ("tools", "references", "kernels_src"):
        for path in (TOP / room).rglob("*.py"):
            lines = path.read_text().splitlines()
            assert not [line for line in lines if line.startswith(("import mcp", "from mcp"))], path
