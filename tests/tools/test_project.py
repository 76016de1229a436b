"""A project on disk: its files, its hash, and that nothing outside of it can be named."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernelwright.tools import project as projects
from kernelwright.tools.project import Project
from kernelwright.tools.tool import ToolError

TOML = """\
[general]
name = "some-kernel"
version = 1
edition = 5
license = "MIT"
backends = ["cpu"]

[torch]
src = ["torch-ext/binding.cpp"]

[kernel.one]
backend = "cpu"
depends = ["torch"]
src = ["one.cpp"]
include = ["."]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A valid project; nothing in it is ever compiled."""
    root = tmp_path / "project"
    files = {
        "build.toml": TOML,
        "one.cpp": "int one;",
        "torch-ext/binding.cpp": "int two;",
        "torch-ext/some_kernel/__init__.py": "",
        "problem.py": "entry = 'one'",
        "tests/test_one.py": "",
        "CARD.md": "# one",
    }
    for relative, text in files.items():
        (root / relative).parent.mkdir(parents=True, exist_ok=True)
        (root / relative).write_text(text)
    return root


def refused(folder: Path) -> ToolError:
    with pytest.raises(ToolError) as caught:
        Project.open(folder).files  # noqa: B018
    return caught.value


def test_a_project_knows_its_names_and_sources(folder: Path) -> None:
    project = Project.open(folder)
    assert (project.name, project.python_name, project.backends) == ("some-kernel", "some_kernel", ("cpu",))
    assert project.sources == ("torch-ext/binding.cpp", "one.cpp")
    assert project.problem == folder / "problem.py"
    assert ("one.cpp", 8) in project.files


@pytest.mark.parametrize(
    ("old", "new", "code", "message"),
    [
        ('src = ["one.cpp"]', 'src = ["/etc/passwd"]', "outside_roots", "/etc/passwd"),
        ('src = ["one.cpp"]', 'src = ["../one.cpp"]', "outside_roots", "../one.cpp"),
        ('src = ["one.cpp"]', 'src = ["a/../../one.cpp"]', "outside_roots", "a/../../one.cpp"),
        ('src = ["one.cpp"]', 'src = ["ones.cpp"]', "not_found", "ones.cpp"),
        ('src = ["one.cpp"]', 'src = ["a\\\\b.cpp"]', "bad_argument", "b.cpp"),
        ('include = ["."]', 'include = ["/usr/include"]', "outside_roots", "/usr/include"),
        ('include = ["."]', 'include = [".."]', "outside_roots", "'..'"),
        ('name = "some-kernel"', 'name = "other-kernel"', "not_found", "torch-ext/other_kernel"),
        ('backends = ["cpu"]', 'backends = ["cuda"]', "bad_argument", "cpu"),
    ],
)
def test_what_does_not_belong_is_refused(folder: Path, old: str, new: str, code: str, message: str) -> None:
    (folder / "build.toml").write_text(TOML.replace(old, new))
    error = refused(folder)
    assert error.code == code
    assert message in error.message
    assert error.hint


def test_a_near_name_is_offered(folder: Path) -> None:
    (folder / "build.toml").write_text(TOML.replace('["one.cpp"]', '["ones.cpp"]'))
    assert "'one.cpp'" in refused(folder).hint


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("*.cpp", 'write "one.cpp" instead'),
        ("on[a-e].cpp", 'write "one.cpp" instead'),
        ("**/*.cpp", 'write "one.cpp", "torch-ext/binding.cpp" instead'),
        ("torch-ext/*.cpp", 'write "torch-ext/binding.cpp" instead'),
        ("*.cu", "name each file"),
        ("{one,two}.cpp", "name each file"),
        ("many/*.cpp", "name each file"),
    ],
)
def test_a_pattern_in_src_is_not_expanded_and_says_so(folder: Path, pattern: str, hint: str) -> None:
    if pattern.startswith("many"):
        (folder / "many").mkdir()
        for number in range(20):
            (folder / "many" / f"{number}.cpp").touch()
    (folder / "build.toml").write_text(TOML.replace('["one.cpp"]', f'["{pattern}"]'))
    assert refused(folder).hint == f"Patterns are not expanded in src: {hint}."


@pytest.mark.parametrize("target", ["/etc/hostname", "/etc"])
def test_links_out_of_the_project_are_refused(folder: Path, target: str) -> None:
    (folder / "linked.h").symlink_to(target)
    error = refused(folder)
    assert error.code == "outside_roots"
    assert "linked.h" in error.message


def test_a_source_that_is_a_link_out_is_refused(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.cpp"
    secret.write_text("int secret;")
    (folder / "one.cpp").unlink()
    (folder / "one.cpp").symlink_to(secret)
    assert refused(folder).code == "outside_roots"


def test_links_inside_are_files_and_dangling_ones_are_none(folder: Path) -> None:
    (folder / "again.cpp").symlink_to("one.cpp")
    (folder / "gone.cpp").symlink_to("nothing.cpp")
    names = [name for name, _ in Project.open(folder).files]
    assert "again.cpp" in names
    assert "gone.cpp" not in names


def test_too_many_and_too_large_files_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(10_000):
        (folder / f"f{number}.h").touch()
    assert refused(folder).code == "too_large"
    for number in range(10_000):
        (folder / f"f{number}.h").unlink()
    with (folder / "one.cpp").open("wb") as file:
        file.truncate(100 << 20)
    error = refused(folder)
    assert error.code == "too_large"
    assert "one.cpp" in error.message
    (folder / "one.cpp").write_text("int one;")
    monkeypatch.setattr(projects, "MAX_TOTAL_BYTES", 20)
    assert refused(folder).code == "too_large"


def test_the_hash_follows_what_makes_the_package(folder: Path) -> None:
    before = Project.open(folder).source_sha256
    for beside in ("problem.py", "tests/test_one.py", "CARD.md"):
        (folder / beside).write_text("changed")
    (folder / "build").mkdir()
    (folder / "build" / "output.so").write_text("changed")
    assert Project.open(folder).source_sha256 == before
    for part in ("one.cpp", "torch-ext/some_kernel/__init__.py"):
        (folder / part).write_text("# changed")
        after = Project.open(folder).source_sha256
        assert after != before
        before = after
    (folder / "one.h").touch()
    assert Project.open(folder).source_sha256 != before
