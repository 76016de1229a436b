"""Writes the configuration of the clients that start Kernelwright: Codex and Claude Code."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit

from kernelwright.tools.tool import WAIT_MAX_S, ToolError

NAME = "kernelwright"
# Codex cuts a call here; every tool answers before it, by WAIT_MAX_S at the latest.
TOOL_TIMEOUT_S = WAIT_MAX_S + 60
STARTUP_TIMEOUT_S = 30


@dataclass(frozen=True)
class Change:
    """A configuration file as it will be."""

    path: Path
    text: str
    snippet: str


def command() -> list[str]:
    """The command that starts this very installation, whatever the client's PATH."""
    beside = Path(sys.executable).parent / NAME
    found = str(beside) if beside.is_file() else shutil.which(NAME)
    return [found, "serve"] if found else [sys.executable, "-m", "kernelwright.server.cli", "serve"]


def codex(roots: list[Path], url: str | None = None) -> Change:
    """Codex's ``config.toml``, everything else in it kept."""
    path = Path(os.environ.get("CODEX_HOME") or Path.home() / ".codex") / "config.toml"
    document = tomlkit.parse(path.read_text()) if path.is_file() else tomlkit.document()
    entry = tomlkit.table()
    for key, value in _codex_entry(roots, url).items():
        entry.add(key, value)
    servers = document.setdefault("mcp_servers", tomlkit.table(is_super_table=True))
    servers[NAME] = entry
    alone = tomlkit.document()
    alone["mcp_servers"] = {NAME: dict(entry)}
    return Change(path, tomlkit.dumps(document), tomlkit.dumps(alone))


def _codex_entry(roots: list[Path], url: str | None) -> dict[str, Any]:
    limits = {"required": True, "startup_timeout_sec": STARTUP_TIMEOUT_S, "tool_timeout_sec": TOOL_TIMEOUT_S}
    if url:
        return {"url": url, "bearer_token_env_var": "KERNELWRIGHT_TOKEN", **limits}
    first, *rest = command()
    return {"command": first, "args": [*rest, *_root_flags(roots)], **limits}


def claude(roots: list[Path], url: str | None = None, *, project: bool = False) -> Change:
    """Claude Code's user configuration, or with `project` the ``.mcp.json`` of the current directory."""
    home = Path(os.environ.get("CLAUDE_CONFIG_DIR") or Path.home())
    path = Path.cwd() / ".mcp.json" if project else home / ".claude.json"
    try:
        document = json.loads(path.read_text()) if path.is_file() else {}
    except ValueError as error:
        raise ToolError("conflict", f"{path} is no valid JSON: {error}.", "Mend or move the file first.") from error
    first, *rest = command()
    entry: dict[str, Any] = {"type": "stdio", "command": first, "args": [*rest, *_root_flags(roots)], "alwaysLoad": True}
    if url:
        entry = {"type": "http", "url": url, "headers": {"Authorization": "Bearer ${KERNELWRIGHT_TOKEN}"}, "alwaysLoad": True}
    document.setdefault("mcpServers", {})[NAME] = entry
    return Change(path, json.dumps(document, indent=2) + "\n", json.dumps({"mcpServers": {NAME: entry}}, indent=2) + "\n")


def _root_flags(roots: list[Path]) -> list[str]:
    return [flag for root in roots for flag in ("--root", str(root.resolve()))]


def apply(change: Change) -> None:
    """Write the file, the former one kept beside it as ``.bak``."""
    change.path.parent.mkdir(parents=True, exist_ok=True)
    if change.path.is_file():
        shutil.copy2(change.path, change.path.with_name(change.path.name + ".bak"))
    temporary = change.path.with_name(f".{change.path.name}.{os.getpid()}")
    temporary.write_text(change.text)
    if change.path.is_file():
        shutil.copymode(change.path, temporary)
    temporary.replace(change.path)
