"""The judge's first steps: read the request and start the children, so that they import torch while the judge does."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from types import FrameType

from .trial import Trial


def main(arguments: list[str]) -> int:
    """Judge what the request file ``arguments[0]`` says; the last line on stdout is a `result` or an `error`."""
    request = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    signal.signal(signal.SIGTERM, _stop)
    trial = Trial(request)
    try:
        # Not at the top: this imports torch.
        from .judge import conduct

        return conduct(trial)
    finally:
        trial.close()


def _stop(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
