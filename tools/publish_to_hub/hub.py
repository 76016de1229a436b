"""Uploading to the Hub as kernel-builder does: repository, version branch, the card on main, the package on the branch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernelwright.tools.publish_to_hub.package import MAIN, Upload, Variant
from kernelwright.tools.tool import Progress, ToolError, summarise

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    Operation = CommitOperationAdd | CommitOperationDelete

HUB = "https://huggingface.co"
# The Hub takes no more in one commit.
COMMIT_OPERATIONS = 1000
_MESSAGE = "Uploaded by Kernelwright"


@dataclass(frozen=True)
class Published:
    """The commit on the version branch, and the page that shows it: the branch, or the pull request."""

    commit: str
    url: str


def endpoint() -> str:
    """The Hub that is meant: HF_ENDPOINT, or the public one."""
    return os.environ.get("HF_ENDPOINT", HUB).rstrip("/")


def page(repo_id: str, revision: str) -> str:
    """Where a person sees that revision of a kernel."""
    return f"{endpoint()}/kernels/{repo_id}/tree/{revision}"


def publish(
    repo_id: str,
    revision: str,
    uploads: Sequence[Upload],
    variants: Sequence[Variant],
    *,
    create_pr: bool,
    progress: Progress,
) -> Published:
    """Upload everything, or raise ToolError `hub_denied`, `conflict`, `busy` or `timeout`, as the Hub answered."""
    from huggingface_hub import HfApi, get_token

    token = get_token()
    if not token:
        raise ToolError(
            "hub_denied",
            "There is no Hugging Face token on this host.",
            "Set HF_TOKEN to one that may write to kernel repositories, or run `hf auth login`.",
        )
    api = HfApi(endpoint=endpoint(), token=token)
    with _answers(repo_id):
        progress("uploading", f"repository {repo_id}")
        # Asked first: whoever proposes a change to a repository of others may not create one there.
        if not api.repo_exists(repo_id, repo_type="kernel"):
            api.create_repo(repo_id, repo_type="kernel", exist_ok=True)
        fresh = _ensure_branch(api, repo_id, revision)
        card = [upload for upload in uploads if upload.branch == MAIN]
        if card:
            progress("uploading", "README.md")
            _commit(api, repo_id, MAIN, [_addition(upload) for upload in card], create_pr=create_pr)
        package = [upload for upload in uploads if upload.branch == revision]
        progress("uploading", f"{len(package)} files to {revision}")
        there = _existing(api, repo_id, revision)
        operations: list[Operation] = list(_deletions(there, package, variants, fresh=fresh))
        operations += [_addition(upload) for upload in package]
        return _commit(api, repo_id, revision, operations, create_pr=create_pr)


def stale(there: Sequence[str], uploads: Sequence[Upload], variants: Sequence[Variant], *, fresh: bool) -> tuple[str, ...]:
    """Files of the branch that must go: what a new branch inherited, else what the uploaded parts no longer hold."""
    kept = {upload.path for upload in uploads}
    folders = ("build/", "benchmarks/") if fresh else ("benchmarks/benchmark", *(f"build/{v.name}/" for v in variants))
    return tuple(path for path in there if path.startswith(folders) and path not in kept)


def _ensure_branch(api: HfApi, repo_id: str, revision: str) -> bool:
    """Whether the branch had to be made."""
    refs = api.list_repo_refs(repo_id, repo_type="kernel")
    if any(branch.name == revision for branch in refs.branches):
        return False
    api.create_branch(repo_id, branch=revision, repo_type="kernel")
    return True


def _existing(api: HfApi, repo_id: str, revision: str) -> list[str]:
    from huggingface_hub.hf_api import RepoFile

    tree = api.list_repo_tree(repo_id, recursive=True, revision=revision, repo_type="kernel")
    return [item.path for item in tree if isinstance(item, RepoFile)]


def _deletions(
    there: Sequence[str], uploads: Sequence[Upload], variants: Sequence[Variant], *, fresh: bool
) -> list[CommitOperationDelete]:
    from huggingface_hub import CommitOperationDelete

    return [CommitOperationDelete(path) for path in stale(there, uploads, variants, fresh=fresh)]


def _addition(upload: Upload) -> CommitOperationAdd:
    from huggingface_hub import CommitOperationAdd

    source = upload.source if upload.text is None else upload.content
    return CommitOperationAdd(path_in_repo=upload.path, path_or_fileobj=source)


def _commit(api: HfApi, repo_id: str, revision: str, operations: Sequence[Operation], *, create_pr: bool) -> Published:
    """One commit, or several that follow each other where one would be too large; a pull request is opened by the first."""
    where, url, commit = revision, page(repo_id, revision), ""
    for start in range(0, len(operations), COMMIT_OPERATIONS):
        info = api.create_commit(
            repo_id,
            operations[start : start + COMMIT_OPERATIONS],
            commit_message=_MESSAGE,
            repo_type="kernel",
            revision=where,
            create_pr=create_pr and start == 0,
        )
        commit = info.oid
        if info.pr_url and info.pr_revision:
            where, url = info.pr_revision, info.pr_url
    return Published(commit, url)


@contextmanager
def _answers(repo_id: str) -> Iterator[None]:
    """The Hub's refusals as ToolErrors that say what to do."""
    from httpx2 import HTTPError
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except HfHubHTTPError as error:
        raise _refusal(repo_id, error.response.status_code, str(error.server_message or error)) from error
    except HTTPError as error:
        raise ToolError(
            "timeout",
            f"The Hub at {endpoint()} could not be reached: {summarise(str(error), 150)}.",
            "Check this host's network and HF_ENDPOINT, then publish again: what is there already is not sent twice.",
        ) from error


def _refusal(repo_id: str, status: int, said: str) -> ToolError:
    said = summarise(said, 200)
    organisation = repo_id.partition("/")[0]
    if status == 401:
        return ToolError(
            "hub_denied",
            f"The Hub does not accept the token (401): {said}",
            "Make a new one at https://huggingface.co/settings/tokens and set HF_TOKEN, or run `hf auth login`.",
        )
    if status in {403, 404}:
        return ToolError(
            "hub_denied",
            f"The Hub does not let this token write to {repo_id} ({status}): {said}",
            f"The token needs write access to {organisation}, and the account the right to create kernels, which the Hub "
            "grants on request. For a repository of others pass create_pr=true.",
        )
    if status in {409, 412}:
        return ToolError("conflict", f"{repo_id} was changed meanwhile ({status}): {said}", "Publish again.")
    if status == 429 or status >= 500:
        return ToolError("busy", f"The Hub is busy ({status}): {said}", "Publish again in some minutes.")
    return ToolError("hub_denied", f"The Hub refused the upload ({status}): {said}", "Mend what it names and publish again.")
