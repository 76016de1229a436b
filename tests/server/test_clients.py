"""What is written for each client: in its own words, at its own place, with everything else in the file kept."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernelwright.server import clients
from kernelwright.server.clients import CLIENTS, TOOL_TIMEOUT_S, Change, Wish, apply
from kernelwright.tools.tool import WAIT_MAX_S, ToolError

URL = "http://gpu-host:8765/mcp"
# Where each client keeps its servers.
SECTIONS = {
    "codex": ("mcp_servers",),
    "claude": ("mcpServers",),
    "cursor": ("mcpServers",),
    "vscode": ("servers",),
    "opencode": ("mcp",),
    "gemini": ("mcpServers",),
}
every_client = pytest.mark.parametrize("name", CLIENTS)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and a project of one's own."""
    for name in ("CODEX_HOME", "CLAUDE_CONFIG_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "home"
    (tmp_path / "project").mkdir()
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.chdir(tmp_path / "project")
    return folder


def parsed(name: str, text: str) -> dict[str, Any]:
    return tomllib.loads(text) if CLIENTS[name].language == "toml" else json.loads(text)


def entry(name: str, wish: Wish, *sections: str) -> dict[str, Any]:
    """Kernelwright's entry in what would be written for `wish`, the same in the snippet."""
    change = CLIENTS[name].change(wish)
    whole, alone = parsed(name, change.text), parsed(name, change.snippet)
    for section in sections or SECTIONS[name]:
        whole, alone = whole[section], alone[section]
    assert whole[clients.NAME] == alone[clients.NAME]
    found: dict[str, Any] = whole[clients.NAME]
    return found


def conflict(name: str, wish: Wish = Wish()) -> ToolError:  # noqa: B008
    with pytest.raises(ToolError) as refused:
        CLIENTS[name].change(wish)
    assert refused.value.code == "conflict"
    return refused.value


@every_client
def test_each_is_written_where_its_help_says(name: str, home: Path, tmp_path: Path) -> None:
    client = CLIENTS[name]
    user = client.user_file.replace("CODEX_HOME", "~/.codex").replace("~", str(home))
    assert str(client.change(Wish()).path) == user
    assert client.change(Wish(project=True)).path == tmp_path / "project" / client.project_file


def test_the_environment_moves_the_users_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable, name, file in [
        ("CODEX_HOME", "codex", "config.toml"),
        ("CLAUDE_CONFIG_DIR", "claude", ".claude.json"),
        ("XDG_CONFIG_HOME", "opencode", "opencode/opencode.json"),
        ("XDG_CONFIG_HOME", "vscode", "Code/User/mcp.json"),
    ]:
        monkeypatch.setenv(variable, str(tmp_path / "elsewhere"))
        assert CLIENTS[name].change(Wish()).path == tmp_path / "elsewhere" / file


@every_client
def test_the_command_starts_this_installation_with_the_roots(name: str, tmp_path: Path) -> None:
    found = entry(name, Wish(roots=(Path("kernels"), tmp_path)))
    started = found["command"] if isinstance(found["command"], list) else [found["command"], *found["args"]]
    assert started == [*clients.command(), "--root", str(tmp_path / "project" / "kernels"), "--root", str(tmp_path)]
    assert Path(started[0]).is_file()


def test_cursor_is_told_the_project_that_it_serves() -> None:
    assert entry("cursor", Wish(project=True))["args"][-2:] == ["--root", "${workspaceFolder}"]
    assert "--root" not in entry("cursor", Wish())["args"]
    assert "${workspaceFolder}" not in entry("cursor", Wish(project=True, roots=(Path("a"),)))["args"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("codex", {"url": URL, "bearer_token_env_var": "KERNELWRIGHT_TOKEN"}),
        ("claude", {"type": "http", "url": URL, "headers": {"Authorization": "Bearer ${KERNELWRIGHT_TOKEN}"}}),
        ("cursor", {"url": URL, "headers": {"Authorization": "Bearer ${env:KERNELWRIGHT_TOKEN}"}}),
        ("vscode", {"type": "http", "url": URL, "headers": {"Authorization": "Bearer ${input:kernelwright-token}"}}),
        ("opencode", {"type": "remote", "url": URL, "headers": {"Authorization": "Bearer {env:KERNELWRIGHT_TOKEN}"}}),
        ("gemini", {"httpUrl": URL, "headers": {"Authorization": "Bearer $KERNELWRIGHT_TOKEN"}}),
    ],
)
def test_a_remote_host_is_named_and_its_token_is_not(name: str, said: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERNELWRIGHT_TOKEN", "very-secret")
    found = entry(name, Wish(url=URL))
    assert said.items() <= found.items()
    assert not {"command", "args"} & set(found)
    assert "very-secret" not in CLIENTS[name].change(Wish(url=URL)).text


def test_clients_wait_longer_than_a_tool_may_take() -> None:
    assert TOOL_TIMEOUT_S > WAIT_MAX_S
    assert entry("codex", Wish())["tool_timeout_sec"] == TOOL_TIMEOUT_S
    assert entry("gemini", Wish())["timeout"] == entry("opencode", Wish())["timeout"] == TOOL_TIMEOUT_S * 1000


def test_vscode_asks_for_the_token_once(home: Path) -> None:
    path = CLIENTS["vscode"].change(Wish()).path
    path.parent.mkdir(parents=True)
    path.write_text('{"inputs": [{"id": "mine", "type": "promptString"}, {"id": "kernelwright-token"}]}')
    apply(CLIENTS["vscode"].change(Wish(url=URL)))
    apply(CLIENTS["vscode"].change(Wish(url=URL)))
    mine, asked = json.loads(path.read_text())["inputs"]
    assert (mine["id"], asked["id"], asked["password"]) == ("mine", "kernelwright-token", True)
    assert "inputs" not in json.loads(CLIENTS["vscode"].change(Wish()).snippet)
    path.write_text('{"inputs": {}}')
    assert "'inputs'" in conflict("vscode", Wish(url=URL)).message


def test_opencode_2_is_written_in_its_own_form_where_the_file_has_it() -> None:
    path = CLIENTS["opencode"].change(Wish(project=True)).path
    path.write_text('{"mcp": {"servers": {"other": {"type": "local", "command": ["other"]}}}}')
    found = entry("opencode", Wish(project=True), "mcp", "servers")
    assert "enabled" not in found
    assert found["timeout"]["request"] == TOOL_TIMEOUT_S * 1000
    path.write_text('{"mcp": {"servers": {"type": "local", "command": ["a server of that name"]}}}')
    assert entry("opencode", Wish(project=True))["enabled"] is True


scalars = st.none() | st.booleans() | st.integers(-(1 << 60), 1 << 60) | st.text()
keys = st.text(max_size=8)
documents = st.dictionaries(
    keys, st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(keys, inner), max_leaves=8)
)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([name for name in CLIENTS if name != "codex"]), documents, documents, st.booleans())
def test_all_else_in_a_json_file_is_kept(name: str, rest: dict[str, Any], others: dict[str, Any], remote: bool) -> None:
    (section,) = SECTIONS[name]
    others.pop("servers", None)
    before = {key: value for key, value in rest.items() if key != "inputs"} | {section: others}
    wish = Wish(project=True, url=URL if remote else None)
    path = Path(CLIENTS[name].project_file)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(before), encoding="utf-8")
    after = json.loads(CLIENTS[name].change(wish).text)
    after.pop("inputs", None)
    mine = after[section].pop(clients.NAME)
    path.unlink()
    others.pop(clients.NAME, None)
    assert after == before
    assert URL in mine.values() if remote else mine["command"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# a comment alone\n",
        'model = "m"',
        "[mcp_servers.a]\nx = 1\n[other]\ny = 1\n[mcp_servers.b]\nx = 2\n",
        '[mcp_servers]\nother.command = "x"\n[tail]\na = 1\n',
        '[mcp_servers.kernelwright]\ncommand = "old"\n[mcp_servers.kernelwright.env]\nA = "b"\n[z]\nq = 1\n',
        'mcp_servers = { other = { command = "x" } }\nmodel = "m"\n',
        'mcp_servers = { kernelwright = { command = "x" }, b = { command = "y" } }\n',
        "mcp_servers = {}\n",
        "[[projects]]\na = 1\n\n# the end\n",
    ],
)
def test_all_else_in_codexs_file_is_kept_comments_too(text: str) -> None:
    path = Path(CLIENTS["codex"].project_file)
    path.parent.mkdir()
    path.write_text(text)
    after = CLIENTS["codex"].change(Wish(project=True)).text
    wanted = tomllib.loads(text)
    wanted.setdefault("mcp_servers", {})[clients.NAME] = entry("codex", Wish(project=True))
    assert tomllib.loads(after) == wanted
    assert all(line in after for line in text.splitlines() if line.startswith("#"))


