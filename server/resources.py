"""The resources of the contract: guides, GPU facts, the catalogue, projects, and what jobs leave."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import anyio.to_thread
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError

from kernelwright.server import skills_over_mcp
from kernelwright.server.calls import Calls
from kernelwright.tools import archs, catalogue, reference_library
from kernelwright.tools.files import inside
from kernelwright.tools.get_arch_guide.contract import TOOL as GET_ARCH_GUIDE
from kernelwright.tools.tool import ToolError

RequestContext = ServerRequestContext[Any, Any]
MAX_BYTES = 1 << 20
_MIME = {
    ".md": "text/markdown",
    ".html": "text/html",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}


@dataclass(frozen=True)
class Template:
    """A family of resources: its URI template, its words, and how one of them is read."""

    uri: str
    name: str
    description: str
    read: Callable[..., types.TextResourceContents | types.BlobResourceContents]
    choices: dict[str, Callable[[], list[str]]]

    def match(self, uri: str) -> dict[str, str] | None:
        """The values of the template's variables in `uri`, or None; only `path` may hold slashes."""
        pattern = re.sub(r"\\\{(\w+)\\\}", lambda m: f"(?P<{m[1]}>{'.+' if m[1] == 'path' else '[^/]+'})", re.escape(self.uri))
        found = re.fullmatch(pattern, uri)
        return {k: unquote(v) for k, v in found.groupdict().items()} if found else None


