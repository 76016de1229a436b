"""The commands for people: one per tool, their exit codes, JSON, and the configuration written for clients."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from kernelwright.tools import TOOLS

pytestmark = pytest.mark.usefixtures("environment")


def kernelwright(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kernelwright.server.cli", *arguments]
    return subprocess.run(command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, check=False)


def test_every_tool_is_a_command_with_its_arguments(tmp_path: Path) -> None:
    listed = kernelwright("--help", cwd=tmp_path, COLUMNS="200").stdout
    for tool in TOOLS:
        assert tool.command in listed
    helped = kernelwright("compile", "--help", cwd=tmp_path, COLUMNS="200").stdout
    assert all(flag in helped for flag in ("project", "--backend", "--archs", "--mode", "--json"))
    assert "dev, release" in helped
    assert "--wait-s" not in helped


def test_scaffold_and_compile_as_a_person_would(tmp_path: Path) -> None:
    made = kernelwright("scaffold", "rmsnorm", "cli-norm", cwd=tmp_path)
    assert (made.returncode, (tmp_path / "cli-norm" / "build.toml").is_file()) == (0, True), made.stderr
    built = kernelwright("compile", "cli-norm", "--backend", "cpu", "--json", cwd=tmp_path)
    assert built.returncode == 0, built.stderr
    assert json.loads(built.stdout)["status"] == "ok"
    source = next((tmp_path / "cli-norm").glob("*_cpu/rmsnorm.cpp"))
    source.write_text(source.read_text() + "\nnonsense;\n")
    broken = kernelwright("compile", "cli-norm", "--backend", "cpu", cwd=tmp_path)
    assert broken.returncode == 1
    assert "nonsense" in broken.stdout


def test_a_refused_call_exits_with_2_and_says_what_to_do(tmp_path: Path) -> None:
    refused = kernelwright("guide", "h1000", cwd=tmp_path)
    assert refused.returncode == 2
    assert "unknown_arch" in refused.stderr
    as_json = kernelwright("guide", "h1000", "--json", cwd=tmp_path)
    assert json.loads(as_json.stdout)["error"]["code"] == "unknown_arch"
    assert as_json.returncode == 2
    assert kernelwright("guide", "--no-such-flag", cwd=tmp_path).returncode == 2


def test_doctor_names_what_mends_each_lack(tmp_path: Path) -> None:
    examined = kernelwright("doctor", "--json", cwd=tmp_path)
    data = json.loads(examined.stdout)
    assert examined.returncode == (0 if data["ok"] else 1)
    found = {finding["name"]: finding for finding in data["findings"]}
    assert {"torch", "g++", "ninja", "nvcc", "GPU", "driver", "sandbox", "ncu", "Hub token"} <= set(found)
    assert all(finding["detail"] or finding["mend"] for finding in found.values())
    bare = kernelwright("doctor", "--json", cwd=tmp_path, PATH="/nonexistent", CUDA_HOME="/nonexistent")
    lacks = {f["name"]: f["mend"] for f in json.loads(bare.stdout)["findings"] if f["state"] != "ok"}
    assert "apt-get install -y g++" in lacks["g++"]


def test_setup_codex_keeps_what_is_there(tmp_path: Path) -> None:
    home = tmp_path / "codex"
    home.mkdir()
    (home / "config.toml").write_text('# mine\nmodel = "some-model"\n\n[mcp_servers.other]\ncommand = "other"\n')
    shown = kernelwright("setup", "codex", "--dry-run", cwd=tmp_path, CODEX_HOME=str(home))
    assert shown.returncode == 0
    assert "required = true" in shown.stdout
    assert "kernelwright" not in (home / "config.toml").read_text()
    assert kernelwright("setup", "codex", "--root", "kernels", cwd=tmp_path, CODEX_HOME=str(home)).returncode == 0
    text = (home / "config.toml").read_text()
    config = tomllib.loads(text)
    entry = config["mcp_servers"]["kernelwright"]
    assert text.startswith("# mine")
    assert (config["model"], config["mcp_servers"]["other"]["command"]) == ("some-model", "other")
    assert entry["required"] is True
    assert entry["tool_timeout_sec"] >= 300
    assert entry["args"][-2:] == ["--root", str(tmp_path / "kernels")]
    assert Path(entry["command"]).exists()


def test_setup_claude_keeps_what_is_there(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / ".claude.json").write_text('{"theme": "dark", "mcpServers": {"other": {"command": "other"}}}')
    assert kernelwright("setup", "claude", "--dry-run", cwd=tmp_path).returncode == 0
    assert "kernelwright" not in (home / ".claude.json").read_text()
    assert kernelwright("setup", "claude", cwd=tmp_path).returncode == 0
    config = json.loads((home / ".claude.json").read_text())
    assert config["theme"] == "dark"
    assert set(config["mcpServers"]) == {"other", "kernelwright"}
    assert config["mcpServers"]["kernelwright"]["alwaysLoad"] is True
    (home / ".claude.json").write_text("{broken")
    broken = kernelwright("setup", "claude", cwd=tmp_path)
    assert broken.returncode == 2
    assert (home / ".claude.json").read_text() == "{broken"


def test_setup_for_a_remote_host(tmp_path: Path) -> None:
    shown = kernelwright("setup", "codex", "--url", "http://gpu-host:8765/mcp", "--dry-run", cwd=tmp_path)
    assert 'bearer_token_env_var = "KERNELWRIGHT_TOKEN"' in shown.stdout
