"""The real Codex, with a scripted model in the model's place, takes a kernel from the guide to a verdict in one turn."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from model_server import NAMESPACE, Call, Script, ScriptedModel
from real_clients import KERNELWRIGHT, TOKEN, Served

pytestmark = pytest.mark.clients
TURN_S = 280
# A person's word in the configuration: this tool may be called without asking again.
APPROVED = 'mcp_servers.kernelwright.tools.publish_to_hub.approval_mode="approve"'
Waiting = Generator[Call, str, dict[str, Any]]
Codex = Callable[..., subprocess.CompletedProcess[str]]


def data(shown: str) -> dict[str, Any]:
    """The result in what Codex shows the model, which puts a line about the time it took before the JSON."""
    answer = json.loads(shown[shown.index("{") :])
    assert isinstance(answer, dict)
    return answer


def finished(shown: str) -> Waiting:
    """The result of a job, asked for until it has ended, as a model would."""
    result = data(shown)
    while result["status"] in {"queued", "running"}:
        job = data((yield Call("get_job", {"job_id": result["job_id"], "wait_s": 60})))
        result = job["result"] or job
    return result


def five_calls(card: str | None = None) -> Script:
    """Guide, scaffold, compile, benchmark, publish; `card` is sent through `files` to a host that has the project."""
    guide = data((yield Call("get_arch_guide", {"arch": "h100"})))
    assert guide["compute_capability"] == "9.0" and "sm_90a" in guide["nvcc_flag"], guide
    made = data((yield Call("scaffold_kernel", {"op": "rmsnorm", "name": "my-norm"})))
    assert "build.toml" in {file["path"] for file in made["files"]}, made
    sent = {"files": {"CARD.md": card}} if card else {}
    built = yield from finished((yield Call("compile_kernel", {"project": made["project"], "backend": "cpu", **sent})))
    assert built["status"] == "ok" and built["variant"].endswith("-cpu-x86_64-linux"), built
    assert built["abi"]["ok"] is True, built
    asked = {
        "project": made["project"],
        "backend": "cpu",
        "shapes": [[64, 1024]],
        "dtypes": ["float32"],
        "baselines": ["eager"],
    }
    timed = yield from finished((yield Call("run_benchmark", asked)))
    assert timed["rows"] and all(row["correct"] and row["us"] > 0 for row in timed["rows"]), timed
    # How sure a time is depends on what else this machine does; that it is right does not.
    assert timed["verdict"] in {"ok", "inconclusive"}, timed
    return (yield Call("publish_to_hub", {"project": made["project"], "repo_id": "acme/my-norm"}))


@pytest.fixture
def codex(client: Callable[[str, str], Path], environment: dict[str, str], work: Path) -> Codex:
    """`codex(*arguments)`: runs it in the work folder with a scratch CODEX_HOME."""
    program = client("codex", "codex")

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, *arguments],
            env=environment | {"MOCK_API_KEY": "x"} | more,
            cwd=work,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TURN_S,
        )

    return run


def one_turn(codex: Codex, model: ScriptedModel, *settings: str, **more: str) -> list[dict[str, Any]]:
    """One turn that must succeed; the events that Codex printed."""
    done = exec_turn(codex, model, *settings, **more)
    assert model.failure is None, model.failure
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def exec_turn(codex: Codex, model: ScriptedModel, *more_settings: str, **more: str) -> subprocess.CompletedProcess[str]:
    """One turn of `codex exec` against the scripted model, as nobody is there to approve anything."""
    settings = {
        "model": "mock-model",
        "model_provider": "mock",
        "approval_policy": "never",
        "sandbox_mode": "read-only",
        "model_providers.mock.name": "mock",
        "model_providers.mock.base_url": model.url,
        "model_providers.mock.wire_api": "responses",
        "model_providers.mock.env_key": "MOCK_API_KEY",
        "model_providers.mock.request_max_retries": 0,
        "model_providers.mock.stream_max_retries": 0,
        "mcp_servers.kernelwright.required": True,
        "mcp_servers.kernelwright.tool_timeout_sec": 300,
    }
    lines = [*(f"{name}={json.dumps(value)}" for name, value in settings.items()), *more_settings]
    flags = [word for line in lines for word in ("-c", line)]
    return codex("exec", "--json", "--skip-git-repo-check", *flags, "run the script", **more)


def last_words(events: list[dict[str, Any]]) -> str:
    """What the model said at the end of the turn."""
    return str(
        [e["item"]["text"] for e in events if e["type"] == "item.completed" and e["item"]["type"] == "agent_message"][-1]
    )


def test_codex_over_stdio(codex: Codex, environment: dict[str, str], work: Path) -> None:
    subprocess.run([KERNELWRIGHT, "setup", "codex"], env=environment, check=True, capture_output=True)
    listed = json.loads(codex("mcp", "list", "--json").stdout)
    assert [(server["name"], server["enabled"]) for server in listed] == [("kernelwright", True)]
    with ScriptedModel(five_calls) as model:
        words = last_words(one_turn(codex, model))
    # Publishing is open to the world, so Codex does not allow it without a person, and tells the model so.
    assert "requires approval" in words
    assert (work / "my-norm" / "build.toml").is_file()
    _assert_shown(model)


def _assert_shown(model: ScriptedModel) -> None:
    """What a model would have been shown: every tool, its instructions, results that fit."""
    tools = {tool.get("name"): tool for tool in model.requests[0]["tools"]}
    (ours,) = [tool for name, tool in tools.items() if name == NAMESPACE]
    names = {tool["name"] for tool in ours["tools"]}
    assert {"get_arch_guide", "scaffold_kernel", "compile_kernel", "run_benchmark", "publish_to_hub", "get_job"} <= names
    assert "kernel" in ours["description"].lower()
    outputs = [item for item in model.requests[-1]["input"] if item.get("type") == "function_call_output"]
    assert len(outputs) >= 5
    for output in outputs:
        assert "truncated" not in json.dumps(output["output"]).lower()


def test_codex_over_http(codex: Codex, served: Served, work: Path) -> None:
    added = codex("mcp", "add", "kernelwright", "--url", served.url, "--bearer-token-env-var", "KERNELWRIGHT_TOKEN")
    assert added.returncode == 0, added.stderr
    card = "---\nlibrary_name: kernels\nlicense: apache-2.0\n---\n# Sent by the agent\n"
    with ScriptedModel(lambda: five_calls(card)) as model:
        packed = data(last_words(one_turn(codex, model, APPROVED, KERNELWRIGHT_TOKEN=TOKEN)))
    assert (packed["status"], packed["commit"]) == ("ok", None), packed
    assert not list(work.iterdir()), "the project belongs on the host, not beside the agent"
    assert (served.workspaces / "my-norm" / "CARD.md").read_text() == card
    _assert_shown(model)


def test_codex_without_the_token_gets_no_turn(codex: Codex, served: Served) -> None:
    codex("mcp", "add", "kernelwright", "--url", served.url, "--bearer-token-env-var", "KERNELWRIGHT_TOKEN")
    with ScriptedModel(five_calls) as model:
        done = exec_turn(codex, model, KERNELWRIGHT_TOKEN="another")
    assert done.returncode != 0
    assert "kernelwright" in done.stderr + done.stdout
    assert model.requests == []
