"""The dry run: what a sound package shows, and every way to be unfit for publishing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kernelwright.tools.project import Project
from kernelwright.tools.publish_to_hub.contract import PublishArgs, PublishResult
from kernelwright.tools.publish_to_hub.run import run
from kernelwright.tools.tool import Context, ToolError

Publish = Callable[..., PublishResult]


def failed(result: PublishResult) -> dict[str, str]:
    """The checks that did not pass, with their details."""
    return {check.name: check.detail for check in result.checks if not check.ok}


def test_a_sound_package_passes_and_lists_every_file(publish: Publish, variant: Path) -> None:
    result = publish()
    assert failed(result) == {}
    assert (result.status, result.revision, result.commit) == ("ok", "v1", None)
    assert result.url == "https://huggingface.co/kernels/acme/tiny-norm/tree/v1"
    assert result.variants == [variant.name]
    on_disk = {f"build/{variant.name}/{p.relative_to(variant)}" for p in variant.rglob("*") if p.is_file()}
    assert {file.path for file in result.files} == on_disk | {"README.md", "benchmarks/benchmark.py"}
    assert all(file.bytes > 0 for file in result.files)
    text = result.markdown()
    assert "nothing was uploaded" in text
    assert all(f"`{file.path}`" in text for file in result.files)
    assert "none for cuda, which build.toml declares" in text


def test_it_says_when_the_sources_of_a_binary_are_not_proven(publish: Publish, project: Path, variant: Path) -> None:
    _edit_metadata(variant, lambda data: data["provenance"].pop("source-sha256", None))
    unproven = {check.name: check.detail for check in publish().checks}["sources"]
    assert unproven.startswith("not proven") and "source-sha256" in unproven
    now = Project.open(project).source_sha256
    _edit_metadata(variant, lambda data: data["provenance"].update({"source-sha256": now}))
    assert "built from the sources" in {check.name: check.detail for check in publish().checks}["sources"]


def test_a_recorded_hash_tells_that_a_kernel_was_edited(publish: Publish, project: Path, variant: Path) -> None:
    now = Project.open(project).source_sha256
    _edit_metadata(variant, lambda data: data["provenance"].update({"source-sha256": now}))
    source = project / "tiny_norm_cpu" / "rmsnorm.cpp"
    source.write_text(source.read_text() + "\n// another line\n")
    assert "the sources were changed after it was built" in failed(publish())["sources"]


def test_python_that_was_edited_after_the_build_fails_without_a_hash(publish: Publish, project: Path, variant: Path) -> None:
    _edit_metadata(variant, lambda data: data["provenance"].pop("source-sha256", None))
    module = project / "torch-ext" / "tiny_norm" / "__init__.py"
    module.write_text(module.read_text() + "\nVERSION = 2\n")
    detail = failed(publish())["sources"]
    assert "__init__.py changed after it was built" in detail and "compile_kernel" in detail


@pytest.mark.parametrize(
    "repo_id",
    ["tiny-norm", "acme/tiny--norm", "acme/../norm", "acme/tiny norm", "a/b/c", "acme/-x", "acme/x.git", "", "a/" + "b" * 99],
)
def test_a_repo_id_that_the_hub_would_refuse(publish: Publish, repo_id: str) -> None:
    result = publish(repo_id)
    assert "no org/name of the Hub" in failed(result)["repo_id"]
    assert (result.status, result.url) == ("failed", "")


def test_another_name_than_the_projects_needs_the_card_to_say_so(publish: Publish, project: Path) -> None:
    assert "acme/tiny-norm" in failed(publish("acme/fast-norm"))["repo_id"]
    card = project / "CARD.md"
    card.write_text(card.read_text() + "\nPublished as acme/fast-norm.\n")
    assert failed(publish("acme/fast-norm")) == {}


def test_build_toml_names_another_repository(publish: Publish, project: Path) -> None:
    build = project / "build.toml"
    build.write_text(build.read_text().replace("[torch]", '[general.hub]\nrepo-id = "other/tiny-norm"\n\n[torch]', 1))
    assert "general.hub.repo-id = 'other/tiny-norm'" in failed(publish())["repo_id"]


def test_a_broken_build_toml_is_a_failed_check_with_its_reason(publish: Publish, project: Path) -> None:
    (project / "build.toml").write_text("[general]\nname = 'Tiny Norm'\nedition = 5\n")
    result = publish()
    assert list(failed(result)) == ["build.toml"]
    assert "build.toml is not valid" in failed(result)["build.toml"]
    assert (result.status, result.files, result.url) == ("failed", [], "")


def test_a_folder_without_build_toml_is_no_project(tmp_path: Path, make_context: Callable[..., Context]) -> None:
    with pytest.raises(ToolError) as error:
        run(PublishArgs(project="x", repo_id="acme/x"), make_context(tmp_path))
    assert error.value.code == "not_found"


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda text: text.replace("---", "", 1), "front matter"),
        (lambda text: text.replace("license: apache-2.0", "license: [unclosed", 1), "not YAML"),
        (lambda text: text.replace("license: apache-2.0", "license: mit", 1), "make them agree"),
        (lambda text: text.replace("library_name: kernels", "library_name: torch", 1), "library_name: kernels"),
        (lambda text: text + "\n{% if layers %}- layers{% endif %}\n", "fill-card"),
    ],
)
def test_a_card_that_must_be_mended(publish: Publish, project: Path, spoil: Callable[[str], str], says: str) -> None:
    card = project / "CARD.md"
    card.write_text(spoil(card.read_text()))
    assert says in failed(publish())["card"]


@pytest.mark.parametrize(
    ("path", "check"), [("CARD.md", "card"), ("tests/test_rmsnorm.py", "tests"), ("benchmarks/benchmark.py", "benchmark")]
)
def test_a_part_that_is_missing(publish: Publish, project: Path, path: str, check: str) -> None:
    (project / path).unlink()
    assert check in failed(publish())


def test_nothing_built(publish: Publish, project: Path) -> None:
    shutil.rmtree(project / "build")
    result = publish()
    assert "mode='release'" in failed(result)["variants"]
    assert result.variants == []


def test_variants_are_chosen_by_name(publish: Publish, project: Path, variant: Path) -> None:
    other = "torch213-cxx11-cpu-x86_64-linux"
    shutil.copytree(variant, project / "build" / other)
    assert publish().variants == sorted([variant.name, other])
    chosen = publish(variants=[variant.name])
    assert chosen.variants == [variant.name]
    assert not any(other in file.path for file in chosen.files)
    with pytest.raises(ToolError) as error:
        publish(variants=[variant.name, "torch-cuda"])
    assert error.value.code == "bad_argument"
    assert "torch-cuda" in error.value.message and other in error.value.hint
    with pytest.raises(ToolError):
        publish(variants=[])


@pytest.mark.parametrize("file", ["_ops.py", "__init__.py", "tiny_norm/__init__.py", "metadata.json"])
def test_a_variant_with_a_file_missing(publish: Publish, variant: Path, file: str) -> None:
    (variant / file).unlink()
    detail = failed(publish())["complete"]
    assert file in detail and "compile_kernel" in detail


def test_a_variant_without_its_library(publish: Publish, variant: Path) -> None:
    library = next(variant.glob("*.abi3.so"))
    library.unlink()
    assert library.name in failed(publish())["complete"]


def test_a_variant_of_another_version(publish: Publish, project: Path) -> None:
    build = project / "build.toml"
    build.write_text(build.read_text().replace("version = 1", "version = 2", 1))
    result = publish()
    assert result.revision == "v2"
    assert "version 1, build.toml says tiny-norm version 2" in failed(result)["complete"]


def test_metadata_that_kernels_cannot_read(publish: Publish, variant: Path) -> None:
    _edit_metadata(variant, lambda data: data.pop("license"))
    assert "metadata.json" in failed(publish())["complete"]


def test_a_file_that_was_edited_in_the_package(publish: Publish, variant: Path) -> None:
    ops = variant / "_ops.py"
    ops.write_text(ops.read_text() + "\nimport os\n")
    assert "_ops.py" in failed(publish())["unchanged"]


def test_what_importing_leaves_behind_is_neither_a_change_nor_uploaded(publish: Publish, variant: Path) -> None:
    (variant / "__pycache__").mkdir()
    (variant / "__pycache__" / "x.cpython-311.pyc").write_bytes(b"\0")
    result = publish()
    assert failed(result) == {}
    assert not any("__pycache__" in file.path for file in result.files)


def test_a_library_that_loads_only_on_new_systems(publish: Publish, variant: Path, tmp_path: Path) -> None:
    library = next(variant.glob("*.abi3.so"))
    source = tmp_path / "new.cpp"
    source.write_text(
        "#include <sstream>\n#include <string>\nstd::string f(int n) { std::stringstream s; s << n; return s.str(); }\n"
    )
    subprocess.run(["g++", "-shared", "-fPIC", "-O0", str(source), "-o", str(library)], check=True)
    assert "GLIBCXX_3.4.26" in failed(publish())["abi"]


def test_a_library_that_is_none(publish: Publish, variant: Path) -> None:
    next(variant.glob("*.abi3.so")).write_bytes(b"not a library")
    assert "not a 64-bit little-endian ELF file" in failed(publish())["abi"]


@pytest.mark.parametrize(
    "secret",
    [
        "hf_" + "aB3" * 12,
        "ghp_" + "x1" * 18,
        "AKIA" + "ABCD1234" * 2,
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        "sk-ant-" + "q7" * 20,
    ],
)
def test_a_credential_fails_the_check_and_is_never_repeated(publish: Publish, project: Path, secret: str) -> None:
    file = project / "benchmarks" / "benchmark.py"
    file.write_text(file.read_text() + f"\nKEY = {secret!r}\n")
    result = publish()
    assert "benchmarks/benchmark.py" in failed(result)["secrets"]
    assert secret not in result.model_dump_json()


def test_this_processes_own_token_is_found_whatever_its_form(
    publish: Publish, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "a-token-of-no-known-form")
    card = project / "CARD.md"
    card.write_text(card.read_text() + "\na-token-of-no-known-form\n")
    assert "the value of HF_TOKEN" in failed(publish())["secrets"]


@pytest.mark.parametrize("text", ["/home/ada/data.bin", "/Users/ada/x", "C:\\Users\\ada\\x", "/root/.cache/x"])
def test_a_path_of_somebodys_home(publish: Publish, project: Path, text: str) -> None:
    file = project / "benchmarks" / "benchmark.py"
    file.write_text(file.read_text() + f"\nDATA = r'{text}'\n")
    assert text in failed(publish())["paths"]


def test_the_projects_own_path(publish: Publish, project: Path) -> None:
    file = project / "benchmarks" / "benchmark.py"
    file.write_text(file.read_text() + f"\nDATA = {str(project / 'data')!r}\n")
    assert str(project) in failed(publish())["paths"]


def test_links_never_carry_a_foreign_file(publish: Publish, project: Path, variant: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.py"
    outside.write_text("print('not ours')\n")
    (variant / "more.py").symlink_to(outside)
    assert "is a link" in " ".join(failed(publish()).values())
    (variant / "more.py").unlink()
    (project / "benchmarks" / "benchmark_more.py").symlink_to(outside)
    result = publish()
    assert "link that leaves the project" in " ".join(failed(result).values())
    assert result.files == []


def test_a_result_of_many_and_long_troubles_stays_short(publish: Publish, project: Path, variant: Path) -> None:
    for number in range(10, 40):
        copy = project / "build" / f"torch2{number}-cxx11-cpu-x86_64-linux"
        shutil.copytree(variant, copy)
        (copy / "_ops.py").unlink()
        (copy / "__init__.py").write_text(f"KEY = '{'hf_' + 'aB3' * 12}'  # /home/ada/{'long/' * 40}\n")
        next(copy.glob("*.so")).write_bytes(b"no library")
    result = publish("acme/" + "n" * 80)
    assert {"complete", "unchanged", "abi", "secrets", "paths", "repo_id"} <= set(failed(result))
    assert len(json.dumps(result.model_dump(mode="json"))) < 10_000
    assert len(result.markdown()) < 10_000
    assert result.more_files > 100


def test_the_dry_run_reaches_for_no_network(project: Path, tmp_path: Path) -> None:
    """In a process where opening any connection raises."""
    script = tmp_path / "dry.py"
    script.write_text(
        "import socket, sys\n"
        "from pathlib import Path\n"
        "def refuse(*a, **k): raise AssertionError('a connection was opened')\n"
        "socket.socket.connect = refuse\n"
        "socket.getaddrinfo = refuse\n"
        "from kernelwright.tools.publish_to_hub.contract import PublishArgs\n"
        "from kernelwright.tools.publish_to_hub.run import run\n"
        "from kernelwright.tools.tool import Context\n"
        "here = Path(sys.argv[1])\n"
        "job, python = here.parent, Path(sys.executable)\n"
        "context = Context(job, job / 'cache', python, project=here, project_id='x', job_id='x')\n"
        "print(run(PublishArgs(project='x', repo_id='acme/tiny-norm'), context).status)\n"
    )
    done = subprocess.run([sys.executable, str(script), str(project)], capture_output=True, text=True, env={**os.environ})
    assert done.stdout.strip() == "ok", done.stderr


def _edit_metadata(variant: Path, change: Callable[[dict[str, dict[str, object]]], object]) -> None:
    path = variant / "metadata.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data, indent=2) + "\n")
