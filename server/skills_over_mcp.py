"""The skill over MCP: the extension ``io.modelcontextprotocol/skills`` (SEP-2640, written for 2026-07-28 and later)."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any, TypedDict

import anyio.to_thread
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from kernelwright.server import skill
from kernelwright.tools.tool import ToolError

EXTENSION = "io.modelcontextprotocol/skills"
SCHEME = "skill://"
URI = f"{SCHEME}{skill.NAME}/SKILL.md"
# The entry changes only with the installed version and holds nothing of a user.
_FRESH = {"ttlMs": 300_000, "cacheScope": "public"}

RequestContext = ServerRequestContext[Any, Any]


class SkillResource(TypedDict):
    """A file of the skill: where it is read, ``sha256:`` and 64 hexadecimal digits of its bytes, and their number."""

    uri: str
    digest: str
    size: int


class Skill(TypedDict):
    """The entry of the skill: its ``SKILL.md``, that file's frontmatter as written, and every file."""

    uri: str
    frontmatter: dict[str, str]
    resources: list[SkillResource]


class GetSkillParams(types.RequestParams):
    """The skill asked for, by the URI of its ``SKILL.md``."""

    uri: str


def add_skills(server: Server[Any]) -> None:
    """Let `server` declare the extension and answer ``skills/list`` and ``skills/get``; reads no file yet."""
    server.extensions[EXTENSION] = {}
    server.add_request_handler("skills/list", types.PaginatedRequestParams, _list)
    server.add_request_handler("skills/get", GetSkillParams, _get)


def listed() -> types.Resource:
    """The skill's ``SKILL.md`` among the resources, for clients that do not know the extension."""
    return types.Resource(uri=URI, name=skill.NAME, description=skill.DESCRIPTION, mime_type="text/markdown")


def read(uri: str) -> str:
    """The text of one of the skill's files; raises `ToolError` `not_found` for any other URI."""
    text = _texts().get(uri)
    if text is None:
        raise ToolError("not_found", f"The skill has no file {uri!r}.", f"Read {URI}: it links to all of them.")
    return text


@cache
def entry() -> Skill:
    """The skill as ``skills/list`` and ``skills/get`` describe it, of the very texts that `read` returns."""
    resources = []
    for uri, text in _texts().items():
        data = text.encode()
        resources.append(SkillResource(uri=uri, digest=f"sha256:{hashlib.sha256(data).hexdigest()}", size=len(data)))
    frontmatter = {"name": skill.NAME, "description": skill.DESCRIPTION, "license": "Apache-2.0"}
    return Skill(uri=URI, frontmatter=frontmatter, resources=resources)


@cache
def _texts() -> dict[str, str]:
    # Kept for the life of the server: a client refuses a file that changed after it was listed.
    return {f"{SCHEME}{skill.NAME}/{path}": text for path, text in skill.skill_files().items()}


def _modern(
    handler: Callable[[Any], Awaitable[dict[str, Any]]],
) -> Callable[[RequestContext, Any], Awaitable[dict[str, Any]]]:
    """`handler` for the protocol versions that the extension is written for; older ones do not have its methods."""

    async def gated(context: RequestContext, params: Any) -> dict[str, Any]:
        if context.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            raise MCPError(types.METHOD_NOT_FOUND, "Method not found", context.method)
        return {"resultType": "complete", **await handler(params), **_FRESH}

    return gated


@_modern
async def _list(_: types.PaginatedRequestParams) -> dict[str, Any]:
    return {"skills": [await anyio.to_thread.run_sync(entry)]}


@_modern
async def _get(params: GetSkillParams) -> dict[str, Any]:
    if params.uri != URI:
        raise MCPError(
            types.INVALID_PARAMS, f"No skill is served at {params.uri}; the one served is {URI}.", {"uri": params.uri}
        )
    return {"skill": await anyio.to_thread.run_sync(entry)}
