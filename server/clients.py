"""Writes the configuration of Codex, Claude Code, Cursor, VS Code, opencode and Gemini CLI, so that they start Kernelwright."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tomlkit
from tomlkit.items import InlineTable

from kernelwright.tools.tool import WAIT_MAX_S, ToolError

NAME = "kernelwright"
TOKEN = "KERNELWRIGHT_TOKEN"
# Clients cut a call here; every tool answers before it, by WAIT_MAX_S at the latest.
TOOL_TIMEOUT_S = WAIT_MAX_S + 60
STARTUP_TIMEOUT_S = 30


@dataclass(frozen=True)
class Change:
    """A configuration file as it will be, and the part of it that is Kernelwright's."""

    path: Path
    text: str
    snippet: str


@dataclass(frozen=True)
class Wish:
    """What to configure: a server started here that may touch `roots`, or the one at `url`; for the user or one project."""

    roots: tuple[Path, ...] = ()
    url: str | None = None
    project: bool = False

    @property
    def command(self) -> list[str]:
        """The command line of the server."""
        return [*command(), *(flag for root in self.roots for flag in ("--root", str(root.resolve())))]


@dataclass(frozen=True)
class Client:
    """A client: its name, where it keeps a user's and a project's configuration, and how that is changed.

    `change` raises `ToolError` `conflict` if the present file cannot be kept.
    """

    title: str
    user_file: str
    project_file: str
    language: Literal["toml", "json"]
    change: Callable[[Wish], Change]


def command() -> list[str]:
    """The command that starts this very installation, whatever the client's PATH."""
    beside = Path(sys.executable).parent / NAME
    found = str(beside) if beside.is_file() else shutil.which(NAME)
    return [found, "serve"] if found else [sys.executable, "-m", "kernelwright.server.cli", "serve"]


def apply(change: Change) -> None:
    """Write the file, the former one kept beside it as ``.bak``; a link is followed, not replaced."""
    path = change.path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file():
        shutil.copy2(path, path.with_name(path.name + ".bak"))
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(change.text, encoding="utf-8")
    if path.is_file():
        shutil.copymode(path, temporary)
    temporary.replace(path)


def _codex(wish: Wish) -> Change:
    home = Path.cwd() / ".codex" if wish.project else Path(os.environ.get("CODEX_HOME") or Path.home() / ".codex")
    entry: dict[str, Any] = {"url": wish.url, "bearer_token_env_var": TOKEN}
    if not wish.url:
        first, *rest = wish.command
        entry = {"command": first, "args": rest}
    entry |= {"required": True, "startup_timeout_sec": STARTUP_TIMEOUT_S, "tool_timeout_sec": TOOL_TIMEOUT_S}
    return _toml_change(home / "config.toml", "mcp_servers", entry)


def _claude(wish: Wish) -> Change:
    home = Path(os.environ.get("CLAUDE_CONFIG_DIR") or Path.home())
    path = Path.cwd() / ".mcp.json" if wish.project else home / ".claude.json"
    entry = _stdio(wish) or {"type": "http", "url": wish.url, "headers": _bearer("${%s}")}
    return _json_change(path, ("mcpServers",), entry | {"alwaysLoad": True})


def _cursor(wish: Wish) -> Change:
    entry = _stdio(wish) or {"url": wish.url, "headers": _bearer("${env:%s}")}
    if wish.project and not wish.roots and not wish.url:
        # Cursor promises no current directory, but fills this in.
        entry["args"] += ["--root", "${workspaceFolder}"]
    return _json_change(_home(wish) / ".cursor" / "mcp.json", ("mcpServers",), entry)


def _vscode(wish: Wish) -> Change:
    path = Path.cwd() / ".vscode" / "mcp.json" if wish.project else _xdg_config() / "Code" / "User" / "mcp.json"
    if not wish.url:
        return _json_change(path, ("servers",), _stdio(wish))
    # VS Code asks for the token once and keeps it among its secrets.
    asked = {"type": "promptString", "id": "kernelwright-token", "description": "Token of Kernelwright", "password": True}
    entry = {"type": "http", "url": wish.url, "headers": {"Authorization": "Bearer ${input:kernelwright-token}"}}
    return _json_change(path, ("servers",), entry, asked)


def _opencode(wish: Wish) -> Change:
    path = Path.cwd() / "opencode.json" if wish.project else _xdg_config() / "opencode" / "opencode.json"
    entry: dict[str, Any] = {"type": "local", "command": wish.command}
    if wish.url:
        entry = {"type": "remote", "url": wish.url, "headers": _bearer("{env:%s}"), "oauth": False}
    if _is_opencode_2(path):
        timeout = {"startup": STARTUP_TIMEOUT_S * 1000, "request": TOOL_TIMEOUT_S * 1000}
        return _json_change(path, ("mcp", "servers"), entry | {"timeout": timeout})
    return _json_change(path, ("mcp",), entry | {"enabled": True, "timeout": TOOL_TIMEOUT_S * 1000})