def test_a_codex_file_that_would_be_spoiled_is_left() -> None:
    path = Path(CLIENTS["codex"].project_file)
    path.parent.mkdir()
    path.write_text('mcp_servers.kernelwright.command = "a"\nk = 1\n')
    refused = conflict("codex", Wish(project=True))
    assert "[mcp_servers.kernelwright]" in refused.hint


@every_client
@pytest.mark.parametrize("text", ["{broken", "[1, 2]", "\udcff", "SECTION"])
def test_a_file_of_another_kind_is_never_overwritten(name: str, text: str) -> None:
    client, path = CLIENTS[name], Path(CLIENTS[name].project_file)
    path.parent.mkdir(exist_ok=True)
    section = SECTIONS[name][0]
    text = (f"{section} = 3" if client.language == "toml" else json.dumps({section: 3})) if text == "SECTION" else text
    path.write_bytes(text.encode(errors="surrogateescape"))
    refused = conflict(name, Wish(project=True))
    assert path.name in refused.message
    assert clients.command()[0] in refused.hint


@every_client
def test_a_blank_file_is_no_obstacle(name: str) -> None:
    path = Path(CLIENTS[name].project_file)
    path.parent.mkdir(exist_ok=True)
    path.write_text("\ufeff\n", encoding="utf-8")
    assert entry(name, Wish(project=True))["command"]


def test_the_former_file_is_kept_beside_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "config.json"
    apply(Change(path, "first", ""))
    assert [p.name for p in path.parent.iterdir()] == ["config.json"]
    path.chmod(0o600)
    apply(Change(path, "second", ""))
    backup = path.with_name("config.json.bak")
    assert (path.read_text(), backup.read_text()) == ("second", "first")
    assert path.stat().st_mode & 0o777 == backup.stat().st_mode & 0o777 == 0o600


def test_a_link_is_followed_not_replaced(tmp_path: Path) -> None:
    real, link = tmp_path / "dotfiles" / "config.json", tmp_path / "config.json"
    link.symlink_to(real)
    apply(Change(link, "first", ""))
    apply(Change(link, "second", ""))
    assert link.is_symlink()
    assert real.read_text() == "second"
    assert sorted(path.name for path in real.parent.iterdir()) == ["config.json", "config.json.bak"]