class Resources:
    """Lists, reads and completes resources."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        docs = lambda: list(reference_library.names())  # noqa: E731
        ops = lambda: list(catalogue.names())  # noqa: E731
        names = lambda: [arch.key for arch in archs.all_archs()]  # noqa: E731
        self.templates = (
            Template("kernel://references/{doc}", "guide", "A guide: its summary and sections", self._reference, {"doc": docs}),
            Template("kernel://references/{doc}/{section}", "section", "A section of a guide", self._reference, {"doc": docs}),
            Template("kernel://arch/{arch}", "architecture", "Facts and guidance for one GPU", self._arch, {"arch": names}),
            Template("kernel://ops/{op}/{path}", "catalogue file", "A file of a catalogue project", self._op_file, {"op": ops}),
            Template("kernel://projects/{project}/{path}", "project file", "A file of a project", self._project_file, {}),
            Template("kernel://jobs/{id}/log", "job log", "The whole log of a job", self._job("log"), {}),
            Template("kernel://jobs/{id}/report", "report", "The report of a benchmark", self._job("report"), {}),
            Template("kernel://jobs/{id}/plot", "plot", "The plot of a benchmark", self._job("plot"), {}),
        )

    async def list_resources(self, _: RequestContext, __: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
        fixed = [
            _markdown("kernel://ops", "ops", "Operations of the catalogue"),
            skills_over_mcp.listed(),
        ]
        guides = [
            types.Resource(uri=uri, name=uri.rsplit("/", 1)[1], title=title, mime_type="text/markdown")
            for uri, title in reference_library.uris()
        ]
        return types.ListResourcesResult(resources=fixed + guides)

    async def list_templates(
        self, _: RequestContext, __: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        return types.ListResourceTemplatesResult(
            resource_templates=[
                types.ResourceTemplate(uri_template=t.uri, name=t.name, description=t.description) for t in self.templates
            ]
        )

    async def read(self, _: RequestContext, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        uri = str(params.uri)
        try:
            return types.ReadResourceResult(contents=[await anyio.to_thread.run_sync(self._read, uri)])
        except ToolError as error:
            # The code that the specification of 2026-07-28 gives to a resource that does not exist.
            raise MCPError(types.INVALID_PARAMS, f"{error.code}: {error.message} {error.hint}", {"uri": uri}) from error

    async def complete(self, _: RequestContext, params: types.CompleteRequestParams) -> types.CompleteResult:
        values: list[str] = []
        if isinstance(params.ref, types.ResourceTemplateReference):
            template = next((t for t in self.templates if t.uri == params.ref.uri), None)
            choices = template.choices.get(params.argument.name) if template else None
            values = choices() if choices else []
            if params.argument.name == "section" and params.context and params.context.arguments:
                values = self._sections(params.context.arguments.get("doc", ""))
        elif params.argument.name == "op":
            values = list(catalogue.names())
        elif params.argument.name == "arch":
            values = [arch.key for arch in archs.all_archs()]
        found = [value for value in values if value.startswith(params.argument.value)]
        return types.CompleteResult(completion=types.Completion(values=found[:100], total=len(found)))

    def _sections(self, doc: str) -> list[str]:
        try:
            return list(reference_library.guide(doc).sections)
        except ToolError:
            return []

    def _read(self, uri: str) -> types.TextResourceContents | types.BlobResourceContents:
        if uri == "kernel://references":
            return _text(uri, reference_library.index(), "text/markdown")
        if uri == "kernel://ops":
            return _text(uri, "\n".join(map(_op_line, catalogue.names())), "text/markdown")
        if uri.startswith(skills_over_mcp.SCHEME):
            return _text(uri, skills_over_mcp.read(uri), "text/markdown")
        for template in self.templates:
            values = template.match(uri)
            if values is not None:
                return template.read(uri, **values)
        raise ToolError("not_found", f"There is no resource {uri!r}.", "List resources and resource templates.")

    def _reference(self, uri: str, **_: str) -> types.TextResourceContents:
        return _text(uri, reference_library.read(uri, None).text, "text/markdown")

    def _arch(self, uri: str, arch: str) -> types.TextResourceContents:
        context = self.calls.context()
        guide = GET_ARCH_GUIDE.run(GET_ARCH_GUIDE.args.model_validate({"arch": arch}), context)
        return _text(uri, guide.markdown(), "text/markdown")

    def _op_file(self, uri: str, op: str, path: str) -> types.TextResourceContents | types.BlobResourceContents:
        return _file(uri, inside(catalogue.folder(op), path))

    def _project_file(self, uri: str, project: str, path: str) -> types.TextResourceContents | types.BlobResourceContents:
        return _file(uri, inside(self.calls.workspaces.existing(project).path, path))

    def _job(self, kind: str) -> Callable[..., types.TextResourceContents | types.BlobResourceContents]:
        # The parameter bears the name of the template's variable.
        return lambda uri, id: _file(uri, self.calls.jobs.store.file(id, kind))  # noqa: A006


def _op_line(op: str) -> str:
    sources = [f"kernel://ops/{op}/{path}" for path in catalogue.files(op) if path.suffix in {".cu", ".cpp"}]
    return f"- `{op}`: {catalogue.summary(op)} kernel://ops/{op}/problem.py {' '.join(sources)}"


def _markdown(uri: str, name: str, description: str) -> types.Resource:
    return types.Resource(uri=uri, name=name, description=description, mime_type="text/markdown")


def _text(uri: str, text: str, mime_type: str) -> types.TextResourceContents:
    return types.TextResourceContents(uri=uri, text=text, mime_type=mime_type)


def _file(uri: str, path: Path) -> types.TextResourceContents | types.BlobResourceContents:
    if not path.is_file():
        raise ToolError("not_found", f"There is no file at {uri}.", "Check the path: scaffold_kernel lists a project's files.")
    if path.stat().st_size > MAX_BYTES:
        raise ToolError("too_large", f"{uri} has {path.stat().st_size} bytes.", f"At most {MAX_BYTES} are served.")
    mime_type = _MIME.get(path.suffix, "text/plain")
    data = path.read_bytes()
    try:
        return _text(uri, data.decode(), mime_type)
    except UnicodeDecodeError:
        blob = base64.b64encode(data).decode()
        return types.BlobResourceContents(uri=uri, blob=blob, mime_type=_MIME.get(path.suffix, "application/octet-stream"))