def _is_opencode_2(path: Path) -> bool:
    """Whether the servers stand under ``mcp.servers`` already; opencode 2 reads the older form as well."""
    try:
        return "type" not in json.loads(path.read_text(encoding="utf-8"))["mcp"]["servers"]
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _gemini(wish: Wish) -> Change:
    entry: dict[str, Any] = {"httpUrl": wish.url, "headers": _bearer("$%s")}
    if not wish.url:
        first, *rest = wish.command
        entry = {"command": first, "args": rest}
    path = _home(wish) / ".gemini" / "settings.json"
    return _json_change(path, ("mcpServers",), entry | {"timeout": TOOL_TIMEOUT_S * 1000})


CLIENTS = {
    "codex": Client("Codex", "CODEX_HOME/config.toml", ".codex/config.toml", "toml", _codex),
    "claude": Client("Claude Code", "~/.claude.json", ".mcp.json", "json", _claude),
    "cursor": Client("Cursor", "~/.cursor/mcp.json", ".cursor/mcp.json", "json", _cursor),
    "vscode": Client("VS Code", "~/.config/Code/User/mcp.json", ".vscode/mcp.json", "json", _vscode),
    "opencode": Client("opencode", "~/.config/opencode/opencode.json", "opencode.json", "json", _opencode),
    "gemini": Client("Gemini CLI", "~/.gemini/settings.json", ".gemini/settings.json", "json", _gemini),
}


def _home(wish: Wish) -> Path:
    return Path.cwd() if wish.project else Path.home()


def _xdg_config() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def _stdio(wish: Wish) -> dict[str, Any]:
    """The entry of a server that the client starts; empty if it is to be reached by its URL."""
    first, *rest = wish.command
    return {} if wish.url else {"type": "stdio", "command": first, "args": rest}


def _bearer(reference: str) -> dict[str, str]:
    """The header with the token, which stays in the environment: `reference` is how the client writes a variable."""
    return {"Authorization": "Bearer " + reference % TOKEN}


def _toml_change(path: Path, section: str, entry: dict[str, Any]) -> Change:
    snippet = tomlkit.dumps({section: {NAME: entry}})
    try:
        former = _former(path)
        wanted = tomllib.loads(former)
        document = tomlkit.parse(former)
    except ValueError as error:
        raise _unreadable(path, "TOML", error, snippet) from error
    _section(wanted, section, path, snippet, {})[NAME] = entry
    place = document.setdefault(section, tomlkit.table(is_super_table=True))
    table = tomlkit.inline_table() if isinstance(place, InlineTable) else tomlkit.table()
    table.update(entry)
    place[NAME] = table
    text = tomlkit.dumps(document)
    # Of some spellings, such as a dotted key followed by others, the writer makes another document.
    if tomllib.loads(text) != wanted:
        hint = f"Write {section!r} there as a table of its own, or add this yourself: {snippet}"
        raise ToolError("conflict", f"{path} cannot be changed without losing what else it says.", hint)
    return Change(path, text, snippet)


def _json_change(path: Path, sections: tuple[str, ...], entry: dict[str, Any], asked: dict[str, Any] | None = None) -> Change:
    """`path` with `entry` below `sections`, and `asked` among the ``inputs`` that the client asks a person for."""
    addition: dict[str, Any] = {NAME: entry}
    for section in reversed(sections):
        addition = {section: addition}
    snippet = _json(addition | ({"inputs": [asked]} if asked else {}))
    try:
        document = json.loads(_former(path).strip() or "{}")
    except ValueError as error:
        raise _unreadable(path, "JSON", error, snippet) from error
    place = document
    for section in sections:
        place = _section(place, section, path, snippet, {})
    place[NAME] = entry
    if asked:
        inputs = _section(document, "inputs", path, snippet, [])
        document["inputs"] = [known for known in inputs if not (isinstance(known, dict) and known.get("id") == asked["id"])]
        document["inputs"].append(asked)
    return Change(path, _json(document), snippet)


def _section(place: Any, name: str, path: Path, snippet: str, empty: Any) -> Any:
    """`name` of `place`, `empty` if it is missing; raises `ToolError` `conflict` where something of another kind stands."""
    section = place.setdefault(name, empty) if isinstance(place, dict) else None
    if not isinstance(section, list if isinstance(empty, list) else dict):
        raise ToolError(
            "conflict", f"{path} holds something else where {name!r} belongs.", f"Mend it; this is missing: {snippet}"
        )
    return section


def _unreadable(path: Path, language: str, error: ValueError, snippet: str) -> ToolError:
    hint = f"Mend or move the file first, or, where it has comments that the client allows, add this yourself: {snippet}"
    return ToolError("conflict", f"{path} is no valid {language}: {error}.", hint)


def _former(path: Path) -> str:
    return path.read_text(encoding="utf-8-sig") if path.is_file() else ""


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
