"""The server over streamable HTTP, on the machine that has the GPU."""

from __future__ import annotations

import hmac
import ipaddress
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio
import uvicorn
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from kernelwright.server.app import build, opened
from kernelwright.server.calls import Calls
from kernelwright.server.settings import Settings
from kernelwright.server.workspace import HostedWorkspaces
from kernelwright.tools.tool import ToolError

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class BearerToken:
    """Lets only requests with the token through; `/health` says nothing that needs one."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app = app
        self.expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] != "/health":
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(given, self.expected):
                answer = JSONResponse(
                    {"error": "unauthorized", "hint": "Send the server's token as 'Authorization: Bearer TOKEN'."},
                    status_code=401,
                    headers={"WWW-Authenticate": "Bearer"},
                )
                await answer(scope, receive, send)
                return
        await self.app(scope, receive, send)


def address(text: str) -> tuple[str, int]:
    """``HOST:PORT`` taken apart; a ToolError when it is none."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ToolError("bad_argument", f"{text!r} is no address.", "Give HOST:PORT, e.g. 127.0.0.1:8765.")
    return host.strip("[]"), int(port)


def listen(host: str, port: int) -> socket.socket:
    """A socket on the address; a ToolError when that cannot be bound."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ToolError("conflict", f"{host}:{port} cannot be bound: {reason}.", "Choose another address or port.") from error


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def allowed(settings: Settings, host: str) -> TransportSecuritySettings:
    """The Host and Origin headers that are answered: loopback, the bound address, and what the settings add."""
    names = list(dict.fromkeys([*LOOPBACK, host, *settings.allowed_hosts]))
    hosts = [*names, *(f"{name}:*" for name in names)]
    origins = [f"{scheme}://{name}" for scheme in ("http", "https") for name in hosts]
    return TransportSecuritySettings(enable_dns_rebinding_protection=True, allowed_hosts=hosts, allowed_origins=origins)


def application(calls: Calls, settings: Settings, host: str, token: str | None) -> ASGIApp:
    """The ASGI application: `/mcp` and `/health`, behind the token if there is one."""
    mcp = build(calls).streamable_http_app(
        stateless_http=True,
        json_response=False,
        max_request_body_size=settings.max_body_bytes,
        transport_security=allowed(settings, host),
    )

    async def health(_: Request) -> JSONResponse:
        return JSONResponse({"status": "ok", "queued": calls.jobs.queued()})

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with mcp.router.lifespan_context(mcp):
            yield

    app: ASGIApp = Starlette(routes=[Route("/health", health), Mount("/", mcp)], lifespan=lifespan)
    return BearerToken(app, token) if token else app


async def serve(settings: Settings, bind: str) -> None:
    """Serve until SIGTERM or SIGINT. Without a token only loopback is bound; raises ToolError for anything else."""
    host, port = address(bind)
    token = settings.bearer_token()
    if token is None and not is_loopback(host):
        raise ToolError(
            "bad_argument",
            f"{bind} can be reached from other machines and there is no token.",
            "Set KERNELWRIGHT_TOKEN or --token-file, or bind 127.0.0.1.",
        )
    listener = listen(host, port)
    settings.workspaces_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    async with opened(settings, HostedWorkspaces(settings.workspaces_dir)) as calls:
        config = uvicorn.Config(application(calls, settings, host, token), log_level="warning", timeout_graceful_shutdown=3)
        server = _Server(config)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_end_on_signal, server)
            tasks.start_soon(_announce, server, host, listener.getsockname()[1])
            await server.serve(sockets=[listener])
            tasks.cancel_scope.cancel()


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: uvicorn raises them again when it has ended, which would kill this process before its jobs."""
        yield


async def _end_on_signal(server: uvicorn.Server) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            server.should_exit = True


async def _announce(server: uvicorn.Server, host: str, port: int) -> None:
    while not server.started:
        await anyio.sleep(0.02)
    sys.stderr.write(f"Kernelwright listens on http://{host}:{port}/mcp\n")
    sys.stderr.flush()
