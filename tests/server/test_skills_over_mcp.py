"""The skill as a client of the extension takes it: declared, listed, fetched, read and checked against its digests."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from typing import Any, Literal

import mcp_types as types
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel, ConfigDict, Field

from kernelwright.server import skills_over_mcp
from kernelwright.server.app import build
from kernelwright.server.calls import Calls
from kernelwright.server.skill import skill_files

pytestmark = pytest.mark.anyio

EXTENSION = "io.modelcontextprotocol/skills"
SKILL_MD = "skill://kernelwright/SKILL.md"


class Strict(BaseModel):
    """A shape of the specification that allows nothing else."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Resource(Strict):
    uri: str
    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    size: int = Field(ge=0)


class Entry(Strict):
    uri: str
    frontmatter: dict[str, Any]
    resources: list[Resource]


class Answer(Strict):
    """What every answer of the extension carries; the server's name travels in `meta`."""

    meta: dict[str, Any] = Field(alias="_meta")
    result_type: Literal["complete"] = Field(alias="resultType")
    ttl_ms: int = Field(alias="ttlMs", gt=0)
    cache_scope: Literal["public", "private"] = Field(alias="cacheScope")


class Listing(Answer):
    skills: list[Entry]


class Got(Answer):
    skill: Entry


async def ask(client: Client, method: str, answer: type[BaseModel], **params: str) -> Any:
    request = types.Request[dict[str, Any], str](method=method, params=params)
    return await client.session.send_request(request, answer)


async def text_of(client: Client, uri: str) -> str:
    (contents,) = (await client.read_resource(uri)).contents
    assert isinstance(contents, types.TextResourceContents)
    assert contents.mime_type == "text/markdown"
    return contents.text


async def test_the_skill_is_declared_beside_the_resources(client: Client) -> None:
    assert client.protocol_version == "2026-07-28"
    capabilities = client.server_capabilities
    assert capabilities.extensions == {EXTENSION: {}}
    assert capabilities.resources is not None


async def test_every_file_is_what_its_digest_and_size_say(client: Client) -> None:
    (entry,) = (await ask(client, "skills/list", Listing)).skills
    read = {resource.uri: (await text_of(client, resource.uri)).encode() for resource in entry.resources}
    for resource in entry.resources:
        data = read[resource.uri]
        assert (resource.digest, resource.size) == (f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))
    assert {uri.removeprefix("skill://kernelwright/"): data.decode() for uri, data in read.items()} == skill_files()
    assert len(read) == len(entry.resources) <= 512
    assert sum(map(len, read.values())) <= 16 << 20


async def test_the_frontmatter_is_that_of_the_file(client: Client) -> None:
    import yaml

    (entry,) = (await ask(client, "skills/list", Listing)).skills
    _, matter, _ = (await text_of(client, entry.uri)).split("---\n", 2)
    assert entry.uri == SKILL_MD
    assert entry.frontmatter == yaml.safe_load(matter)
    assert entry.uri.split("/")[-2] == entry.frontmatter["name"]


async def test_one_skill_by_its_uri_is_the_entry_of_the_listing(client: Client) -> None:
    (entry,) = (await ask(client, "skills/list", Listing)).skills
    assert (await ask(client, "skills/get", Got, uri=SKILL_MD)).skill == entry


@pytest.mark.parametrize("uri", ["skill://other/SKILL.md", "skill://kernelwright", "skill://kernelwright/references/norms.md"])
async def test_what_is_no_skill_is_refused_with_invalid_params(client: Client, uri: str) -> None:
    with pytest.raises(MCPError) as refused:
        await ask(client, "skills/get", Got, uri=uri)
    assert refused.value.code == types.INVALID_PARAMS
    assert uri in refused.value.message
    assert SKILL_MD in refused.value.message


async def test_a_request_without_uri_is_refused_with_invalid_params(client: Client) -> None:
    with pytest.raises(MCPError) as refused:
        await ask(client, "skills/get", Got)
    assert refused.value.code == types.INVALID_PARAMS


@pytest.mark.parametrize("path", ["references/none.md", "../kernelwright/SKILL.md", "references", ""])
async def test_a_file_that_the_skill_lacks_is_refused_with_invalid_params(client: Client, path: str) -> None:
    with pytest.raises(MCPError) as refused:
        await client.read_resource(f"skill://kernelwright/{path}")
    assert refused.value.code == types.INVALID_PARAMS
    assert "not_found" in refused.value.message


async def test_the_resources_list_the_skill_once(client: Client) -> None:
    (listed,) = [r for r in (await client.list_resources()).resources if str(r.uri).startswith("skill://")]
    entry = skills_over_mcp.entry()
    assert (str(listed.uri), listed.name, listed.description, listed.mime_type) == (
        SKILL_MD,
        entry["frontmatter"]["name"],
        entry["frontmatter"]["description"],
        "text/markdown",
    )


@pytest.mark.parametrize("method", ["skills/list", "skills/get"])
async def test_older_connections_read_the_files_and_have_no_extension(calls: Calls, method: str) -> None:
    async with Client(build(calls), mode="legacy", raise_exceptions=True) as older:
        assert older.protocol_version < "2026-07-28"
        assert older.server_capabilities.extensions is None
        with pytest.raises(MCPError) as refused:
            await ask(older, method, Listing, uri=SKILL_MD)
        assert refused.value.code == types.METHOD_NOT_FOUND
        assert (await text_of(older, SKILL_MD)).startswith("---\nname: kernelwright\n")


def test_the_files_are_read_only_when_asked_for() -> None:
    code = """
from mcp.server.lowlevel import Server
from kernelwright.server import skills_over_mcp
from kernelwright.tools import archs, reference_library
server = Server("bare")
skills_over_mcp.add_skills(server)
skills_over_mcp.listed()
assert server.extensions and server.get_request_handler("skills/list")
cached = [f for m in (skills_over_mcp, archs, reference_library) for f in vars(m).values() if hasattr(f, "cache_info")]
assert len(cached) > 2 and not any(f.cache_info().misses for f in cached), [f for f in cached if f.cache_info().misses]
skills_over_mcp.entry()
assert any(f.cache_info().misses for f in cached)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
