"""A server of one's own: settings below a temporary folder, its tools, and a client connected in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from mcp import Client

from kernelwright.server.app import build, opened
from kernelwright.server.calls import Calls
from kernelwright.server.settings import Settings
from kernelwright.server.workspace import Directories


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled objects, shared by the tests of a session."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The directory that holds the agent's projects."""
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.fixture
def settings(tmp_path: Path, cache: Path) -> Settings:
    return Settings(state_dir=tmp_path / "state", cache_dir=cache)


@pytest.fixture
async def calls(settings: Settings, root: Path) -> AsyncIterator[Calls]:
    async with opened(settings, Directories((root,))) as opened_calls:
        yield opened_calls


@pytest.fixture
async def client(calls: Calls) -> AsyncIterator[Client]:
    async with Client(build(calls), raise_exceptions=True) as connected:
        yield connected


@pytest.fixture
def environment(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """State, cache, configuration and home of child processes below the temporary folder."""
    for name, value in {
        "KERNELWRIGHT_STATE_DIR": tmp_path / "state",
        "KERNELWRIGHT_CACHE_DIR": cache,
        "XDG_CONFIG_HOME": tmp_path / "config",
        "HOME": tmp_path / "home",
    }.items():
        monkeypatch.setenv(name, str(value))
    (tmp_path / "home").mkdir()
    for name in ("KERNELWRIGHT_TOKEN", "HF_TOKEN", "CODEX_HOME", "CLAUDE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    yield
