"""The table that kernel_builder_projects.py makes: its rows, as JSON and as markdown, and those of earlier runs beside them."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kernelwright.tools.toolchain import Toolchain

# Cannot: something is missing here. Preprocessed: nothing is missing, and nothing more was tried.
OUTCOMES = ("compiles", "fails", "cannot", "unfinished", "preprocessed")

# What the projects import or include besides torch.
PACKAGES = (
    "triton-",
    "einops-",
    "nvidia_cutlass_dsl-",
    "apache_tvm_ffi-",
    "kernels-",
    "requests-",
    "transformers-",
    "nvidia_cublas-",
    "nvidia_curand-",
)

HEAD = """\
nvcc {nvcc}, g++ {gxx}, for {arch}. {sources}A project that is not in the table was not tried.
In host_python beside torch in the latest run: {beside}.

- **outcome**: *cannot*: it has nothing for cuda or cpu, or needs what is not here. *Unfinished*: those sources that are
  counted compiled, and nothing is known of the others, nor of the link and the import. *Preprocessed*: the headers of those
  sources that are counted are found, and nothing more was tried.
- **ops**: how many ops the imported package has under the name by which its own `_ops.py` looks for them. `-` claims nothing:
  the package could not be imported (the detail says why), its framework has no such names (tvm-ffi), or the row is of a run
  before this was counted. For a time, packages with torch's full ABI came out with their ops under another name; of those
  with the framework torch that compile, these were not imported since: {claimless}.
- **s**: seconds on a machine with other work to do; objects that an earlier run had made were not made again.
- **date**, **torch**: of the run that the row is from, and the torch that the package was built for and imported into. A
  torch for the CPU alone imports no package for CUDA with the full ABI. No machine of these runs had a GPU, unless the detail
  of a row says so.
"""
COLUMNS = ("source", "project", "backend", "framework", "outcome", "ops", "s", "date", "torch", "detail")


@dataclass
class Row:
    """One backend of one project: `outcome` is one of `OUTCOMES`, `seconds` what it took on a machine with other work to do.

    `ops` is how many ops the imported package has, `-` where that was not asked. `date`, `torch` and `revision` tell of the run
    that the row is from.
    """

    source: str
    project: str
    backend: str
    framework: str
    outcome: str
    seconds: float
    detail: str
    ops: str = "-"
    date: str = ""
    torch: str = ""
    revision: str = ""

    def cells(self) -> tuple[str, ...]:
        """What stands in the table under `COLUMNS`."""
        detail = self.detail.replace("|", "\\|")
        told = (self.source, self.project, self.backend, self.framework, self.outcome, self.ops)
        return (*told, str(self.seconds), self.date, self.torch, detail)


def host(found: Toolchain, arch: str) -> dict[str, Any]:
    """What a table says of the run that it is from."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "nvcc": found.nvcc.version if found.nvcc else None,
        "gxx": found.gxx.version if found.gxx else None,
        "arch": arch,
        "beside": _beside(found),
    }


def read(path: Path) -> tuple[dict[str, Any], list[Row]]:
    """The host and the rows of the JSON at `path`; nothing of either if there is no such file."""
    if not path.is_file():
        return {}, []
    data = json.loads(path.read_text(encoding="utf-8"))
    return data["host"], [Row(**row) for row in data["rows"]]


def merged(earlier: Sequence[Row], rows: Sequence[Row]) -> list[Row]:
    """`rows`, and of the `earlier` ones those about another backend or project; one that has no backend is about them all."""
    now = {(row.source, row.project, row.backend) for row in rows}
    whole = {(row.source, row.project) for row in rows if row.backend in {"", "-"}}
    tried = {(row.source, row.project) for row in rows}
    kept = [
        row
        for row in earlier
        if (row.source, row.project, row.backend) not in now
        and (row.source, row.project) not in (tried if row.backend in {"", "-"} else whole)
    ]
    return sorted([*kept, *rows], key=lambda row: (row.source, row.project, row.backend))


def write(rows: Sequence[Row], here: dict[str, Any], out: Path) -> None:
    """Write the table to `out`, once with the suffix .json and once with .md."""
    out.parent.mkdir(parents=True, exist_ok=True)
    data = {"host": here, "rows": [asdict(row) for row in rows]}
    out.with_suffix(".json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    out.with_suffix(".md").write_text(markdown(rows, here), encoding="utf-8")


def markdown(rows: Sequence[Row], here: dict[str, Any]) -> str:
    """The table to read."""
    counts = {outcome: sum(row.outcome == outcome for row in rows) for outcome in OUTCOMES}
    lines = ["# kernel-builder projects, unmodified", "", ", ".join(f"{v} {k}" for k, v in counts.items()) + ".", ""]
    lines.append(HEAD.format(**here, sources=_sources(rows), claimless=_claimless(rows)))
    lines += [_line(COLUMNS), "| --- " * len(COLUMNS) + "|", *(_line(row.cells()) for row in rows)]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _sources(rows: Sequence[Row]) -> str:
    """Which commit each source was at, as far as the rows tell."""
    known = sorted({(row.source, row.revision) for row in rows if row.revision})
    return "".join(f"`{source}` is {revision}. " for source, revision in known)


def _beside(found: Toolchain) -> str:
    """The packages of host_python that decide what can be imported, with their versions."""
    names = (info.name.removesuffix(".dist-info") for place in found.python.paths for info in place.glob("*.dist-info"))
    return ", ".join(sorted({name.replace("-", " ") for name in names if name.startswith(PACKAGES)})) or "nothing"


def _claimless(rows: Sequence[Row]) -> str:
    """The packages of the framework torch that compile and whose ops nobody counted."""
    named = [f"{r.project} {r.backend}" for r in rows if r.framework == "torch" and r.outcome == "compiles" and r.ops == "-"]
    return ", ".join(named) or "none is left"
