"""What an op declares beside what is registered for it: torch finds out at the first call, at the first compile, or never.

What a function takes is known from the library's own symbols, as the compiler wrote them; which op it is for, from the binding.
Where either is not understood, nothing is said.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, Field

from kernelwright.tools.compile_kernel.contract import Diagnostic
from kernelwright.tools.compile_kernel.diagnostics import make
from kernelwright.tools.compile_kernel.sources import Place, Sources
from kernelwright.tools.project import Project

NM_S = 30
_NAME = r"(?P<name>(?:\w+::|\(anonymous namespace\)::)*\w+)"
# A function that TORCH_BOX took, with its type; one that was given to `impl` by its address is an ordinary symbol.
_BOXED = re.compile(
    r"torch::stable::detail::boxer<(?P<result>.*?) \((?P<takes>.*)\), &(?:\((?!anonymous namespace\)))?" + _NAME
)
_PLAIN = re.compile(rf"^[0-9a-f]+ [tTwW] {_NAME}\((?P<takes>[^()]*\bTensor\b.*)\)$")
_IMPLEMENTED = re.compile(r'\b(?:impl|def)\(\s*"(?P<op>[\w.]+)[^"]*"\s*,(?P<by>[^;]*)\)\s*;')
_FUNCTION = re.compile(r"(?:TORCH_BOX|TORCH_FN)\(\s*&?\s*(?:\w*::)*(?P<boxed>\w+)|&\s*(?:\w*::)*(?P<plain>\w+)\s*$")
_TYPES = (
    (r"(?:torch::stable|at)::Tensor", "Tensor"),
    (r"std::(?:__cxx11::)?basic_string(?:_view)?<char.*>", "str"),
    (r"double", "float"),
    (r"long(?: long)?", "int"),
    (r"bool", "bool"),
    (r"float", "32 bits of a float"),
)
_GENERIC = (
    (r"std::optional<(.*)>", "Optional[{}]"),
    (r"(?:std::vector|(?:\w+::)+(?:HeaderOnly)?ArrayRef)<(.*?)(?:, std::allocator<.*)?>", "List[{}]"),
)
_COMPARED = re.compile(r"(?:Optional\[|List\[)*(?:Tensor|float|int|bool|str)\]*")

_MISFIT = "Give it the arguments of the schema, with the same defaults."
_AGREE = "Make ops.def and the function agree: {}."

Signatures = Mapping[str, Sequence[str]]


class Argument(BaseModel):
    """Of an op's schema: one argument or result, whether it is written, and whether it may share memory with another."""

    name: str = ""
    type: str
    written: bool = False
    alias: bool = False


class Op(BaseModel):
    """What the import check tells of one op; `misfit` is why torch cannot call its fake kernel, registered at `fake_at`."""

    schema_: str = Field(alias="schema")
    keys: list[str]
    fake: bool
    fake_at: str = ""
    misfit: str = ""
    arguments: list[Argument] = []
    returns: list[Argument] = []
    tags: list[str] = []

    @property
    def name(self) -> str:
        """Without the namespace, with the overload's name if it has one."""
        return self.schema_.partition("(")[0].rpartition("::")[2]

    @property
    def writes(self) -> bool:
        """Whether any argument is declared as written."""
        return any(argument.written for argument in self.arguments)


