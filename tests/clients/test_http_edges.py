"""What a served Kernelwright refuses before any tool sees it."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Iterator

import pytest
from real_clients import TOKEN, Served, serving

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for all of them: none of these requests reaches anything that could change it."""
    place = tmp_path_factory.mktemp("served")
    with serving({"PATH": os.environ["PATH"], "HOME": str(place), "KERNELWRIGHT_TOKEN": TOKEN}, place) as one:
        yield one


def post(served: Served, body: bytes, **headers: str) -> tuple[int, str]:
    """Status and text of a POST to the MCP endpoint; a header set to an empty string is left out."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    sent = {
        "Authorization": f"Bearer {TOKEN}",
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
    } | headers
    try:
        connection.request("POST", "/mcp", body, {name: value for name, value in sent.items() if value})
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")
    finally:
        connection.close()


def test_with_the_token_it_answers(served: Served) -> None:
    status, text = post(served, json.dumps(INITIALIZE).encode())
    assert status == 200 and '"name":"kernelwright"' in text.replace(" ", "")


@pytest.mark.parametrize("authorization", ["", "Bearer another", f"Basic {TOKEN}", TOKEN, "Bearer "])
def test_without_the_token_401(served: Served, authorization: str) -> None:
    status, text = post(served, json.dumps(INITIALIZE).encode(), Authorization=authorization)
    assert status == 401 and "Authorization: Bearer" in text


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Host": "evil.example:80"}, {"Origin": "https://evil.example"}])
def test_a_foreign_host_or_origin_is_refused(served: Served, headers: dict[str, str]) -> None:
    status, _ = post(served, json.dumps(INITIALIZE).encode(), **headers)
    assert status in {403, 421}


def test_a_body_over_the_limit_413(served: Served) -> None:
    body = json.dumps({**INITIALIZE, "padding": "x" * (5 << 20)}).encode()
    status, _ = post(served, body)
    assert status == 413
