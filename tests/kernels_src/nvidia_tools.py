"""NVIDIA's command-line programs, for tests that look at what they make."""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path

import pytest


def tool(name: str) -> str:
    """Where `name` is, on the PATH, in the wheels or in the usual folder; skips the test that asks where it is nowhere."""
    wheel = Path(sysconfig.get_path("purelib")) / "nvidia/cu13/bin" / name
    found = shutil.which(name) or (str(wheel) if wheel.is_file() else None) or shutil.which(f"/usr/local/cuda/bin/{name}")
    if found is None:
        pytest.skip(f"needs {name}")
    return found
