"""Why the built package does not load: as one or a few errors, each at the line of the project that brought it about."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from kernelwright.tools.compile_kernel import diagnostics, imports, registrations, resources
from kernelwright.tools.compile_kernel.checker import Loaded
from kernelwright.tools.compile_kernel.contract import Diagnostic
from kernelwright.tools.compile_kernel.diagnostics import make
from kernelwright.tools.compile_kernel.sources import Place, Sources
from kernelwright.tools.project import Project

# Of a source, letters that are looked through.
_READ = 1 << 18
_FAILED = "import of the built package failed: "
# What torch says of a registration that it refuses; the paths and stack frames around it are its own.
_TWICE = re.compile(r"Tried to register an operator \(\w+::(?P<op>[\w.]+)\(.*same name and overload name multiple times")
_MISMATCH = re.compile(
    r"operator: \w+::(?P<op>[\w.]+)\s+expected schema: \w+::(?P<declared>.*)\n[\s\S]*?inferred schema: (?P<taken>.*)\n"
    r"[\s\S]*?reason: (?P<reason>.*)"
)


def diagnosed(loaded: Loaded, project: Project, backend: str, staged: Path, sources: Sources) -> list[Diagnostic]:
    """What the import check found wrong with the package in the folder `staged`."""
    problem = loaded.problem or {}
    package_dir = str(project.package_dir.relative_to(project.path))
    kind, message = str(problem.get("kind")), str(problem.get("message")).replace(str(staged), package_dir)
    binding = project.build.binding.sources
    if kind == "undefined":
        return [
            _undefined(symbol, project, backend, sources) for symbol in problem.get("symbols", [])[: diagnostics.MAX_ERRORS]
        ]
    if kind == "dangling":
        name = str(problem["ops"][0])
        place = sources.search(rf'impl\(\s*"{re.escape(name)}"', binding)
        return [make("error", f"ops.impl names {name!r}, which no ops.def declares", place, sources)]
    registered = _registration(f"{message}\n{loaded.log}", project, sources)
    if registered:
        return [registered]
    if kind == "crash":
        return [_crash(message, loaded.log, project, f"{package_dir}/__init__.py", sources)]
    place = Place()
    for name, line in problem.get("frames", ()):
        path = Path(str(name))
        if path.is_relative_to(staged) and path.name != "_ops.py":
            place = Place(f"{package_dir}/{path.relative_to(staged)}", int(line))
    if "module export function" in message and binding:
        place = Place(binding[0])
    advice = imports.advice(str(problem.get("module") or ""), project, backend) if kind == "ModuleNotFoundError" else ""
    # The name that the package was loaded by is no one's but this build's.
    message = re.sub(rf"\b_{project.python_name}_{backend}_[0-9a-f]{{7}}(?=[.'])", project.python_name, message)
    return [make("error", f"{_FAILED}{kind}: {message}", place, sources, advice)]


def _registration(said: str, project: Project, sources: Sources) -> Diagnostic | None:
    """A registration that torch refuses: Python raises it, and in a static object of the library it ends the process."""
    twice, mismatch = _TWICE.search(said), _MISMATCH.search(said)
    if twice:
        name = twice["op"].partition(".")[0]
        places = sources.every(rf'\bdef\(\s*"{re.escape(name)}\b', project.build.binding.sources)
        return _declared_twice(name, places[-1] if places else Place(), sources)
    if mismatch:
        name = mismatch["op"].partition(".")[0]
        taken = re.sub(r" _\d+\b", "", mismatch["taken"])
        implemented = [place for _, place in registrations.implementations(project, sources).get(name, ())]
        text = (
            f"{_FAILED}the op is declared as {mismatch['declared']}, its function is {taken}: {mismatch['reason'].rstrip('.')}"
        )
        advice = "Make them agree; float is C++'s double, int is int64_t, Tensor? is std::optional<Tensor>."
        return make("error", text, implemented[0] if implemented else Place(), sources, advice)
    return None


def _declared_twice(name: str, place: Place, sources: Sources) -> Diagnostic:
    advice = f"Keep one ops.def, or give the second one an overload's name: {name}.other(…)."
    return make("error", f"{_FAILED}the op {name} is declared twice", place, sources, advice)


def _second_declaration(binding: Sequence[str], sources: Sources) -> tuple[str, Place] | None:
    """The first op that one of the files declares twice, as far as no #if chooses between the two."""
    for file in binding:
        declared: set[str] = set()
        for number, text in enumerate(sources.lines(file), 1):
            if re.match(r"\s*#\s*(else|elif|endif)\b", text):
                declared.clear()
            found = re.search(r'\bdef\(\s*"([\w.]+)\(', text)
            if found and found[1] in declared:
                return found[1], Place(file, number, found.start() + 1)
            declared |= {found[1]} if found else set()
    return None


