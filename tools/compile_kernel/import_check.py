"""Loads a built package in a fresh, boxed process and tells what it found; runs under the user's Python with torch alone.

It starts while the compilers are still at work, imports torch meanwhile, and waits for one line on stdin: a JSON object with
`folder` (the variant), `id` (the name to import it by), `namespace` of its ops, `symbols` that its library wants and
`libraries` to look for them in, `keys` (dispatch keys that each op should have), `lazy` (whether symbols of a torch for another
device may be missing). One line of JSON on stdout is the answer.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import re
import sys
import traceback
from typing import Any


def main() -> None:
    """Import torch, wait for the order, carry it out."""
    early = None
    try:
        import torch  # noqa: F401
    except Exception as error:
        early = _problem(error)
    line = sys.stdin.readline()
    if not line:
        return
    order = json.loads(line)
    answer = sys.stdout
    # What the package prints at import is not our answer.
    sys.stdout = sys.stderr
    result = {"ok": False, "ops": [], "problem": early} if early else check(order)
    print(json.dumps(result), file=answer, flush=True)
    os._exit(0)


def check(order: dict[str, Any]) -> dict[str, Any]:
    """Load the package that `order` describes: {"ok", "ops", "problem"}. torch has been imported."""
    if order["lazy"]:
        sys.setdlopenflags(os.RTLD_LAZY)
    missing = _missing_symbols(order)
    if missing:
        return {"ok": False, "ops": [], "problem": {"kind": "undefined", "symbols": missing, "message": "undefined symbols"}}
    try:
        spec = importlib.util.spec_from_file_location(order["id"], order["folder"] + "/__init__.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[order["id"]] = module
        spec.loader.exec_module(module)
        dangling = _dangling(order["namespace"])
    except BaseException as error:
        return {"ok": False, "ops": [], "problem": _problem(error)}
    if dangling:
        return {"ok": False, "ops": [], "problem": {"kind": "dangling", "ops": dangling, "message": "ops without a schema"}}
    return {"ok": True, "ops": _ops(order["namespace"], order["keys"]), "problem": None}


def _dangling(namespace: str) -> list[str]:
    """Ops of `namespace` that have a kernel but that nothing declares, by their name without namespace."""
    import torch

    found = re.findall(r"name: (\S+)::(\S+)", "\n".join(torch._C._dispatch_find_dangling_impls()))
    return [name for place, name in found if place == namespace]


def _missing_symbols(order: dict[str, Any]) -> list[str]:
    """Symbols that nobody here defines: lazy loading would not notice them, eager loading names only the first."""
    handles = [ctypes.CDLL(None)]
    for name in order["libraries"]:
        try:
            handles.append(ctypes.CDLL(name))
        except OSError:
            continue
    return [symbol for symbol in order["symbols"] if not any(_has(handle, symbol) for handle in handles)]


def _has(handle: ctypes.CDLL, symbol: str) -> bool:
    try:
        return bool(handle[symbol])
    except AttributeError:
        return False


def _problem(error: BaseException) -> dict[str, Any]:
    frames = [[frame.filename, frame.lineno] for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        frames.append([error.filename, error.lineno or 0])
    return {"kind": type(error).__name__, "message": str(error), "frames": frames, "module": getattr(error, "name", None)}


def _ops(namespace: str, keys: list[str]) -> list[dict[str, Any]]:
    """Schema of every op in `namespace`, and which of `keys` and of the fake kernels it has."""
    import torch

    found = []
    prefix = namespace + "::"
    for schema in torch._C._jit_get_all_schemas():
        if not schema.name.startswith(prefix):
            continue
        qualified = schema.name + ("." + schema.overload_name if schema.overload_name else "")
        has = torch._C._dispatch_has_kernel_for_dispatch_key
        composite = has(qualified, "CompositeImplicitAutograd") or has(qualified, "CompositeExplicitAutograd")
        fake = has(qualified, "Meta") or composite or _has_fake(qualified)
        found.append(
            {
                "schema": str(schema),
                "keys": [key for key in keys if has(qualified, key) or composite],
                "fake": bool(fake),
                "mutates": any(
                    argument.alias_info is not None and argument.alias_info.is_write for argument in schema.arguments
                ),
            }
        )
    return found


def _has_fake(qualified: str) -> bool:
    try:
        from torch._library.simple_registry import singleton
    except ImportError:
        return True
    return singleton.find(qualified.split(".")[0]).fake_impl.kernel is not None


if __name__ == "__main__":
    main()
