"""`kernelwright setup`: what it writes, shows and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kernelwright.server.clients import CLIENTS
from kernelwright.server.command_line import app
from kernelwright.server.skill import skill_files

pytestmark = pytest.mark.usefixtures("environment")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, empty."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def setup(*arguments: str, code: int = 0) -> str:
    """Everything that `kernelwright setup …` says."""
    done = CliRunner().invoke(app, ["setup", *arguments], env={"COLUMNS": "200"})
    assert done.exit_code == code, done.output
    return done.output


def files_below(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", CLIENTS)
def test_every_client_is_shown_then_written(name: str, project: Path, tmp_path: Path) -> None:
    file = project / CLIENTS[name].project_file
    shown = setup(name, "--project", "--dry-run")
    assert files_below(tmp_path) == {}
    assert str(file) in shown
    assert "serve" in shown
    assert str(file) in setup(name, "--project")
    assert list(files_below(tmp_path)) == [file.relative_to(tmp_path).as_posix()]
    assert CLIENTS[name].user_file in setup("--help")


def test_what_cannot_be_changed_is_said_with_the_words_to_add(project: Path) -> None:
    (project / ".codex").mkdir()
    (project / ".codex" / "config.toml").write_text("broken = [")
    said = setup("codex", "--project", code=2)
    assert "conflict" in said
    assert "[mcp_servers.kernelwright]" in said
    assert (project / ".codex" / "config.toml").read_text() == "broken = ["


@pytest.mark.parametrize(
    ("name", "home"),
    [
        ("codex", ".agents/skills"),
        ("claude", ".claude/skills"),
        ("opencode", ".config/opencode/skills"),
        ("cursor", ".cursor/skills"),
    ],
)
def test_the_skill_goes_where_the_client_looks(name: str, home: str, tmp_path: Path) -> None:
    folder = tmp_path / "home" / home / "kernelwright"
    shown = setup(name, "--skill", "--dry-run")
    assert files_below(tmp_path) == {}
    assert str(folder) in shown
    assert [line.strip() for line in shown.splitlines()[1:]] == list(skill_files())
    assert str(folder) in setup(name, "--skill")
    assert files_below(tmp_path / "home") == {f"{home}/kernelwright/{path}": text for path, text in skill_files().items()}


def test_the_skill_goes_to_a_folder_of_ones_choice(project: Path, tmp_path: Path) -> None:
    setup("gemini", "--skill", "--dest", "skills [mine]")
    assert files_below(project / "skills [mine]" / "kernelwright") == skill_files()
    assert files_below(tmp_path / "home") == {}


def test_a_skill_of_another_is_left_alone(project: Path) -> None:
    other = project / "skills" / "kernelwright" / "SKILL.md"
    other.parent.mkdir(parents=True)
    other.write_text("---\nname: another\n---\n")
    assert "conflict" in setup("codex", "--skill", "--dest", "skills", code=2)
    assert files_below(project) == {"skills/kernelwright/SKILL.md": "---\nname: another\n---\n"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["vscode", "--skill"], "--dest"),
        (["codex", "--dest", "skills"], "--skill"),
        (["codex", "--skill", "--url", "http://gpu-host:8765/mcp"], "--dest"),
        (["codex", "--skill", "--project"], "--dest"),
        (["codex", "--skill", "--root", "."], "--dest"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments: list[str], said: str, tmp_path: Path) -> None:
    output = setup(*arguments, code=2)
    assert "bad_argument" in output
    assert said in output
    assert files_below(tmp_path) == {}


def test_a_configuration_written_twice_is_the_same(project: Path) -> None:
    setup("claude", "--project")
    once = (project / ".mcp.json").read_text()
    setup("claude", "--project")
    assert (project / ".mcp.json").read_text() == once
    assert list(json.loads(once)["mcpServers"]) == ["kernelwright"]