def _crash(message: str, log: str, project: Project, init: str, sources: Sources) -> Diagnostic:
    """Under the stable ABI a bad registration ends the process; its last words name the call that failed."""
    binding = project.build.binding.sources
    thrown = re.findall(r"^\s*what\(\):\s*(.*)$", log, re.MULTILINE)
    words = re.sub(r" at /\S+, line \d+", "", thrown[-1]) if thrown else ""
    place = Place(init)
    if "library_def" in words and (second := _second_declaration(binding, sources)):
        return _declared_twice(*second, sources)
    if "library_def" in words:
        place = sources.search(r"\bdef\(", binding)
    elif "library_impl" in words:
        place = sources.search(r"\bimpl\(", binding)
    elif "library" in words:
        place = sources.search(r"TORCH_LIBRARY", binding)
    return make("error", f"{_FAILED}{message}" + (f": {words}" if words else ""), place, sources)


def _undefined(symbol: str, project: Project, backend: str, sources: Sources) -> Diagnostic:
    name = resources.demangled([symbol])[symbol]
    base = re.sub(r"\W.*", "", resources.short(name).rsplit("::", 1)[-1])
    own = [s for s in (*project.build.binding.sources, *project.sources) if Path(s).suffix not in {".md"}]
    place = sources.search(rf"\b{re.escape(base)}\s*\(", own) if base else Place()
    return make("error", f"undefined symbol {name}", place, sources, _where_defined(base, project, backend, sources))


def _where_defined(base: str, project: Project, backend: str, sources: Sources) -> str:
    """What to do about a function called `base` that no object of this backend defines as it is declared."""
    if re.fullmatch(r"cu[A-Z]\w+", base):
        return (
            f"It is a function of CUDA's driver, which kernels are not linked with: ask for it at run time, "
            f'cudaGetDriverEntryPointByVersion("{base}", &pointer, 12000, cudaEnableDefault, &status).'
        )
    listed = {source: c.backend for c in project.build.components for source in c.sources if c.backend != backend}
    listed |= {source: backend for c in project.build.components for source in c.sources if c.backend == backend}
    found = [(line, listed[file]) for file in listed if base and (line := _definition(base, file, sources))]
    here = next((line for line, of in found if of == backend), "")
    if here:
        return (
            f"{here} defines {base}() with another signature: make it agree with the declaration in the types of all "
            'arguments, const included, in namespace and extern "C", and let it not be static.'
        )
    if found:
        line, of = found[0]
        return (
            f"Only {line} defines {base}(), for {of}: list a source for {backend} too, or keep what calls it inside "
            f"#if defined({of.upper()}_KERNEL)."
        )
    return f"Nothing defines it: is the source with {base}() listed under src, with exactly this signature?"


def _definition(base: str, file: str, sources: Sources) -> str:
    """Where `file` defines a function called `base`, like `a.cu:12`; empty if it does not."""
    text = "\n".join(sources.lines(file))[:_READ]
    head = rf"^[\w:&*<>, \"]*[\w&*>]\s+[&*]?{re.escape(base)}\s*\([^;{{}}]{{0,4000}}\)\s*(?:noexcept\s*)?\{{"
    found = re.search(head, text, re.MULTILINE)
    return f"{file}:{text.count(chr(10), 0, found.start()) + 1}" if found else ""
