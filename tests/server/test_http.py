"""The server over HTTP: who gets in, and that a project sent as files is built there."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from endless import NEVER_ENDS
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from test_stdio import alive, wait_for_compiler

from kernelwright.server.http import address, is_loopback
from kernelwright.tools import catalogue
from kernelwright.tools.tool import ToolError

TOKEN = "a-token-of-the-test"
HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}
HEADERS = {"Accept": "application/json, text/event-stream", "Authorization": f"Bearer {TOKEN}"}
pytestmark = pytest.mark.usefixtures("environment")


class HttpServer:
    """`kernelwright serve --http` in a process of its own."""

    def __init__(self, token: str | None, bind: str = "127.0.0.1:0") -> None:
        environment = os.environ | ({"KERNELWRIGHT_TOKEN": token} if token else {})
        command = [sys.executable, "-m", "kernelwright.server.cli", "serve", "--http", bind]
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr
        self.said = self.process.stderr.readline()
        self.url = self.said.split()[-1]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[HttpServer]:
    started = HttpServer(TOKEN)
    yield started
    started.process.kill()
    started.process.wait()


def files_of(op: str) -> dict[str, str]:
    """A catalogue project as a client that holds it in its sandbox would send it."""
    return {str(path): (catalogue.folder(op) / path).read_text() for path in catalogue.files(op)}


def connected(server: HttpServer, token: str | None = TOKEN) -> Client:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return Client(streamable_http_client(server.url, http_client=httpx2.AsyncClient(headers=headers, timeout=300)))


@pytest.mark.anyio
async def test_a_project_sent_as_files_is_built_and_judged(server: HttpServer, tmp_path: Path) -> None:
    async with connected(server) as client:
        files = files_of("rmsnorm")
        built = await client.call_tool(
            "compile_kernel", {"project": "sent-norm", "files": files, "backend": "cpu", "wait_s": 240}
        )
        assert built.structured_content["status"] == "ok", built
        assert str(tmp_path) not in built.content[0].text
        again = await client.call_tool("compile_kernel", {"project": "sent-norm", "backend": "cpu", "wait_s": 240})
        assert again.structured_content["cached"]
        arguments = {"project": "sent-norm", "backend": "cpu", "shapes": [[4, 128]], "dtypes": ["float32"], "baselines": []}
        judged = await client.call_tool("run_benchmark", arguments | {"wait_s": 240})
        assert judged.structured_content["verdict"] in {"ok", "inconclusive"}, judged
        assert judged.structured_content["rows"][0]["correct"]
        assert str(tmp_path) not in str(judged.structured_content)
    assert (tmp_path / "state" / "workspaces" / "sent-norm" / "build.toml").is_file()


@pytest.mark.anyio
async def test_scaffolding_makes_a_workspace_and_names_no_path(server: HttpServer, tmp_path: Path) -> None:
    async with connected(server) as client:
        made = (await client.call_tool("scaffold_kernel", {"op": "rmsnorm", "name": "hosted-norm"})).structured_content
        assert (made["project"], made["path"]) == ("hosted-norm", "")
        text = (await client.read_resource("kernel://projects/hosted-norm/build.toml")).contents[0].text
        assert "hosted-norm" in text
        for project in ("/etc", "../state", "hosted-norm/../..", str(tmp_path)):
            result = await client.call_tool("compile_kernel", {"project": project})
            assert result.structured_content["error"]["code"] == "bad_argument"


def test_without_the_token_nothing_answers(server: HttpServer) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}, {"Authorization": TOKEN}):
        answer = httpx2.post(server.url, json=HELLO, headers={"Accept": HEADERS["Accept"], **headers})
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert httpx2.post(server.url, json=HELLO, headers=HEADERS).status_code == 200
    assert httpx2.get(server.url.replace("/mcp", "/health")).json()["status"] == "ok"


def test_foreign_host_and_origin_are_refused(server: HttpServer) -> None:
    foreign_host = httpx2.post(server.url, json=HELLO, headers=HEADERS | {"Host": "evil.example"})
    foreign_origin = httpx2.post(server.url, json=HELLO, headers=HEADERS | {"Origin": "http://evil.example"})
    assert (foreign_host.status_code, foreign_origin.status_code) == (421, 403)


def test_a_body_over_the_limit_is_refused(server: HttpServer) -> None:
    body = b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"x": "' + b"x" * (5 << 20) + b'"}}'
    answer = httpx2.post(server.url, content=body, headers=HEADERS | {"Content-Type": "application/json"})
    assert answer.status_code == 413


def test_without_a_token_only_loopback_is_bound() -> None:
    command = [sys.executable, "-m", "kernelwright.server.cli", "serve", "--http", "0.0.0.0:0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "KERNELWRIGHT_TOKEN" in done.stderr
    open_server = HttpServer(None)
    assert httpx2.post(open_server.url, json=HELLO, headers={"Accept": HEADERS["Accept"]}).status_code == 200
    assert open_server.stop() == 0


def test_a_token_file_serves_as_well(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text(TOKEN + "\n")
    os.environ["KERNELWRIGHT_TOKEN_FILE"] = str(secret)
    try:
        started = HttpServer(None)
    finally:
        del os.environ["KERNELWRIGHT_TOKEN_FILE"]
    assert httpx2.post(started.url, json=HELLO, headers={"Accept": HEADERS["Accept"]}).status_code == 401
    assert httpx2.post(started.url, json=HELLO, headers=HEADERS).status_code == 200
    assert started.stop() == 0


@pytest.mark.anyio
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_server_and_every_process(server: HttpServer, number: signal.Signals) -> None:
    files = files_of("rmsnorm")
    source = next(path for path in files if path.endswith("_cpu/rmsnorm.cpp"))
    files[source] = NEVER_ENDS + files[source]
    async with connected(server) as client:
        await client.call_tool("compile_kernel", {"project": "endless", "files": files, "backend": "cpu", "wait_s": 0})
        below = wait_for_compiler(server.process.pid)
    assert server.stop(number) == 0
    assert alive(below) == []


def test_a_taken_port_is_said_plainly() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        command = [sys.executable, "-m", "kernelwright.server.cli", "serve", "--http", bind]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert bind in done.stderr


@pytest.mark.parametrize(("text", "parts"), [("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:8765", ("::1", 8765))])
def test_addresses(text: str, parts: tuple[str, int]) -> None:
    assert address(text) == parts
    assert is_loopback(parts[0])


@pytest.mark.parametrize("text", ["", "127.0.0.1", ":80", "host:port", "host:70000"])
def test_bad_addresses(text: str) -> None:
    with pytest.raises(ToolError):
        address(text)
