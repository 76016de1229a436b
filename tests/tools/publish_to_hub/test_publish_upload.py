"""confirm=True against a Hub on loopback, with the real huggingface_hub; what was published is loaded by the real kernels."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest
from hub.local_hub import READER, WRITER, LocalHub

from kernelwright.tools.publish_to_hub import hub as uploading
from kernelwright.tools.publish_to_hub.contract import PublishResult
from kernelwright.tools.publish_to_hub.hub import stale
from kernelwright.tools.publish_to_hub.package import Upload, Variant
from kernelwright.tools.tool import ToolError

Publish = Callable[..., PublishResult]
REPO = "acme/tiny-norm"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalHub]:
    """A Hub of this test's own, and a token that may write to it."""
    with LocalHub() as local:
        monkeypatch.setenv("HF_ENDPOINT", local.url)
        monkeypatch.setenv("HF_TOKEN", WRITER)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        yield local


def test_a_first_upload_makes_repository_branch_card_and_package(publish: Publish, hub: LocalHub, variant: Path) -> None:
    result = publish(REPO, confirm=True)
    repository = hub.repositories[REPO]
    assert (result.status, result.commit) == ("ok", repository.commit("v1"))
    assert result.url == f"{hub.url}/kernels/{REPO}/tree/v1"
    assert set(repository.files("main")) == {".gitattributes", "README.md"}
    readme = repository.files("main")["README.md"].decode()
    assert f'get_kernel("{REPO}", version=1)' in readme and "{{" not in readme
    package = {path: data for path, data in repository.files("v1").items() if path != ".gitattributes"}
    expected = {f"build/{variant.name}/{p.relative_to(variant)}": p.read_bytes() for p in variant.rglob("*") if p.is_file()}
    assert package == expected | {"benchmarks/benchmark.py": (variant.parents[1] / "benchmarks" / "benchmark.py").read_bytes()}
    assert f"committed {result.commit}" in result.markdown()


def test_what_was_published_loads_with_kernels(publish: Publish, hub: LocalHub, tmp_path: Path) -> None:
    publish(REPO, confirm=True)
    script = (
        "import torch\n"
        "from kernels import get_kernel\n"
        f"kernel = get_kernel({REPO!r}, version=1, backend='cpu', trust_remote_code=True)\n"
        "x = torch.randn(4, 256)\n"
        "torch.testing.assert_close(kernel.rmsnorm(x, eps=1e-6), torch.nn.functional.rms_norm(x, (256,), eps=1e-6))\n"
    )
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": hub.url}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


def test_the_same_again_commits_nothing(publish: Publish, hub: LocalHub) -> None:
    first = publish(REPO, confirm=True)
    commits = list(hub.repositories[REPO].log)
    assert publish(REPO, confirm=True).commit == first.commit
    assert hub.repositories[REPO].log == commits


def test_a_second_upload_drops_what_is_stale_in_its_variants_alone(publish: Publish, hub: LocalHub, variant: Path) -> None:
    publish(REPO, confirm=True)
    repository = hub.repositories[REPO]
    other = "build/torch-stable-abi29-cu130-x86_64-linux/_ops.py"
    more = {f"build/{variant.name}/old.py": b"", other: b"", "benchmarks/benchmark_old.py": b"", "benchmarks/notes.md": b""}
    repository.put("v1", repository.files("v1") | more, len(more))
    publish(REPO, confirm=True)
    after = set(repository.files("v1"))
    assert {other, "benchmarks/notes.md"} <= after
    assert not {f"build/{variant.name}/old.py", "benchmarks/benchmark_old.py"} & after


def test_a_new_version_starts_without_the_files_it_inherited(publish: Publish, hub: LocalHub) -> None:
    publish(REPO, confirm=True)
    repository = hub.repositories[REPO]
    del repository.heads["v1"]
    inherited = {"build/torch210-cxx11-cpu-x86_64-linux/_ops.py": b"", "benchmarks/benchmark_old.py": b""}
    repository.put("main", repository.files("main") | inherited, len(inherited))
    publish(REPO, confirm=True)
    assert not set(inherited) & set(repository.files("v1"))
    assert set(inherited) <= set(repository.files("main"))


