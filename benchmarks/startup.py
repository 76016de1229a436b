"""How long an agent waits for Kernelwright: fresh process to `tools/list` answered, beside a hello-world server of its SDK.

    python benchmarks/startup.py [--rounds 15] [--out FILE.json]

The two take turns, so that what else the machine does falls on both alike; each figure is the median of its rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

GOAL = 1.3
HELLO = """\
from mcp.server import MCPServer

mcp = MCPServer("hello", version="1")


@mcp.tool()
def greet(name: str) -> str:
    \"\"\"Greet somebody.\"\"\"
    return f"Hello, {name}"


mcp.run()
"""


@dataclass(frozen=True)
class Start:
    """Seconds from the start of the process until `initialize` and until `tools/list` were answered."""

    initialize: float
    tools_list: float


def start(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Start:
    """Start a server in `folder`, ask it for its tools, and end it."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command, env=environment, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        client = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "startup", "version": "1"}}
        _tell(process, {"id": 1, "method": "initialize", "params": client})
        _answer(process, 1)
        initialized = time.perf_counter()
        _tell(process, {"method": "notifications/initialized"})
        _tell(process, {"id": 2, "method": "tools/list", "params": {}})
        tools = _answer(process, 2)["result"]["tools"]
        listed = time.perf_counter()
        if not tools:
            raise RuntimeError(f"{command[0]} lists no tools")
        return Start(initialized - began, listed - began)
    finally:
        process.kill()
        process.communicate()


def _tell(process: subprocess.Popen[bytes], message: Mapping[str, Any]) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
    process.stdin.flush()


def _answer(process: subprocess.Popen[bytes], number: int) -> dict[str, Any]:
    assert process.stdout is not None
    for line in process.stdout:
        message: dict[str, Any] = json.loads(line)
        if message.get("id") == number:
            return message
    raise RuntimeError(f"the server ended with code {process.wait()} and did not answer request {number}")


def measure(rounds: int) -> dict[str, list[Start]]:
    """`rounds` starts of each server, in turn, after one of each that is thrown away."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "hello.py").write_text(HELLO)
        environment = {"PATH": os.environ["PATH"], "HOME": place, "LANG": "C.UTF-8"}
        commands = {
            "hello world": [sys.executable, str(folder / "hello.py")],
            "kernelwright": [str(Path(sys.executable).parent / "kernelwright"), "serve"],
        }
        found: dict[str, list[Start]] = {name: [] for name in commands}
        for number in range(rounds + 1):
            for name, command in commands.items():
                one = start(command, environment, folder)
                if number:
                    found[name].append(one)
        return found


def report(found: Mapping[str, Sequence[Start]]) -> dict[str, Any]:
    """Medians, their ratios, and what they were measured with."""
    medians = {
        name: {
            "initialize_s": round(statistics.median(one.initialize for one in starts), 4),
            "tools_list_s": round(statistics.median(one.tools_list for one in starts), 4),
        }
        for name, starts in found.items()
    }
    ours, hello = medians["kernelwright"], medians["hello world"]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"processor": _processor(), "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 2)},
        "versions": {"python": platform.python_version(), "mcp": version("mcp"), "kernelwright": version("kernelwright")},
        "rounds": len(found["kernelwright"]),
        "median": medians,
        "ratio": {key.removesuffix("_s"): round(ours[key] / hello[key], 3) for key in ours},
        "goal": GOAL,
        "samples": {name: [asdict(one) for one in starts] for name, starts in found.items()},
    }


def _processor() -> str:
    names = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    return names[0] if names else platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, help="also write the figures there, as JSON")
    arguments = parser.parse_args()
    data = report(measure(arguments.rounds))
    print(f"{'server':14} {'initialize':>12} {'tools/list':>12}   (seconds from start, median of {data['rounds']})")
    for name, row in data["median"].items():
        print(f"{name:14} {row['initialize_s']:>12.3f} {row['tools_list_s']:>12.3f}")
    print(f"{'ratio':14} {data['ratio']['initialize']:>12.2f} {data['ratio']['tools_list']:>12.2f}   (goal: {GOAL} or less)")
    if arguments.out:
        arguments.out.write_text(json.dumps(data, indent=1) + "\n")


if __name__ == "__main__":
    main()
