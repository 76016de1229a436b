"""The MCP inspector, which holds a server to the letter of the protocol, over stdio and over HTTP."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from real_clients import KERNELWRIGHT, TOKEN, Served

pytestmark = pytest.mark.clients
TOOL_ERROR = 5
Inspect = Callable[..., dict[str, Any]]


@pytest.fixture(params=["stdio", "http"])
def inspect(
    request: pytest.FixtureRequest, client: Callable[[str, str], Path], environment: dict[str, str], work: Path
) -> Inspect:
    """`inspect(method, …)`: the result of one request to the server, by the inspector's own command line."""
    program = client("inspector", "mcp-inspector")
    if request.param == "http":
        served: Served = request.getfixturevalue("served")
        target = [served.url, "--transport", "http", "--header", f"Authorization: Bearer {TOKEN}"]
    else:
        target = [str(KERNELWRIGHT), "serve"]

    def ask(method: str, *arguments: str, code: int = 0) -> dict[str, Any]:
        command = [program, "--cli", *target, "--method", method, *arguments]
        done = subprocess.run(
            command, env=environment, cwd=work, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == code, done.stderr[-3000:] + done.stdout[-3000:]
        answer = json.loads(done.stdout)
        assert isinstance(answer, dict)
        return answer

    return ask


def test_tools_are_listed_strictly(inspect: Inspect) -> None:
    tools = {tool["name"]: tool for tool in inspect("tools/list", "--strict")["tools"]}
    assert {"get_arch_guide", "scaffold_kernel", "compile_kernel", "run_benchmark", "publish_to_hub"} <= set(tools)
    assert all({"inputSchema", "outputSchema", "annotations"} <= set(tool) for tool in tools.values())


def test_a_resource_is_read(inspect: Inspect) -> None:
    (contents,) = inspect("resources/read", "--uri", "kernel://references")["contents"]
    assert contents["uri"] == "kernel://references" and "kernel://references/" in contents["text"]


def test_a_tool_is_called(inspect: Inspect) -> None:
    result = inspect("tools/call", "--tool-name", "get_arch_guide", "--tool-arg", "arch=h100")
    assert result["structuredContent"]["compute_capability"] == "9.0"
    assert "NVIDIA H100" in result["content"][0]["text"]


def test_a_tool_that_cannot_be_carried_out_says_why(inspect: Inspect) -> None:
    result = inspect("tools/call", "--tool-name", "get_arch_guide", "--tool-arg", "arch=h1000", code=TOOL_ERROR)
    assert result["isError"] is True
    assert result["structuredContent"]["error"]["code"] == "unknown_arch"
    assert "hint:" in result["content"][0]["text"]
