"""`build.toml` as kernel-builder defines it: read, validated by kernel-builder's own parser, and raised to edition 5."""

from __future__ import annotations

import importlib.util
import re
import sys
import tempfile
import threading
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from kernelwright.tools import build_toml_faults
from kernelwright.tools.tool import ToolError, summarise

Framework = Literal["torch", "torch-noarch", "tvm-ffi"]
MAX_BYTES = 1 << 20
_LOADING = threading.Lock()


@dataclass(frozen=True)
class Component:
    """One ``[kernel.NAME]`` table: sources that are compiled alike for one backend."""

    name: str
    backend: str
    sources: tuple[str, ...]
    include: tuple[str, ...] = ()
    depends: tuple[str, ...] = ()
    cxx_flags: tuple[str, ...] = ()
    cuda_flags: tuple[str, ...] = ()
    cuda_capabilities: tuple[str, ...] = ()
    cuda_minver: str = ""


@dataclass(frozen=True)
class Binding:
    """The framework table: how the kernels reach Python.

    `stable_abi` maps a backend to the oldest torch whose stable ABI it targets; a backend that is missing there is built
    against the full C++ ABI of the torch at hand.
    """

    framework: Framework
    sources: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    cxx_flags: tuple[str, ...] = ()
    stable_abi: dict[str, str] = field(default_factory=dict)
    data_extensions: tuple[str, ...] = ()
    torch_minver: str = ""
    torch_maxver: str = ""
    cuda_capabilities: tuple[str, ...] = ()


@dataclass(frozen=True)
class BuildToml:
    """A valid build.toml. `migrated` is its edition-5 text where the file is of an older edition, else empty."""

    name: str
    version: int
    license: str
    backends: tuple[str, ...]
    binding: Binding
    components: tuple[Component, ...]
    repo_id: str = ""
    upstream: str = ""
    source: str = ""
    cuda_minver: str = ""
    cuda_maxver: str = ""
    python_depends: dict[str, tuple[str, ...]] = field(default_factory=dict)
    kernel_depends: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    migrated: str = ""

    @property
    def python_name(self) -> str:
        """Name of the Python package: the kernel's name with underscores."""
        return self.name.replace("-", "_")


def read(folder: Path) -> BuildToml:
    """The build.toml of `folder`; a ToolError tells a missing, unreadable or invalid one, with its line where known."""
    data = _parse(folder)
    migrated = ""
    if data.get("general", {}).get("edition") is None:
        data, migrated = _migrate(data)
        with tempfile.TemporaryDirectory() as scratch:
            (Path(scratch) / "build.toml").write_text(migrated, encoding="utf-8")
            _validate(Path(scratch), folder, data, "Its form is older than edition 5, and raised to it this does not hold. ")
    else:
        _validate(folder, folder, data, "")
    return _typed(data, migrated)