def test_a_pull_request_leaves_the_branches_as_they_are(publish: Publish, hub: LocalHub, project: Path) -> None:
    publish(REPO, confirm=True)
    repository = hub.repositories[REPO]
    before = {name: repository.commit(name) for name in ("main", "v1")}
    card = project / "CARD.md"
    card.write_text(card.read_text() + "\nMore.\n")
    benchmark = project / "benchmarks" / "benchmark.py"
    benchmark.write_text(benchmark.read_text() + "\n# more\n")
    result = publish(REPO, confirm=True, create_pr=True)
    assert {name: repository.commit(name) for name in before} == before
    assert result.url.endswith("/discussions/2")
    assert result.commit == repository.commit("refs/pr/2")
    assert repository.files("refs/pr/2")["benchmarks/benchmark.py"].endswith(b"# more\n")


def test_whoever_may_not_write_may_propose(
    publish: Publish, hub: LocalHub, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(REPO, confirm=True)
    monkeypatch.setenv("HF_TOKEN", READER)
    benchmark = project / "benchmarks" / "benchmark.py"
    benchmark.write_text(benchmark.read_text() + "\n# more\n")
    with pytest.raises(ToolError) as error:
        publish(REPO, confirm=True)
    assert "create_pr=true" in error.value.hint
    assert publish(REPO, confirm=True, create_pr=True).url == f"{hub.url}/kernels/{REPO}/discussions/1"


def test_many_files_go_in_several_commits(publish: Publish, hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploading, "COMMIT_OPERATIONS", 3)
    result = publish(REPO, confirm=True)
    repository = hub.repositories[REPO]
    sizes = [operations for branch, operations in repository.log if branch == "v1"]
    assert len(sizes) > 1 and max(sizes) == 3
    assert sum(sizes) == len(repository.files("v1")) - 1
    assert result.commit == repository.commit("v1")


def test_failed_checks_upload_nothing(publish: Publish, hub: LocalHub, project: Path) -> None:
    (project / "CARD.md").unlink()
    result = publish(REPO, confirm=True)
    assert (result.status, result.commit, hub.requests) == ("failed", None, [])


def test_without_confirm_the_hub_hears_nothing(publish: Publish, hub: LocalHub) -> None:
    result = publish(REPO)
    assert (result.status, result.commit, hub.requests) == ("ok", None, [])
    assert result.url == f"{hub.url}/kernels/{REPO}/tree/v1"


@pytest.mark.parametrize(("token", "says"), [(READER, "403"), ("hf_" + "nobody" * 6, "401"), ("", "no Hugging Face token")])
def test_a_token_that_may_not(publish: Publish, hub: LocalHub, monkeypatch: pytest.MonkeyPatch, token: str, says: str) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(ToolError) as error:
        publish(REPO, confirm=True)
    assert error.value.code == "hub_denied" and says in error.value.message
    assert "token" in error.value.hint.lower() and (token == "" or token not in str(error.value))
    assert hub.repositories == {}


@pytest.mark.parametrize(
    ("pattern", "status", "code"),
    [("/commit/v1", 412, "conflict"), ("/refs", 500, "busy"), ("/commit/main", 400, "hub_denied")],
)
def test_other_refusals(publish: Publish, hub: LocalHub, pattern: str, status: int, code: str) -> None:
    hub.denied = {pattern: status}
    with pytest.raises(ToolError) as error:
        publish(REPO, confirm=True)
    assert error.value.code == code and str(status) in error.value.message


def test_a_hub_that_is_not_there(publish: Publish, hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ToolError) as error:
        publish(REPO, confirm=True)
    assert error.value.code == "timeout" and "127.0.0.1:9" in error.value.message


def test_what_is_stale() -> None:
    variant = Variant(PurePosixPath("build/torch-cpu"), "torch-noarch", "")  # type: ignore[arg-type]
    kept = Upload("v1", "build/torch-cpu/_ops.py", Path("x"))
    there = [
        "build/torch-cpu/_ops.py",
        "build/torch-cpu/a.py",
        "build/torch-cpu-old/a.py",
        "README.md",
        "benchmarks/benchmark_x.py",
    ]
    assert stale(there, [kept], [variant], fresh=False) == ("build/torch-cpu/a.py", "benchmarks/benchmark_x.py")
    assert stale(there, [kept], [variant], fresh=True) == (
        "build/torch-cpu/a.py",
        "build/torch-cpu-old/a.py",
        "benchmarks/benchmark_x.py",
    )
