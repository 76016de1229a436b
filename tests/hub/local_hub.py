"""A Hub for kernels on loopback: as much of its HTTP API as huggingface_hub and kernels use to publish and to load one."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

WRITER = "hf_" + "writer" * 6
READER = "hf_" + "reader" * 6
Files = dict[str, bytes]


@dataclass
class Repository:
    """Branches and pull requests of one kernel, each a commit and the files it holds; `log` names every commit in order."""

    heads: dict[str, tuple[str, Files]] = field(default_factory=dict)
    log: list[tuple[str, int]] = field(default_factory=list)
    pull_requests: int = 0

    def files(self, revision: str) -> Files:
        """Files of a branch, of a pull request or of a commit."""
        return self._head(revision)[1]

    def commit(self, revision: str) -> str:
        """The commit that `revision` stands for."""
        return self._head(revision)[0]

    def _head(self, revision: str) -> tuple[str, Files]:
        if revision in self.heads:
            return self.heads[revision]
        return next(head for head in self.heads.values() if head[0] == revision)

    def put(self, branch: str, files: Files, operations: int) -> str:
        """Make `files` the newest commit of `branch`."""
        content = "".join(f"{path}{hashlib.sha1(data).hexdigest()}" for path, data in sorted(files.items()))
        commit = hashlib.sha1(f"{branch}{len(self.log)}{content}".encode()).hexdigest()
        self.heads[branch] = (commit, files)
        self.log.append((branch, operations))
        return commit


class Answer(Exception):  # noqa: N818
    """An HTTP answer other than 200 with JSON."""

    def __init__(self, status: int, message: str, code: str = "", **more: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self.body = json.dumps({"error": message} | more).encode()


class LocalHub:
    """Serves `repositories`; use it in a `with` block. `denied` maps a path's pattern to the status it is answered with."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.denied: dict[str, int] = {}
        self.requests: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                hub.requests.append(f"{self.command} {self.path}")
                try:
                    hub.check(self.command, self.path, self.headers.get("Authorization", ""))
                    status, headers, data = hub.route(self.command, self.path, body)
                except Answer as error:
                    status, headers, data = error.status, error.headers, error.body
                self.send_response(status)
                for name, value in ({"Content-Type": "application/json", "Content-Length": str(len(data))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            do_GET = do_POST = do_HEAD = answer  # noqa: N815

            def log_message(self, *args: object) -> None:
                """Keep the tests' output to the tests."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """What HF_ENDPOINT is set to."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> LocalHub:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def check(self, method: str, path: str, authorization: str) -> None:
        """Raise the Answer that stands in the way of this request."""
        if authorization and authorization not in {f"Bearer {WRITER}", f"Bearer {READER}"}:
            raise Answer(401, "Invalid credentials in Authorization header")
        # As on the real one, whoever is logged in may propose a change of what others own.
        proposes = "create_pr=1" in path or path == "/api/validate-yaml"
        if method == "POST" and authorization != f"Bearer {WRITER}" and not (authorization and proposes):
            raise Answer(403, "You don't have the rights to create or write to a kernel under this namespace")
        for pattern, status in self.denied.items():
            if re.search(pattern, f"{method} {path}"):
                raise Answer(status, "told so by the test")

    def route(self, method: str, target: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the answer."""
        url = urlsplit(target)
        for pattern, handler in self._routes().items():
            found = re.fullmatch(pattern, url.path)
            if found:
                return handler(*(unquote(group or "") for group in found.groups()), body=body, query=parse_qs(url.query))
        raise Answer(404, f"no such route: {method} {url.path}")

    def _routes(self) -> dict[str, Callable[..., tuple[int, dict[str, str], bytes]]]:
        kernel = r"/api/kernels/([^/]+/[^/]+)"
        return {
            r"/api/repos/create": self._create,
            r"/api/validate-yaml": lambda **_: _json({"errors": [], "warnings": []}),
            r"/api/organizations/([^/]+)/overview": lambda name, **_: _json({"name": name, "fullname": name, "avatarUrl": ""}),
            kernel + r"/refs": self._refs,
            kernel + r"/branch/(.+)": self._branch,
            kernel + r"/preupload/(.+)": self._preupload,
            kernel + r"/commit/(.+)": self._commit,
            kernel + r"/tree/([^/]+)(?:/(.*))?": self._tree,
            kernel + r"/revision/(.+)": self._revision,
            kernel: lambda repo, **more: self._revision(repo, "main", **more),
            r"/kernels/([^/]+/[^/]+)/resolve/([^/]+)/(.+)": self._resolve,
        }

    def _repository(self, repo_id: str) -> Repository:
        if repo_id not in self.repositories:
            raise Answer(404, "Repository not found", "RepoNotFound")
        return self.repositories[repo_id]

    def _files(self, repo_id: str, revision: str) -> Files:
        try:
            return self._repository(repo_id).files(revision)
        except StopIteration:
            raise Answer(404, f"Invalid rev id: {revision}", "RevisionNotFound") from None

    def _create(self, *, body: bytes, **_: object) -> tuple[int, dict[str, str], bytes]:
        asked = json.loads(body)
        assert asked["type"] == "kernel"
        repo_id = f"{asked['organization']}/{asked['name']}"
        if repo_id in self.repositories:
            raise Answer(409, "You already created this kernel repo", url=f"{self.url}/kernels/{repo_id}")
        self.repositories[repo_id] = Repository()
        self.repositories[repo_id].put("main", {".gitattributes": b"*.so filter=lfs\n"}, 0)
        return _json({"url": f"{self.url}/kernels/{repo_id}", "name": repo_id})

    def _refs(self, repo_id: str, **_: object) -> tuple[int, dict[str, str], bytes]:
        heads = self._repository(repo_id).heads
        branches = [
            {"name": name, "ref": f"refs/heads/{name}", "targetCommit": head[0]}
            for name, head in heads.items()
            if not name.startswith("refs/pr/")
        ]
        return _json({"branches": branches, "converts": [], "tags": []})

    def _branch(self, repo_id: str, branch: str, *, body: bytes, **_: object) -> tuple[int, dict[str, str], bytes]:
        repository = self._repository(repo_id)
        if branch in repository.heads:
            raise Answer(409, "Reference already exists")
        repository.heads[branch] = repository.heads[json.loads(body or b"{}").get("startingPoint", "main")]
        return _json({})

    def _preupload(self, repo_id: str, revision: str, *, body: bytes, **_: object) -> tuple[int, dict[str, str], bytes]:
        here = self._files(repo_id, revision)
        asked = [file["path"] for file in json.loads(body)["files"]]
        files = [
            {"path": path, "uploadMode": "regular", "shouldIgnore": False, "oid": _oid(here[path]) if path in here else None}
            for path in asked
        ]
        return _json({"files": files})

    def _commit(
        self, repo_id: str, revision: str, *, body: bytes, query: dict[str, list[str]]
    ) -> tuple[int, dict[str, str], bytes]:
        repository = self._repository(repo_id)
        files = dict(self._files(repo_id, revision))
        operations = [line for line in map(json.loads, body.splitlines()) if line["key"] != "header"]
        for operation in operations:
            value = operation["value"]
            if operation["key"] == "deletedFile":
                del files[value["path"]]
            else:
                files[value["path"]] = base64.b64decode(value["content"])
        answer = {"success": True}
        branch = revision
        if query.get("create_pr"):
            repository.pull_requests += 1
            branch = f"refs/pr/{repository.pull_requests}"
            answer |= {"pullRequestUrl": f"{self.url}/kernels/{repo_id}/discussions/{repository.pull_requests}"}
        commit = repository.put(branch, files, len(operations))
        return _json(answer | {"commitOid": commit, "commitUrl": f"{self.url}/kernels/{repo_id}/commit/{commit}"})

    def _tree(self, repo_id: str, revision: str, below: str = "", **more: Any) -> tuple[int, dict[str, str], bytes]:
        recursive = more["query"].get("recursive", ["false"])[0].lower() in {"1", "true"}
        prefix = f"{below}/" if below else ""
        files = {path: data for path, data in self._files(repo_id, revision).items() if path.startswith(prefix)}
        folders = {str(prefix + path[len(prefix) :].split("/")[0]) for path in files if "/" in path[len(prefix) :]}
        if recursive:
            folders = {"/".join(path.split("/")[:depth]) for path in files for depth in range(1, path.count("/") + 1)}
        shown = [{"type": "directory", "path": path, "oid": "0" * 40, "size": 0} for path in sorted(folders)]
        shown += [
            {"type": "file", "path": path, "oid": _oid(data), "size": len(data)}
            for path, data in sorted(files.items())
            if recursive or "/" not in path[len(prefix) :]
        ]
        return _json(shown)

    def _revision(self, repo_id: str, revision: str, **_: object) -> tuple[int, dict[str, str], bytes]:
        files = self._files(repo_id, revision)
        data = {
            "id": repo_id,
            "author": repo_id.split("/")[0],
            "sha": self._repository(repo_id).commit(revision),
            "private": False,
        }
        return _json(data | {"gated": False, "downloads": 0, "likes": 0, "siblings": [{"rfilename": path} for path in files]})

    def _resolve(self, repo_id: str, revision: str, path: str, **_: object) -> tuple[int, dict[str, str], bytes]:
        files = self._files(repo_id, revision)
        if path not in files:
            raise Answer(404, "Entry not found", "EntryNotFound")
        headers = {"X-Repo-Commit": self._repository(repo_id).commit(revision), "ETag": f'"{_oid(files[path])}"'}
        return 200, headers | {"Content-Type": "application/octet-stream"}, files[path]


def _json(data: object) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, json.dumps(data).encode()


def _oid(data: bytes) -> str:
    """The name that git gives a file of this content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