def _parse(folder: Path) -> dict[str, Any]:
    path = folder / "build.toml"
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ToolError("too_large", f"build.toml has {size} bytes, more than {MAX_BYTES}.", "List fewer sources.")
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise ToolError(
            "not_found",
            f"There is no build.toml in {folder.name or folder}.",
            "Start with scaffold_kernel, or write one like:\n" + build_toml_faults.SOME_EDITION_5,
        ) from None
    except UnicodeDecodeError as error:
        raise ToolError(
            "bad_argument", f"build.toml is not UTF-8: {error.reason} at byte {error.start}.", "Save it as UTF-8."
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise ToolError("bad_argument", f"build.toml is not TOML: {error}.", "Mend that line and compile again.") from None
    except OSError as error:
        raise ToolError("not_found", f"build.toml cannot be read: {error.strerror}.", "Check the file.") from None


def _validate(folder: Path, written: Path, data: dict[str, Any], prefix: str) -> None:
    """Have the parser read `folder`; lines are those of the file in `written`, the project's own."""
    try:
        rust().Build.open(str(folder))
    except ValueError as error:
        fault = re.sub(r"Cannot parse (?:build configuration|TOML) in \S+: ", "", str(error)).strip()
        fault += build_toml_faults.place(fault, (written / "build.toml").read_text(encoding="utf-8"), data)
        hint = build_toml_faults.advice(fault)
        raise ToolError("bad_argument", f"build.toml is not valid. {prefix}{summarise(fault, 600)}", hint) from None


def rust() -> ModuleType:
    """`kernels._rust`, loaded without the package around it, whose import brings huggingface_hub and costs 0.3 s."""
    # An extension module initialises once per process, whoever asks first and whoever asks beside.
    with _LOADING:
        return sys.modules.get("kernels._rust") or _load_rust()


def _load_rust() -> ModuleType:
    package = importlib.util.find_spec("kernels")
    for place in (package.submodule_search_locations or []) if package else []:
        for path in sorted(Path(place).glob("_rust.*")):
            if path.suffix in {".so", ".pyd"}:
                spec = importlib.util.spec_from_file_location("kernels._rust", path)
                if spec and spec.loader:
                    module = importlib.util.module_from_spec(spec)
                    spec.loader.exec_module(module)
                    # A later `import kernels` must find this one.
                    sys.modules["kernels._rust"] = module
                    return module
    raise ToolError(
        "toolchain_missing",
        "The Python package `kernels`, which reads build.toml, is not installed beside Kernelwright.",
        f"{sys.executable} -m pip install 'kernelwright[host]'",
    )


def _typed(data: dict[str, Any], migrated: str) -> BuildToml:
    general: dict[str, Any] = data["general"]
    framework: Framework = "torch" if "torch" in data else "tvm-ffi" if "tvm-ffi" in data else "torch-noarch"
    table: dict[str, Any] = data.get(framework, {})
    backends = tuple(str(b) for b in general["backends"])
    stable = table.get("stable-abi") or {}
    cuda = general.get("cuda") or {}
    components = tuple(_component(name, values) for name, values in (data.get("kernel") or {}).items())
    return BuildToml(
        name=general["name"],
        version=general["version"],
        license=general["license"],
        backends=backends,
        binding=Binding(
            framework=framework,
            sources=_strings(table.get("src")),
            include=_strings(table.get("include")),
            cxx_flags=_strings(table.get("cxx-flags")),
            stable_abi=dict(stable) if isinstance(stable, dict) else dict.fromkeys(backends, str(stable)),
            data_extensions=tuple(e for e in _strings(table.get("pyext")) if e not in {"py", "pyi"}),
            torch_minver=table.get("minver", ""),
            torch_maxver=table.get("maxver", ""),
            cuda_capabilities=_strings(table.get("cuda_capabilities")),
        ),
        components=components,
        repo_id=(general.get("hub") or {}).get("repo-id", ""),
        upstream=general.get("upstream", ""),
        source=general.get("source", ""),
        cuda_minver=cuda.get("minver", ""),
        cuda_maxver=cuda.get("maxver", ""),
        python_depends={b: _depends(general, b, "python-depends") for b in backends},
        kernel_depends={b: _depends(general, b, "kernel-depends") for b in backends},
        migrated=migrated,
    )


def _component(name: str, values: dict[str, Any]) -> Component:
    return Component(
        name=name,
        backend=values["backend"],
        sources=_strings(values["src"]),
        include=_strings(values.get("include")),
        depends=_strings(values.get("depends")),
        cxx_flags=_strings(values.get("cxx-flags")),
        cuda_flags=_strings(values.get("cuda-flags")),
        cuda_capabilities=_strings(values.get("cuda-capabilities")),
        cuda_minver=values.get("cuda-minver", ""),
    )


def _depends(general: dict[str, Any], backend: str, key: str) -> tuple[Any, ...]:
    return tuple(general.get(key) or ()) + tuple((general.get(backend) or {}).get(key) or ())


def _strings(values: Any) -> tuple[str, ...]:
    return tuple(str(value) for value in values or ())


def _migrate(data: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Raise a form without edition to edition 5, as `kernel-builder update-build` would: what it lacks is filled in plainly."""
    import tomlkit  # only for old files, and worth 50 ms

    general = dict(data.get("general") or {})
    kernels = {name: dict(values) for name, values in (data.get("kernel") or {}).items()}
    torch = dict(data["torch"]) if "torch" in data else None
    universal = bool(general.pop("universal", False) or (torch or {}).pop("universal", False))
    for values in kernels.values():
        language = values.pop("language", "cuda")
        values.setdefault("backend", "cuda" if language == "cuda-hipify" else language)
        values.setdefault("depends", [])
    cuda = {new: general.pop(old) for old, new in (("cuda-minver", "minver"), ("cuda-maxver", "maxver")) if old in general}
    if cuda:
        general["cuda"] = {**cuda, **(general.get("cuda") or {})}
    head: dict[str, Any] = {"name": general.pop("name", ""), "version": general.pop("version", 1), "edition": 5}
    head["license"] = general.pop("license", "other")
    found = sorted({str(values["backend"]) for values in kernels.values()})
    head["backends"] = general.pop("backends", ["cpu", "cuda", "metal", "rocm", "xpu"] if universal else found)
    raised: dict[str, Any] = {"general": head | general}
    if "tvm-ffi" in data:
        raised["tvm-ffi"] = data["tvm-ffi"]
    elif torch is None or (universal and not kernels):
        raised["torch-noarch"] = {
            k: v for k, v in (data.get("torch-noarch") or torch or {}).items() if k not in {"src", "include"}
        }
    else:
        raised["torch"] = torch
    if kernels:
        raised["kernel"] = kernels
    return raised, tomlkit.dumps(raised)
