"""The protocol's own conformance suite: every scenario that asks nothing of a server but the protocol."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from real_clients import Served, serving

pytestmark = pytest.mark.clients
SCENARIOS = (
    "server-initialize",
    "ping",
    "tools-list",
    "resources-list",
    "prompts-list",
    "completion-complete",
    "dns-rebinding-protection",
    "caching",
    "http-header-validation",
    "sep-2164-resource-not-found",
    "sep-2640-skills-enumeration",
    "sep-2640-skills-manifest",
    "server-stateless",
)
# These two want a tool `test_missing_capability` that only a server made for the suite has.
OF_FIXTURES = {"sep-2575-server-rejects-undeclared-capability", "sep-2575-missing-capability-http-400"}
_COLOURS = re.compile(r"\x1b\[\d*m")
_CHECK = re.compile(r"\[([\w-]+) *\] (SUCCESS|FAILURE|WARNING|SKIPPED|INFO)")


@pytest.fixture
def open_server(environment: dict[str, str], tmp_path: Path) -> Iterator[Served]:
    """A server without a token: the suite sends none."""
    with serving(environment, tmp_path / "server") as served:
        yield served


def test_the_protocols_own_suite(client: Callable[[str, str], Path], environment: dict[str, str], open_server: Served) -> None:
    program = client("conformance", "conformance")
    wrong = {}
    for scenario in SCENARIOS:
        command = [program, "server", "--url", open_server.url, "--scenario", scenario]
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        checks = _CHECK.findall(_COLOURS.sub("", done.stdout))
        assert any(state == "SUCCESS" for _, state in checks), f"{scenario} checked nothing: {done.stdout}{done.stderr}"
        failed = {name for name, state in checks if state == "FAILURE"} - OF_FIXTURES
        if failed:
            wrong[scenario] = done.stdout
    assert not wrong, "\n".join(wrong.values())
