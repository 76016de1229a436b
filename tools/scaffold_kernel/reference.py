"""The reference that a caller passes for a kernel of their own: read, never run, for the signature of the op."""

from __future__ import annotations

import ast
import keyword
from dataclasses import dataclass

from kernelwright.tools.tool import ToolError

MAX_BYTES = 100_000
# Names that the skeleton's C++ uses itself, or that C++ keeps for its own use.
_TAKEN_NAMES = (
    "n i out dtype stream launch step blocks element error compute auto bool break case char class const continue "
    "default delete do double else enum explicit export extern false float for friend goto if inline int long namespace "
    "new operator private protected public register return short signed sizeof static struct switch template this throw "
    "true try typedef typename union unsigned using virtual void volatile while and or not xor half"
)
_TAKEN = frozenset(_TAKEN_NAMES.split())
_EXAMPLE = "def reference(x, alpha=1.0):\n    return x * torch.sigmoid(alpha * x)"


@dataclass(frozen=True)
class Parameter:
    """An argument: a tensor, or a number with a default."""

    name: str
    kind: str = "tensor"
    default: float | int | bool | None = None

    @property
    def cxx(self) -> str:
        """Its name in C++."""
        return f"{self.name}_" if self.name in _TAKEN else self.name


@dataclass(frozen=True)
class Reference:
    """What the caller passed: `whole` if it is a problem.py of its own, `entry` the function's name if it says one."""

    source: str
    parameters: tuple[Parameter, ...]
    whole: bool
    entry: str | None


STUB = (Parameter("x"),)


def parse(source: str) -> Reference:
    """Read `source` without running it; raises ToolError `bad_argument` that says what it lacks."""
    if len(source.encode()) > MAX_BYTES:
        raise ToolError("too_large", f"reference is longer than {MAX_BYTES} bytes.", "Pass the function alone.")
    try:
        module = ast.parse(source)
    except (MemoryError, RecursionError):
        # How Python's parser gives up on an expression of too many levels.
        raise _bad("reference is nested too deeply to be read") from None
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise _bad(f"reference is not Python: {error.args[0]}" + (f", line {line}" if line else "")) from None
    functions = {node.name: node for node in module.body if isinstance(node, ast.FunctionDef)}
    assignments = [node for node in module.body if isinstance(node, ast.Assign)]
    assigned = {target.id: node.value for node in assignments for target in node.targets if isinstance(target, ast.Name)}
    if "reference" not in functions:
        near = f"; it defines {', '.join(functions)}" if functions else ""
        raise _bad(f"reference defines no function reference(...){near}")
    whole = "inputs" in functions and "shapes" in assigned
    entry = assigned.get("entry")
    name = entry.value if isinstance(entry, ast.Constant) and isinstance(entry.value, str) else None
    if name is not None and (not name.isidentifier() or not name.isascii() or keyword.iskeyword(name)):
        raise _bad(f"entry = {name!r} is no name of a function")
    return Reference(source, _parameters(functions["reference"]), whole, name if whole else None)


def _parameters(function: ast.FunctionDef) -> tuple[Parameter, ...]:
    given = function.args
    if given.vararg or given.kwarg or given.kwonlyargs:
        raise _bad("reference(...) takes *, ** or keyword-only arguments, which an op's schema cannot have")
    arguments = [*given.posonlyargs, *given.args]
    if foreign := [argument.arg for argument in arguments if not argument.arg.isascii()]:
        raise _bad(f"an op's schema takes ASCII names only, and reference(...) has {', '.join(foreign)}")
    tensors = len(arguments) - len(given.defaults)
    if tensors == 0:
        raise _bad("reference(...) takes no tensor: every argument has a default")
    found = [Parameter(argument.arg) for argument in arguments[:tensors]]
    for argument, default in zip(arguments[tensors:], given.defaults, strict=True):
        try:
            value = ast.literal_eval(default)
        except (ValueError, MemoryError, RecursionError):
            value = None
        if not isinstance(value, bool | int | float):
            raise _bad(f"the default of {argument.arg} is no number: only tensors without a default and numbers are understood")
        found.append(Parameter(argument.arg, type(value).__name__, value))
    return tuple(found)


def _bad(message: str) -> ToolError:
    return ToolError("bad_argument", f"{message}.", f"Pass source like:\n{_EXAMPLE}")
