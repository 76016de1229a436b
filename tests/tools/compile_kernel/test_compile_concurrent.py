"""Many compiles at once, from two processes that share a cache, one of which is killed: all others come out right."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import compile_project_files
from compile_project_files import CPU

from kernelwright.tools.compile_kernel import elf

WORKER = """
import json, sys
sys.path.insert(0, sys.argv.pop(1))
from conftest import NoChecker
from kernelwright.tools.compile_kernel import variant
variant.Checker = NoChecker
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from kernelwright.tools.compile_kernel.build import compile_project
from kernelwright.tools.tool import Context
cache, *projects = map(Path, sys.argv[1:])

def build(project):
    def progress(stage, message="", fraction=None):
        if stage == "compiling" and "/" in message.split()[0]:
            print("compiling", flush=True)
    job = project.parent / (project.name + "-job")
    context = Context(folder=job, cache=cache, host_python=Path(sys.executable), progress=progress)
    result = compile_project(project, backend="cpu", context=context)
    return [project.name, result.status, result.artifact.path if result.artifact else result.markdown()]

with ThreadPoolExecutor(8) as pool:
    print(json.dumps(list(pool.map(build, projects))), flush=True)
"""
EACH = 4


def start(cache: Path, projects: list[Path]) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", WORKER, str(Path(__file__).parent), str(cache), *map(str, projects)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


def test_two_servers_compile_at_once_and_a_third_dies(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    projects = []
    for number in range(2 * EACH + 1):
        source = (
            CPU.replace("factor;", f"factor + {number} - {number};")
            + f'extern "C" int marker_{number}() {{ return {number}; }}\n'
        )
        projects.append(compile_project_files.write(tmp_path / f"p{number}" / "scale", {"scale_cpu/scale.cpp": source}))
    dying = start(cache, projects[-1:])
    others = [start(cache, projects[:EACH]), start(cache, projects[EACH : 2 * EACH])]
    assert dying.stdout is not None
    assert dying.stdout.readline() == "compiling\n"
    dying.send_signal(signal.SIGKILL)
    dying.wait()
    for process in others:
        out, _ = process.communicate(timeout=280)
        assert process.returncode == 0
        for _, status, path in json.loads(out.splitlines()[-1]):
            assert status == "ok", path
    # Each has its own code, none another's; the one whose server died compiles as if nothing had been.
    again = start(cache, projects[-1:])
    out, _ = again.communicate(timeout=280)
    assert json.loads(out.splitlines()[-1])[0][1] == "ok"
    for number, project in enumerate(projects):
        (library,) = (project / "build").rglob("*.abi3.so")
        content = library.read_bytes()
        assert elf.read(library).needed
        assert [other for other in range(len(projects)) if f"marker_{other}\0".encode() in content] == [number]
