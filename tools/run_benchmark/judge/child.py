"""What both kinds of children share: the loop that answers the judge, and imports of the agent's modules."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from .arena import Arena
from .first_calls import settle
from .wire import Message, Wire, WireClosedError

Handler = Callable[..., Message]
TRACE_LINES = 12


def connect(fds: str) -> tuple[Wire, list[Arena]]:
    """The connection and the arenas whose descriptors the judge named on the command line; torch is fit to compute then."""
    settle()
    read_fd, write_fd, *arenas = (int(fd) for fd in fds.split(","))
    return Wire(read_fd, write_fd), [Arena(fd) for fd in arenas]


def serve(wire: Wire, handlers: dict[str, Handler]) -> int:
    """Answer until the judge is gone."""
    while True:
        try:
            request = wire.receive()
        except WireClosedError:
            return 0
        nonce, do = request.pop("id"), request.pop("do")
        try:
            reply = handlers[do](**request)
        except Exception as error:
            reply = {"error": describe(error)}
        try:
            wire.send({"id": nonce, **reply})
        except WireClosedError:
            return 0


def describe(error: BaseException) -> dict[str, str]:
    """An exception as data: its type, its message, the end of its traceback without this package's frames."""
    frames = traceback.extract_tb(error.__traceback__)
    here = str(Path(__file__).parent)
    shown = [f for f in frames if not f.filename.startswith(here)] or frames[-1:]
    trace = "".join(traceback.format_list(shown[-TRACE_LINES:]))
    return {"kind": type(error).__name__, "text": str(error)[:2000], "trace": trace[-3000:]}


def import_file(name: str, path: str, folders: Sequence[str] = ()) -> ModuleType:
    """The module at `path`, as a package if `folders` says where its parts lie."""
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=list(folders) or None)
    if spec is None or spec.loader is None:
        raise ImportError(f"{Path(path).name} is no Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def attribute(module: ModuleType, name: str, kind: type | tuple[type, ...], default: Any = None) -> Any:
    """An optional attribute of the agent's module, of the type it must have; raises TypeError."""
    value = getattr(module, name, default)
    if value is not None and not isinstance(value, kind):
        raise TypeError(f"{name} must be of type {kind}, not {type(value).__name__}")
    return value