def signatures(library: Path) -> dict[str, list[str]]:
    """C++ types of the library's functions that an op may be registered with, as `parse` has them; none without binutils."""
    try:
        listed = subprocess.run(
            ["nm", "-C", "--defined-only", str(library)], capture_output=True, text=True, timeout=NM_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    return parse(listed.stdout)


def parse(listed: str) -> dict[str, list[str]]:
    """``name: [result, argument, …]`` out of what nm lists; `result` is empty where the symbol does not tell it.

    A name that several functions share is left out.
    """
    boxed, plain = _found(_BOXED, listed), _found(_PLAIN, listed)
    return {name: list(found.pop()) for name, found in {**plain, **boxed}.items() if len(found) == 1}


def _found(pattern: re.Pattern[str], listed: str) -> dict[str, set[tuple[str, ...]]]:
    found: dict[str, set[tuple[str, ...]]] = {}
    for line in listed.splitlines():
        match = pattern.search(line)
        if match:
            groups = match.groupdict()
            name = groups["name"].rpartition("::")[2]
            found.setdefault(name, set()).add((groups.get("result", ""), *_split(groups["takes"])))
    return found


def _split(listed: str) -> list[str]:
    """The items of a list whose commas may also stand inside brackets."""
    parts, depth = [""], 0
    for letter in listed:
        depth += {"<": 1, "(": 1, ">": -1, ")": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip() not in {"", "void"}]


def torch_type(cxx: str) -> str:
    """The schema's type for what C++ calls `cxx`, empty where none is known."""
    name = re.sub(r"^const |( const)?\s*&{0,2}$", "", cxx).strip()
    for pattern, meaning in _TYPES:
        if re.fullmatch(pattern, name):
            return meaning
    for pattern, form in _GENERIC:
        inner = re.fullmatch(pattern, name)
        if inner:
            return form.format(torch_type(inner[1])) if torch_type(inner[1]) else ""
    return ""


def implementations(project: Project, sources: Sources) -> dict[str, list[tuple[str, Place]]]:
    """For each op of the binding the names of the functions that are registered for it, and where."""
    found: dict[str, list[tuple[str, Place]]] = {}
    for file in project.build.binding.sources:
        text = "\n".join(sources.lines(file))
        for match in _IMPLEMENTED.finditer(text):
            function = _FUNCTION.search(match["by"].strip())
            if function:
                place = Place(file, text.count("\n", 0, match.start()) + 1)
                found.setdefault(match["op"], []).append((function["boxed"] or function["plain"], place))
    return found


def disagreements(
    ops: Sequence[Op], known: Signatures, project: Project, sources: Sources, definition: Mapping[str, Place]
) -> list[Diagnostic]:
    """Warnings about the `ops` that the import check found; `definition` tells where each is declared."""
    registered = implementations(project, sources)
    found: list[Diagnostic] = []
    careless: dict[str, Place] = {}
    for op in ops:
        place = definition[op.name]
        functions = [(name, known[name], at) for name, at in registered.get(op.name, ()) if name in known]
        for name, types, at in functions:
            found += [make("warning", text, at, sources, advice) for text, advice in _cxx(op, name, types)]
        named = list(dict.fromkeys(name for _, types, _ in functions for name in _references(op, types)))
        found += [make("warning", text, place, sources, advice) for text, advice in _schema(op, named)]
        if op.misfit:
            text = f"the fake kernel of {op.name} cannot be called with what the op declares: {op.misfit}"
            found.append(make("warning", text, _fake_place(op, project, sources, place), sources, _MISFIT))
        if op.returns and not op.writes and named:
            careless[op.name] = place
    if careless:
        names, first = ", ".join(careless), next(iter(careless.values()))
        text = f"C++ takes tensors of {names} as Tensor&, which may be written, and the schema says that none is"
        found.append(make("note", text, first, sources, "Declare what is written, Tensor(a!); take the rest as const Tensor&."))
    return found


def _cxx(op: Op, function: str, types: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What every call will run into: a boxed function trusts the schema for the number and the types of its arguments."""
    result, *takes = types
    if len(takes) != len(op.arguments):
        text = f"the op {op.name} declares {len(op.arguments)} arguments, {function}() takes {len(takes)}"
        yield text, _AGREE.format("every call raises")
        return
    for argument, cxx in zip(op.arguments, takes, strict=True):
        theirs = torch_type(cxx)
        if theirs and theirs != argument.type and _COMPARED.fullmatch(argument.type):
            short = cxx.replace("torch::stable::", "").replace("std::__cxx11::", "std::")
            text = f"the op {op.name} declares {argument.name} as {argument.type}, {function}() takes {short}"
            yield text, _AGREE.format("float is C++'s double, int is int64_t; anything else reads bytes of another type")
    inner = re.fullmatch(r"std::tuple<(.*)>", result)
    given = [] if result == "void" else _split(inner[1]) if inner else [result]
    if result and len(given) != len(op.returns):
        text = f"the op {op.name} declares {len(op.returns)} results, {function}() returns {len(given)}"
        yield text, _AGREE.format("every call raises")


def _schema(op: Op, writable: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What torch.compile makes of the schema alone; `writable` are arguments that C++ may write."""
    if not op.returns and not op.writes:
        which = f" ({', '.join(writable)} in C++)" if writable else ""
        text = f"the op {op.name} returns nothing and declares nothing as written{which}: torch.compile leaves its calls out"
        yield text, "Declare each tensor that it writes: Tensor(a!) out, Tensor(b!) other."
    if any(value.alias for value in op.returns) and op.writes and not {"out", "inplace"} & set(op.tags):
        text = f"the op {op.name} returns a tensor that it was given: torch.compile refuses it"
        yield text, "Return nothing, -> (), and let the Python function return the tensor."


def _references(op: Op, types: Sequence[str]) -> list[str]:
    """Names of the arguments that C++ takes by a reference through which it may write."""
    takes = types[1:] if len(types) == len(op.arguments) + 1 else ()
    writable = re.compile(r"(?:torch::stable|at)::Tensor&")
    return [argument.name for argument, cxx in zip(op.arguments, takes, strict=False) if writable.fullmatch(cxx)]


def _fake_place(op: Op, project: Project, sources: Sources, otherwise: Place) -> Place:
    """Where the fake kernel is registered: a file of the built package has the name of one of the project's."""
    file, _, line = op.fake_at.rpartition(":")
    root = project.package_dir.relative_to(project.path)
    parts = Path(file).parts[1:]
    for start in range(len(parts)):
        own = sources.own(str(root.joinpath(*parts[start:])))
        if own and line.isdigit():
            return Place(own, int(line))
    return otherwise
