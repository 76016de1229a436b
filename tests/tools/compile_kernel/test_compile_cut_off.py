"""What a compile leaves that does not come to its end, or whose sources change under it: whole objects of known texts only."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import compile_project_files
import pytest
from compile_project_files import BUILD_TOML, CPU

from kernelwright.tools.compile_kernel.build import compile_project
from kernelwright.tools.compile_kernel.contract import CompileResult
from kernelwright.tools.tool import Context, Progress

MORE = [f"scale_cpu/more{number}.cpp" for number in range(3)]
DYING = """
import os, signal, sys
from pathlib import Path
from kernelwright.tools.compile_kernel.build import compile_project
from kernelwright.tools.tool import Context

def progress(stage, message="", fraction=None):
    if stage == "compiling" and message.startswith("1/"):
        print(message.split()[1], flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

project, folder, cache = map(Path, sys.argv[1:])
context = Context(folder=folder, cache=cache, host_python=Path(sys.executable), progress=progress)
compile_project(project, backend="cpu", context=context)
"""


def build(project: Path, tmp_path: Path, progress: Progress | None = None) -> tuple[CompileResult, set[str]]:
    """The result for the CPU, with a cache of this test's own, and the sources that compilers were started for."""
    folder = tmp_path / "job"
    (folder / "log.txt").unlink(missing_ok=True)
    told = {"progress": progress} if progress else {}
    context = Context(folder=folder, cache=tmp_path / "cache", host_python=Path(sys.executable), **told)
    result = compile_project(project, backend="cpu", context=context)
    log = (folder / "log.txt").read_text()
    return result, {line.split()[2] for line in log.splitlines() if line.startswith("$ ")}


@pytest.mark.usefixtures("import_skipped")
def test_what_a_killed_compile_had_made_is_not_made_again(tmp_path: Path) -> None:
    toml = BUILD_TOML.replace('src = ["scale_cpu/scale.cpp"]', f"src = {json.dumps(['scale_cpu/scale.cpp', *MORE])}")
    texts = {name: f"int more{number}() {{ return {number}; }}\n" for number, name in enumerate(MORE)}
    project = compile_project_files.write(tmp_path / "scale", {"build.toml": toml, **texts})
    argv = [sys.executable, "-c", DYING, str(project), str(tmp_path / "dying"), str(tmp_path / "cache")]
    dying = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False)
    assert dying.returncode == -signal.SIGKILL
    made = dying.stdout.strip()
    result, compiled = build(project, tmp_path)
    assert result.status == "ok", result.markdown()
    assert {"scale_cpu/scale.cpp", *MORE} >= {made}
    assert made not in compiled
    assert {"scale_cpu/scale.cpp", *MORE} & compiled


@pytest.mark.usefixtures("import_skipped")
def test_an_object_of_a_text_that_changed_meanwhile_is_never_taken_for_another(tmp_path: Path) -> None:
    project = compile_project_files.write(tmp_path / "scale")
    source = project / "scale_cpu/scale.cpp"
    other = CPU + 'extern "C" int edited_meanwhile() { return 1; }\n'

    def edit(stage: str, message: str = "", fraction: float | None = None) -> None:
        if stage == "compiling" and "sources for" in message:
            source.write_text(other)

    result, _ = build(project, tmp_path, edit)
    assert result.status == "ok", result.markdown()
    assert [(d.severity, d.file) for d in result.diagnostics] == [("warning", "scale_cpu/scale.cpp")]
    assert "changed while it was compiled" in result.diagnostics[0].message
    for text in (CPU, other):
        source.write_text(text)
        result, compiled = build(project, tmp_path)
        assert (result.status, result.diagnostics) == ("ok", []), result.markdown()
        assert "scale_cpu/scale.cpp" in compiled
        assert result.artifact is not None
        assert (b"edited_meanwhile" in (project / result.artifact.path).read_bytes()) == (text == other)
