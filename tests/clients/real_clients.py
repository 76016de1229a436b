"""Where the real clients and the server's command are, and what the tests know of a served Kernelwright."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = ROOT / ".clients"
TOKEN = "a-token-for-these-tests"
KERNELWRIGHT = Path(sys.executable).parent / "kernelwright"
START_S = 60
END_S = 30


@dataclass(frozen=True)
class Served:
    """A Kernelwright on loopback: its URL, and the folder of its workspaces."""

    url: str
    workspaces: Path

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rsplit(":", 1)[1].split("/")[0])


@contextmanager
def serving(environment: Mapping[str, str], place: Path) -> Iterator[Served]:
    """`kernelwright serve --http` on a port that the system chose, its state and cache below `place`."""
    own = {"XDG_STATE_HOME": str(place / "state"), "XDG_CACHE_HOME": str(place / "cache")}
    command = [KERNELWRIGHT, "serve", "--http", "127.0.0.1:0"]
    process = subprocess.Popen(command, env={**environment, **own}, stderr=subprocess.PIPE, text=True)
    try:
        yield Served(_announced(process), place / "state" / "kernelwright" / "workspaces")
    finally:
        process.terminate()
        process.wait(timeout=END_S)


def _announced(process: subprocess.Popen[str]) -> str:
    """The URL that the server prints once it listens; its further words are read so that it never waits for a reader."""
    lines: queue.Queue[str] = queue.Queue()
    assert process.stderr is not None
    stream = process.stderr
    threading.Thread(target=lambda: [lines.put(line) for line in stream], daemon=True).start()
    said = []
    while True:
        try:
            line = lines.get(timeout=START_S)
        except queue.Empty:
            raise AssertionError(f"the server did not start: {''.join(said)}") from None
        said.append(line)
        if "listens on " in line:
            return line.split("listens on ")[1].strip()
