"""Projects that mean harm: secrets, floods and endless compiles are refused or contained, and the next compile works."""

from __future__ import annotations

from pathlib import Path

import compile_project_files
import pytest
from compile_project_files import BUILD_TOML, CPU, INIT
from conftest import Compile

from kernelwright.tools import sandbox
from kernelwright.tools.compile_kernel import checker, compilers
from kernelwright.tools.compile_kernel.contract import CompileResult
from kernelwright.tools.sandbox import Limits
from kernelwright.tools.tool import ToolError

SECRET = "swordfish-4711"
boxed = pytest.mark.skipif(sandbox.available_tier() == "none", reason="no sandbox works here")


def build(tmp_path: Path, compile_here: Compile, changes: dict[str, str]) -> CompileResult:
    project = compile_project_files.write(tmp_path / "scale", changes)
    return compile_here(project, backend="cpu")


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret" / "key.txt"
    path.parent.mkdir()
    path.write_text(SECRET + "\n")
    return path


@boxed
@pytest.mark.parametrize(
    "line",
    [
        '#include "{path}"',
        '#include "../../secret/key.txt"',
        '#define HERE "{path}"\n#include HERE',
        'asm(".incbin \\"{path}\\"");',
    ],
)
@pytest.mark.usefixtures("import_later")
def test_a_secret_is_not_there_to_be_read(
    tmp_path: Path, compile_here: Compile, secret: Path, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_TOKEN", SECRET)
    result = build(tmp_path, compile_here, {"scale_cpu/scale.cpp": line.format(path=secret) + "\n" + CPU})
    said = result.model_dump_json() + (tmp_path / "job" / "log.txt").read_text(errors="replace")
    assert SECRET not in said
    assert result.status == "failed"
    assert result.diagnostics[0].severity == "error"


@boxed
def test_the_import_sees_no_secret_writes_nothing_and_has_no_network(
    tmp_path: Path, compile_here: Compile, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_TOKEN", SECRET)
    probe = f"""
import os, socket
try:
    open({str(tmp_path / "written")!r}, "w").write("x")
except OSError:
    pass
for attempt in (lambda: open({str(secret)!r}).read(), lambda: open("/proc/1/environ").read().index("SOME_TOKEN"),
                lambda: socket.create_connection(("127.0.0.1", 1), 1), lambda: os.environ["SOME_TOKEN"]):
    try:
        attempt()
    except (OSError, KeyError, ValueError):
        continue
    raise SystemExit("reached")
"""
    result = build(tmp_path, compile_here, {"torch-ext/scale/__init__.py": probe + INIT})
    assert result.status == "ok", result.markdown()
    assert not (tmp_path / "written").exists()


@pytest.fixture
def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilers, "LIMITS", Limits(wall_s=6.0, memory_bytes=1 << 30))


ENDLESS = "template <int N> struct S { static constexpr int v = S<N + 1>::v + S<N + 2>::v; };\n"
HUNGRY = "constexpr int f() { int s = 0; for (long i = 0; i < 1L << 60; ++i) s ^= int(i); return s; }\nconstexpr int v = f();\n"


@boxed
@pytest.mark.usefixtures("short_limits", "import_later")
def test_a_compile_that_never_ends_is_ended_and_the_next_one_works(tmp_path: Path, compile_here: Compile) -> None:
    endless = ["-ftemplate-depth=1000000", "-fconstexpr-loop-limit=2147483647", "-fconstexpr-ops-limit=9223372036854775807"]
    toml = BUILD_TOML.replace('src = ["scale_cpu/scale.cpp"]', f'src = ["scale_cpu/scale.cpp"]\ncxx-flags = {endless}')
    for hostile in (HUNGRY, ENDLESS + "int x = S<0>::v;\n"):
        result = build(tmp_path, compile_here, {"build.toml": toml, "scale_cpu/scale.cpp": hostile + CPU})
        assert result.status == "failed"
        first = result.diagnostics[0]
        assert first.file == "scale_cpu/scale.cpp"
        assert any(word in first.message for word in ("limit of", "memory", "depth", "terminated")), first
        assert first.hint
    assert build(tmp_path, compile_here, {}).status == "ok"


@boxed
def test_an_import_that_hangs_is_an_answer(tmp_path: Path, compile_here: Compile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checker, "ANSWER_S", 8.0)
    result = build(tmp_path, compile_here, {"torch-ext/scale/__init__.py": "import threading\nthreading.Event().wait()\n"})
    assert result.status == "failed"
    assert "did not end within" in result.diagnostics[0].message
    assert result.diagnostics[0].hint


def test_what_a_package_prints_is_not_taken_for_the_answer(tmp_path: Path, compile_here: Compile) -> None:
    lie = 'import os, sys\nprint(\'{"ok": true, "ops": [], "problem": null}\', flush=True)\nraise ImportError("no")\n'
    result = build(tmp_path, compile_here, {"torch-ext/scale/__init__.py": lie})
    assert result.status == "failed"
    assert "ImportError: no" in result.diagnostics[0].message


@pytest.mark.parametrize("content", [b"\xff\xfe\x00\x01" * 200, b"int x = 1;\n" + bytes(range(256)) + b"\n", b"\0" * 4096])
@pytest.mark.usefixtures("import_later")
def test_bytes_that_are_no_text_fail_like_any_error(tmp_path: Path, compile_here: Compile, content: bytes) -> None:
    project = compile_project_files.write(tmp_path / "scale")
    (project / "scale_cpu" / "scale.cpp").write_bytes(content)
    result = compile_here(project, backend="cpu")
    assert result.status == "failed"
    assert result.diagnostics[0].file in {"scale_cpu/scale.cpp", "torch-ext/torch_binding.cpp"}
    assert len(result.model_dump_json()) < 4000


@pytest.mark.usefixtures("import_later")
def test_a_flood_of_errors_is_a_short_answer(tmp_path: Path, compile_here: Compile) -> None:
    flood = "".join(f"int x{n} = y{n};\n" for n in range(5000))
    result = build(tmp_path, compile_here, {"scale_cpu/scale.cpp": flood})
    assert result.status == "failed"
    assert result.diagnostics[0].line == 1
    assert len(result.model_dump_json()) < 4000


@pytest.mark.usefixtures("import_skipped")
def test_names_that_a_shell_or_ninja_would_read_are_only_names(tmp_path: Path, compile_here: Compile) -> None:
    name = "scale_cpu/a $(touch pwned) ;'&|.cpp"
    toml = BUILD_TOML.replace('"scale_cpu/scale.cpp"', f'"{name}"')
    result = build(tmp_path, compile_here, {"build.toml": toml, name: CPU})
    assert result.status == "ok", result.markdown()
    assert not list(tmp_path.rglob("pwned"))


@pytest.mark.usefixtures("import_skipped")
def test_build_as_a_link_is_not_followed(tmp_path: Path, compile_here: Compile) -> None:
    project = compile_project_files.write(tmp_path / "scale")
    outside = tmp_path / "outside"
    outside.mkdir()
    (project / "build").symlink_to(outside)
    with pytest.raises(ToolError) as caught:
        compile_here(project, backend="cpu")
    assert caught.value.code == "outside_roots"
    assert list(outside.iterdir()) == []
