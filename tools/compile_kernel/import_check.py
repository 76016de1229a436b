"""Loads a built package in a fresh, boxed process and tells what it found; runs under the user's Python with torch alone.

It starts while the compilers are still at work, imports torch meanwhile, and waits for one line on stdin: a JSON object with
`folder` (the variant), `id` (the name to import it by), `namespace` of its ops, `symbols` that its library wants and
`libraries` to look for them in, `keys` (dispatch keys that each op should have), `lazy` (whether symbols of a torch for another
device may be missing). One line of JSON on stdout is the answer.
"""

from __future__ import annotations

import ctypes
import importlib.util
import inspect
import json
import os
import re
import sys
import traceback
from typing import Any

# Of ops in namespaces other than the package's: what it imports may bring any number of them.
MOST_NAMES = 500


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
    """Load the package that `order` describes: {"ok", "ops", "elsewhere", "problem"}. torch has been imported."""
    if order["lazy"]:
        sys.setdlopenflags(os.RTLD_LAZY)
    missing = _missing_symbols(order)
    if missing:
        return {"ok": False, "ops": [], "problem": {"kind": "undefined", "symbols": missing, "message": "undefined symbols"}}
    known = _all_ops()
    try:
        spec = importlib.util.spec_from_file_location(order["id"], order["folder"] + "/__init__.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[order["id"]] = module
        spec.loader.exec_module(module)
        # Some packages leave that to the first call: the library would not have been loaded.
        importlib.import_module(order["id"] + "._ops")
        dangling = _dangling(order["namespace"])
    except BaseException as error:
        return {"ok": False, "ops": [], "problem": _problem(error)}
    if dangling:
        return {"ok": False, "ops": [], "problem": {"kind": "dangling", "ops": dangling, "message": "ops without a schema"}}
    own = order["namespace"] + "::"
    elsewhere = sorted(name for name in _all_ops() - known if not name.startswith(own))
    return {"ok": True, "ops": _ops(order["namespace"], order["keys"]), "elsewhere": elsewhere[:MOST_NAMES], "problem": None}


def _all_ops() -> set[str]:
    import torch

    return set(torch._C._dispatch_get_all_op_names())


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
    # The schemas of all of torch's own ops are thousands of objects, made anew in each process.
    for qualified in sorted(torch._C._dispatch_get_all_op_names()):
        name, _, overload = qualified.partition(".")
        if not name.startswith(namespace + "::"):
            continue
        schema = torch._C._get_schema(name, overload)
        has = torch._C._dispatch_has_kernel_for_dispatch_key
        composite = has(qualified, "CompositeImplicitAutograd") or has(qualified, "CompositeExplicitAutograd")
        fake = _python_fake(qualified)
        found.append(
            {
                "schema": str(schema),
                "keys": [key for key in keys if has(qualified, key) or composite],
                "fake": bool(has(qualified, "Meta") or composite or fake),
                "fake_at": getattr(fake, "source", ""),
                "misfit": _misfit(getattr(fake, "func", None), schema.arguments),
                "arguments": [_argument(argument) for argument in schema.arguments],
                "returns": [_argument(value) for value in schema.returns],
                "tags": _tags(schema),
            }
        )
    return found


def _argument(argument: Any) -> dict[str, Any]:
    """Name and type of one argument or result, whether it is written, and whether it may be the memory of another one."""
    alias = argument.alias_info
    kind = str(getattr(argument, "real_type", argument.type))
    return {"name": argument.name, "type": kind, "written": bool(alias and alias.is_write), "alias": alias is not None}


def _tags(schema: Any) -> list[str]:
    import torch

    try:
        return [tag.name for tag in torch._C._get_operation_overload(schema.name, schema.overload_name)[2]]
    except (AttributeError, TypeError, RuntimeError):
        return []


def _python_fake(qualified: str) -> Any:
    """What `torch.library.register_fake` keeps for the op, None if there is nothing."""
    try:
        from torch._library.simple_registry import singleton
    except ImportError:
        return True
    return singleton.find(qualified).fake_impl.kernel


def _misfit(fake: Any, arguments: list[Any]) -> str:
    """Why a fake kernel cannot be called as torch will: with all arguments, and without those that are at their default."""
    if fake is None:
        return ""
    try:
        # torch keeps what was registered inside a function of its own that takes anything.
        if fake.__module__.startswith("torch.") and "func" in fake.__code__.co_freevars:
            fake = inspect.getclosurevars(fake).nonlocals["func"]
        signature = inspect.signature(fake)
    except (AttributeError, TypeError, ValueError, KeyError):
        return ""
    for given in (arguments, [a for a in arguments if not a.has_default_value()]):
        try:
            signature.bind(*(None for a in given if not a.kwarg_only), **{a.name: None for a in given if a.kwarg_only})
        except TypeError as error:
            return str(error) + ("" if given is arguments else ", which torch leaves out where it is at its default")
    return ""


if __name__ == "__main__":
    main()
