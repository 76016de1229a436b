"""The real Claude Code starts the server that `kernelwright setup claude` wrote down, and connects to it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from real_clients import KERNELWRIGHT, TOKEN, Served

pytestmark = pytest.mark.clients


def connected(claude: Path, environment: dict[str, str], work: Path) -> str:
    """What `claude mcp list` says of our server; its exit code is 0 whether or not it connects."""
    done = subprocess.run(
        [claude, "mcp", "list"],
        env=environment,
        cwd=work,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("kernelwright:")]
    assert lines, done.stdout + done.stderr
    return lines[0]


def test_claude_connects_over_stdio(client: Callable[[str, str], Path], environment: dict[str, str], work: Path) -> None:
    claude = client("claude", "claude")
    subprocess.run([KERNELWRIGHT, "setup", "claude"], env=environment, check=True, capture_output=True, cwd=work)
    assert "Connected" in connected(claude, environment, work)


def test_claude_connects_over_http_with_the_token_alone(
    client: Callable[[str, str], Path], environment: dict[str, str], work: Path, served: Served
) -> None:
    claude = client("claude", "claude")
    setup = [KERNELWRIGHT, "setup", "claude", "--url", served.url]
    subprocess.run(setup, env=environment, check=True, capture_output=True, cwd=work)
    assert "Connected" in connected(claude, environment | {"KERNELWRIGHT_TOKEN": TOKEN}, work)
    assert "Connected" not in connected(claude, environment | {"KERNELWRIGHT_TOKEN": "another"}, work)
