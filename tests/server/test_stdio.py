"""The real server over real standard input and output: start, end of input, SIGTERM, and what it never imports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from endless import NEVER_ENDS
from mcp import Client, StdioServerParameters

from kernelwright.tools.processes import descendants, is_running

HEAVY = ("torch", "triton", "transformers", "huggingface_hub")
pytestmark = pytest.mark.usefixtures("environment")


class Server:
    """`kernelwright serve` as a client starts it, spoken to in lines of JSON."""

    def __init__(self, cwd: Path) -> None:
        command = [sys.executable, "-m", "kernelwright.server.cli", "serve"]
        self.process = subprocess.Popen(command, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        about = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
        self.initialized = self.ask("initialize", about)
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdout
        self.send({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        while True:
            answer: dict[str, Any] = json.loads(self.process.stdout.readline())
            if answer.get("id") == 1:
                result: dict[str, Any] = answer["result"]
                return result

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        data: dict[str, Any] = self.ask("tools/call", {"name": tool, "arguments": arguments})["structuredContent"]
        return data

    def start_endless_compile(self, cwd: Path) -> list[int]:
        """Start a compile that never ends; the processes below the server once the compiler runs."""
        self.call("scaffold_kernel", op="rmsnorm", name="endless")
        source = next((cwd / "endless").glob("*_cpu/rmsnorm.cpp"))
        source.write_text(NEVER_ENDS + source.read_text())
        self.call("compile_kernel", project="endless", backend="cpu", wait_s=0)
        return wait_for_compiler(self.process.pid)


def wait_for_compiler(server: int) -> list[int]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        below = descendants(server)
        if any(name(pid) == "cc1plus" for pid in below):
            return below
        time.sleep(0.05)
    raise AssertionError("the compiler never started")


def name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def alive(pids: list[int]) -> list[str]:
    return [f"{pid} {name(pid)}" for pid in pids if is_running(pid)]


@pytest.fixture
def server(root: Path) -> Iterator[Server]:
    started = Server(root)
    yield started
    started.process.kill()
    started.process.wait()


def test_introduces_itself(server: Server) -> None:
    assert server.initialized["serverInfo"]["name"] == "kernelwright"
    assert server.initialized["instructions"]
    assert set(server.initialized["capabilities"]) >= {"tools", "resources", "prompts", "completions"}


def test_end_of_input_ends_the_server_and_every_process(server: Server, root: Path) -> None:
    below = server.start_endless_compile(root)
    assert server.process.stdin
    server.process.stdin.close()
    assert server.process.wait(20) == 0
    assert alive(below) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_and_every_process(server: Server, root: Path, number: signal.Signals) -> None:
    below = server.start_endless_compile(root)
    server.process.send_signal(number)
    assert server.process.wait(20) == 0
    assert alive(below) == []


def test_killing_the_server_takes_its_processes_along(server: Server, root: Path, tmp_path: Path) -> None:
    below = server.start_endless_compile(root)
    server.process.kill()
    server.process.wait()
    deadline = time.monotonic() + 20
    while alive(below) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert alive(below) == []
    again = Server(root)
    job = next((tmp_path / "state" / "jobs").iterdir()).name
    assert again.call("get_job", job_id=job, wait_s=0)["status"] == "interrupted"
    again.process.kill()
    again.process.wait()


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_both_eras_of_the_protocol_see_progress(root: Path, mode: Any) -> None:
    command = ["-m", "kernelwright.server.cli", "serve"]
    parameters = StdioServerParameters(command=sys.executable, args=command, cwd=root, env=dict(os.environ))
    messages: list[str] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        messages.append(message or "")

    async with Client(parameters, mode=mode) as client:
        await client.call_tool("scaffold_kernel", {"op": "rmsnorm", "name": f"norm-{mode}"})
        arguments = {"project": f"norm-{mode}", "backend": "cpu", "wait_s": 240}
        built = await client.call_tool("compile_kernel", arguments, progress_callback=on_progress)
    assert built.structured_content["status"] == "ok"
    assert any("compil" in message or "link" in message or "build" in message for message in messages), messages


def test_the_server_never_imports_torch_and_its_like(root: Path) -> None:
    script = f"""
import sys, anyio
from pathlib import Path
from mcp import Client
from kernelwright.server import http, stdio
from kernelwright.server.app import build, opened
from kernelwright.server.settings import Settings
from kernelwright.server.workspace import Directories
async def main():
    async with opened(Settings(), Directories((Path.cwd(),))) as calls, Client(build(calls)) as client:
        await client.list_tools()
        for tool, arguments in [("get_arch_guide", {{"arch": "h200"}}), ("list_hosts", {{}}), ("read_reference", {{}}),
                                ("scaffold_kernel", {{"op": "rmsnorm", "name": "a-norm"}}),
                                ("compile_kernel", {{"project": "a-norm", "backend": "cpu", "wait_s": 0}})]:
            result = await client.call_tool(tool, arguments)
            assert not result.is_error, result
anyio.run(main)
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
