"""What the compilers together may use up: enough for every core of the host, and never all of its memory."""

from __future__ import annotations

import sys
from pathlib import Path

import compile_project_files
import pytest
from compile_project_files import BUILD_TOML

from kernelwright.tools.compile_kernel import compilers
from kernelwright.tools.compile_kernel.build import compile_project
from kernelwright.tools.compile_kernel.compilers import limits
from kernelwright.tools.sandbox import Limits
from kernelwright.tools.tool import Context

GIB = 1 << 30
# g++ 12 needs 330 MB for it.
LARGE = """\
struct Table {{ int at[2000000]; }};
constexpr Table made() {{ Table t{{}}; for (int i = 0; i < 2000000; ++i) t.at[i] = i; return t; }}
constexpr Table table = made();
int large{number}(int i) {{ return table.at[i]; }}
"""
CONSTEXPR = ["-fconstexpr-loop-limit=2147483647", "-fconstexpr-ops-limit=9223372036854775807"]


@pytest.mark.parametrize(
    ("jobs", "host_gib", "memory_gib"), [(3, 24, 16), (9, 128, 36), (33, 256, 128), (129, 560, 280), (129, 8, 16)]
)
def test_memory_grows_with_the_cores_and_leaves_half_of_a_large_host_alone(jobs: int, host_gib: int, memory_gib: int) -> None:
    assert limits(jobs, host_gib * GIB).memory_bytes == memory_gib * GIB


@pytest.mark.parametrize("jobs", [3, 33, 129, 257])
def test_every_job_has_room_for_the_programs_of_one_nvcc(jobs: int) -> None:
    # The shell, Python, and four programs of nvcc at once, twice that for an architecture beside the first.
    assert limits(jobs, 512 * GIB).processes >= 12 * jobs


@pytest.mark.usefixtures("import_skipped")
@pytest.mark.parametrize(("room_mb", "status"), [(500, "ok"), (250, "failed")])
def test_what_is_too_large_side_by_side_is_compiled_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room_mb: int, status: str
) -> None:
    sources = ["scale_cpu/scale.cpp", *(f"scale_cpu/large{number}.cpp" for number in range(2))]
    toml = BUILD_TOML.replace('src = ["scale_cpu/scale.cpp"]', f"src = {sources}\ncxx-flags = {CONSTEXPR}")
    texts = {source: LARGE.format(number=number) for number, source in enumerate(sources[1:])}
    project = compile_project_files.write(tmp_path / "scale", {"build.toml": toml, **texts})
    monkeypatch.setattr(compilers, "LIMITS", Limits(wall_s=120.0, memory_bytes=room_mb << 20))
    told: list[str] = []
    context = Context(
        folder=tmp_path / "job",
        cache=tmp_path / "cache",
        host_python=Path(sys.executable),
        progress=lambda stage, message="", fraction=None: told.append(message),
    )
    result = compile_project(project, backend="cpu", context=context)
    assert result.status == status, result.markdown()
    assert sum("at a time" in message for message in told) >= 1
    if status == "failed":
        assert result.diagnostics[0].file in sources[1:]
        assert "limit of memory" in result.diagnostics[0].message
