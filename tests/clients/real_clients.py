"""Where the real clients and the server's command are, and what the tests know of a served Kernelwright."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = ROOT / ".clients"
TOKEN = "a-token-for-these-tests"
KERNELWRIGHT = Path(sys.executable).parent / "kernelwright"


@dataclass(frozen=True)
class Served:
    """A Kernelwright on loopback that wants `TOKEN`."""

    url: str
    state: Path

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rsplit(":", 1)[1].split("/")[0])
