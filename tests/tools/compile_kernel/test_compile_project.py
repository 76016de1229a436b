"""A project from sources to a package that torch loads, what is built again after an edit, and what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import compile_project_files
import pytest
from compile_project_files import BINDING, BUILD_TOML, CUDA, FILES, INIT
from conftest import Compile

from kernelwright.tools import toolchain as toolchains
from kernelwright.tools.compile_kernel import plan, targets
from kernelwright.tools.compile_kernel.contract import CompileArgs
from kernelwright.tools.compile_kernel.run import run
from kernelwright.tools.project import Project
from kernelwright.tools.tool import Context, ToolError

LOAD = """
import sys, torch
from pathlib import Path
from kernels import get_local_kernel
kernel = get_local_kernel(Path(sys.argv[1]), backend="cpu")
x = torch.arange(1000, dtype=torch.float32)
assert torch.equal(kernel.scale(x, 3.0), x * 3)
compiled = torch.compile(kernel.scale, fullgraph=True, backend="eager")
assert torch.equal(compiled(x, 2.0), x * 2)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return compile_project_files.write(tmp_path / "scale")


def compiled_sources(tmp_path: Path) -> list[str]:
    """Sources that compilers were started for since the last look at the log."""
    log = tmp_path / "job" / "log.txt"
    found = [line.split()[2] for line in log.read_text().splitlines() if line.startswith("$ ")]
    log.unlink()
    return sorted(source for source in found if source != "old_systems.cpp")


def test_both_backends_become_packages_that_load(project: Path, tmp_path: Path, compile_here: Compile) -> None:
    result = compile_here(project, backend="all", archs=["h100", "a100"])
    assert result.status == "ok", result.markdown()
    assert sorted(result.variants) == ["torch-stable-abi29-cpu-x86_64-linux", "torch-stable-abi29-cu130-x86_64-linux"]
    assert result.artifact is not None
    assert (project / result.artifact.path).stat().st_size == result.artifact.bytes
    assert result.artifact.path.endswith(".abi3.so")
    assert result.variant in result.artifact.path
    assert result.abi is not None
    assert (result.abi.ok, result.abi.problems, result.abi.torch_floor) == (True, [], "2.9")
    assert sorted((k.name, k.arch) for k in result.kernels) == [("scale_kernel", "sm_80"), ("scale_kernel", "sm_90a")]
    assert result.diagnostics == []
    assert len(result.model_dump_json()) < 10_000
    subprocess.run([sys.executable, "-c", LOAD, str(project)], check=True, capture_output=True, cwd=tmp_path)

    folder = project / "build" / "torch-stable-abi29-cu130-x86_64-linux"
    data = json.loads((folder / "metadata.json").read_text())
    assert (data["name"], data["version"], data["license"]) == ("scale", 1, "Apache-2.0")
    assert data["backend"] == {"type": "cuda", "archs": ["8.0", "9.0a"]}
    (library,) = folder.glob("*.abi3.so")
    assert library.name == data["id"] + ".abi3.so"
    assert set(data["digest"]["files"]) == {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} - {
        "metadata.json"
    }
    assert (folder / "scale" / "__init__.py").is_file()
    assert data["id"] in (folder / "_ops.py").read_text()


@pytest.mark.usefixtures("import_skipped")
def test_unchanged_is_cached_and_an_edit_compiles_one_source(project: Path, tmp_path: Path, compile_here: Compile) -> None:
    compile_here(project, backend="cuda", archs=["h100"])
    compiled_sources(tmp_path)
    before = (project / "build").stat().st_mtime_ns
    again = compile_here(project, backend="cuda", archs=["h100"])
    assert (again.status, again.cached) == ("ok", True)
    assert compiled_sources(tmp_path) == []
    assert (project / "build").stat().st_mtime_ns == before

    source = project / "scale_cuda" / "scale.cu"
    source.write_text(CUDA.replace("in[i] * factor", "factor * in[i]"))
    edited = compile_here(project, backend="cuda", archs=["h100"])
    assert (edited.status, edited.cached) == ("ok", False)
    assert compiled_sources(tmp_path) == ["scale_cuda/scale.cu"]
    # Two builds of one kernel must not collide in one process, so each has a namespace of its own.
    assert again.artifact and edited.artifact and again.artifact.path != edited.artifact.path

    source.write_text(CUDA)
    back = compile_here(project, backend="cuda", archs=["h100"])
    assert compiled_sources(tmp_path) == []
    assert back.artifact == again.artifact

    (project / "torch-ext" / "scale" / "__init__.py").write_text(INIT + "\n# a comment\n")
    assert compile_here(project, backend="cuda", archs=["h100"]).status == "ok"
    assert compiled_sources(tmp_path) == []


@pytest.mark.usefixtures("import_skipped")
def test_an_edited_header_compiles_what_includes_it(tmp_path: Path, compile_here: Compile) -> None:
    changes = {
        "include/factor.h": "#define EXTRA 1.0f\n",
        "scale_cuda/scale.cu": '#include "factor.h"\n' + CUDA.replace("in[i] * factor", "in[i] * factor * EXTRA"),
        "build.toml": BUILD_TOML.replace(
            'src = ["scale_cuda/scale.cu"]', 'src = ["scale_cuda/scale.cu"]\ninclude = ["include"]'
        ),
    }
    project = compile_project_files.write(tmp_path / "scale", changes)
    assert compile_here(project, backend="cuda", archs=["h100"]).status == "ok"
    compiled_sources(tmp_path)
    (project / "include" / "factor.h").write_text("#define EXTRA 2.0f\n")
    assert compile_here(project, backend="cuda", archs=["h100"]).status == "ok"
    assert compiled_sources(tmp_path) == ["scale_cuda/scale.cu"]


@pytest.mark.usefixtures("import_skipped")
def test_the_same_sources_elsewhere_compile_nothing(project: Path, tmp_path: Path, compile_here: Compile) -> None:
    compile_here(project, backend="cpu")
    (tmp_path / "job" / "log.txt").unlink()
    copy = tmp_path / "copy"
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns("build"))
    assert compile_here(copy, backend="cpu").cached
    assert compiled_sources(tmp_path) == []


@pytest.mark.usefixtures("import_skipped")
def test_a_failed_build_leaves_the_last_good_one(project: Path, compile_here: Compile) -> None:
    good = compile_here(project, backend="cpu")
    (project / "scale_cpu" / "scale.cpp").write_text("this is no C++\n")
    assert compile_here(project, backend="cpu").status == "failed"
    assert good.artifact
    assert (project / good.artifact.path).is_file()


def test_ops_without_fake_kernels_are_pointed_out(tmp_path: Path, compile_here: Compile) -> None:
    init = "from ._ops import ops\n\n\ndef scale(out, input, factor):\n    ops.scale(out, input, factor)\n"
    project = compile_project_files.write(tmp_path / "scale", {"torch-ext/scale/__init__.py": init})
    result = compile_here(project, backend="cpu")
    assert result.status == "ok"
    (warning,) = result.diagnostics
    assert warning.severity == "warning"
    assert warning.file == "torch-ext/torch_binding.cpp"
    assert "register_fake" in warning.hint


@pytest.mark.usefixtures("import_skipped")
def test_a_noarch_project_is_packaged_for_its_backends(tmp_path: Path, compile_here: Compile) -> None:
    toml = BUILD_TOML[: BUILD_TOML.index("[torch]")].replace('["cuda", "cpu"]', '["cuda", "cpu", "rocm"]') + "[torch-noarch]\n"
    init = "import torch\n\n\ndef scale(x, factor):\n    return x * factor\n"
    project = compile_project_files.write(tmp_path / "scale", {"build.toml": toml, "torch-ext/scale/__init__.py": init})
    result = compile_here(project, backend="all")
    assert result.status == "ok", result.markdown()
    assert sorted(result.variants) == ["torch-cpu", "torch-cuda", "torch-rocm"]
    assert (project / "build" / "torch-cuda" / "_ops.py").is_file()


@pytest.mark.usefixtures("import_skipped")
def test_an_older_build_toml_is_built_and_a_new_one_offered(tmp_path: Path, compile_here: Compile) -> None:
    old = BUILD_TOML.replace("edition = 5\n", "").replace('[torch.stable-abi]\ncuda = "2.9"\ncpu = "2.9"\n', "")
    old = old.replace('src = ["torch-ext/torch_binding.cpp"]', 'src = ["torch-ext/torch_binding.cpp"]\nstable-abi = "2.9"')
    project = compile_project_files.write(tmp_path / "scale", {"build.toml": old})
    result = compile_here(project, backend="cpu")
    assert result.status == "ok", result.markdown()
    note = result.diagnostics[-1]
    assert (note.severity, note.file) == ("note", "build.toml")
    offered = project / "build" / "build.edition5.toml"
    assert str(offered.relative_to(project)) in note.hint
    (project / "build.toml").write_text(offered.read_text())
    assert [d.severity for d in compile_here(project, backend="cpu").diagnostics] == []


def refusal(compile_here: Compile, project: Path, **options: object) -> ToolError:
    with pytest.raises(ToolError) as caught:
        compile_here(project, **options)
    return caught.value


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ('src = ["scale_cpu/scale.cpp"]', 'src = ["/etc/hostname"]', "outside_roots"),
        ('src = ["scale_cpu/scale.cpp"]', 'src = ["../scale.cpp"]', "outside_roots"),
        ('src = ["scale_cpu/scale.cpp"]', 'src = ["scale_cpu/scale.cpp"]\ncxx-flags = ["-fplugin=/x.so"]', "bad_argument"),
        ('depends = ["torch"]\nsrc = ["scale_cpu', 'depends = ["cutlass_4_5"]\nsrc = ["scale_cpu', "toolchain_missing"),
        ('cpu = "2.9"', 'cpu = "9.9"', "toolchain_missing"),
        ("[torch]\n", '[torch]\nmaxver = "2.1"\n', "toolchain_missing"),
        ("edition = 5", "edition = 5 # \x00", "bad_argument"),
    ],
)
def test_what_cannot_be_built_is_an_error_in_words(
    tmp_path: Path, compile_here: Compile, old: str, new: str, code: str
) -> None:
    assert old in BUILD_TOML
    project = compile_project_files.write(tmp_path / "scale", {"build.toml": BUILD_TOML.replace(old, new)})
    error = refusal(compile_here, project, backend="cpu")
    assert error.code == code
    assert error.message
    assert error.hint


@pytest.mark.usefixtures("import_later")
def test_sources_find_headers_and_each_other_where_kernel_builder_lets_them(tmp_path: Path, compile_here: Compile) -> None:
    twice = """
[kernel.scale_cpu_again]
backend = "cpu"
depends = ["torch"]
cxx-flags = ["-DFACTOR_OF_THE_OTHER_TABLE=1"]
src = ["./scale_cpu/scale.cpp"]
"""
    needs_flag = "#ifndef FACTOR_OF_THE_OTHER_TABLE\n#error compiled without it\n#endif\n"
    changes = {
        "build.toml": BUILD_TOML + twice,
        # Without any `include`: csrc is always searched, and registration.h lies in torch-ext although nobody wrote it.
        "csrc/deep/limits.h": "#pragma once\n",
        "scale_cpu/scale.cpp": needs_flag + '#include "deep/limits.h"\n' + FILES["scale_cpu/scale.cpp"],
        "torch-ext/torch_binding.cpp": '#include "../torch-ext/registration.h"\n' + FILES["torch-ext/torch_binding.cpp"],
    }
    result = compile_here(compile_project_files.write(tmp_path / "scale", changes), backend="cpu")
    assert result.status == "ok", result.diagnostics


@pytest.mark.usefixtures("import_later")
def test_cuda_code_may_have_lambdas_for_the_device(tmp_path: Path, compile_here: Compile) -> None:
    # torch's CMake files allow them, and so kernel-builder does.
    cuda = FILES["scale_cuda/scale.cu"]
    changed = cuda.replace(
        "out[i] = in[i] * factor;",
        "const auto times = [=] __device__(float v) { return v * factor; };\n    out[i] = times(in[i]);",
    )
    assert changed != cuda
    project = compile_project_files.write(tmp_path / "scale", {"scale_cuda/scale.cu": changed})
    result = compile_here(project, backend="cuda", archs=["h100"])
    assert result.status == "ok", result.diagnostics


def test_a_source_of_two_tables_is_compiled_for_the_gpus_of_both(tmp_path: Path) -> None:
    table = """
[kernel.scale_{name}]
backend = "cuda"
depends = []
cuda-capabilities = ["{capability}"]
src = ["scale_cuda/scale.cu"]
"""
    both = table.format(name="ampere", capability="8.0") + table.format(name="hopper", capability="9.0a")
    project = Project.open(compile_project_files.write(tmp_path / "scale", {"build.toml": BUILD_TOML + both}))
    found = toolchains.detect(Path(sys.executable))
    (target,) = targets.choose(project, found, "cuda", ["sm_80", "sm_90a"], "dev").targets
    units = [u for u in plan.make(project, target, tmp_path).units if u.source == "scale_cuda/scale.cu"]
    assert [[c.sm for c in unit.capabilities] for unit in units] == [["sm_80", "sm_90a"]]


def test_a_project_whose_kernels_are_all_for_a_newer_nvcc_is_an_error(tmp_path: Path, compile_here: Compile) -> None:
    newer = BUILD_TOML.replace('backend = "cuda"', 'backend = "cuda"\ncuda-minver = "99.0"')
    project = compile_project_files.write(tmp_path / "scale", {"build.toml": newer})
    error = refusal(compile_here, project, backend="cuda", archs=["sm_90"])
    assert error.code == "toolchain_missing"
    assert "[kernel.scale_cuda]: needs CUDA 99.0" in error.message


def test_a_backend_or_arch_nobody_has_is_an_error(project: Path, compile_here: Compile) -> None:
    assert refusal(compile_here, project, backend="rocm").code == "bad_argument"
    assert refusal(compile_here, project, backend="cuda", archs=["h1000"]).code == "unknown_arch"
    assert "removed" in refusal(compile_here, project, backend="cuda", archs=["sm_70"]).message


@pytest.mark.usefixtures("import_skipped")
def test_a_backend_that_cannot_be_served_is_named_and_the_others_built(
    project: Path, compile_here: Compile, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dataclasses

    real = toolchains.detect
    monkeypatch.setattr(toolchains, "detect", lambda *a, **k: dataclasses.replace(real(*a, **k), nvcc=None))
    result = compile_here(project, backend="all")
    assert result.variants == ["torch-stable-abi29-cpu-x86_64-linux"]
    assert result.skipped[0].startswith("cuda: No nvcc")
    assert refusal(compile_here, project, backend="cuda").code == "toolchain_missing"
    monkeypatch.setattr(toolchains, "detect", lambda *a, **k: dataclasses.replace(real(*a, **k), nvcc=None, gxx=None))
    assert refusal(compile_here, project, backend="all").code == "toolchain_missing"


def test_auto_is_cuda_where_there_is_a_gpu_and_cpu_elsewhere(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = toolchains.detect(Path(sys.executable))
    opened = Project.open(project)
    monkeypatch.setattr(targets.gpu, "devices", lambda: ())
    assert targets.choose(opened, found, "auto", ["auto"], "dev").targets[0].backend == "cpu"
    monkeypatch.setattr(targets.gpu, "devices", lambda: (object(),))
    assert targets.choose(opened, found, "auto", ["h100"], "dev").targets[0].backend == "cuda"


def test_a_torch_of_another_cuda_names_the_variant(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    found = toolchains.detect(Path(sys.executable))
    newer = dataclasses.replace(found, nvcc=toolchains.Tool(found.need_nvcc().path, "13.5.1"))
    torch = dataclasses.replace(found.need_torch(), cuda="13.0")
    (target,) = targets.choose(Project.open(project), dataclasses.replace(newer, torch=torch), "cuda", ["h100"], "dev").targets
    assert target.variant == "torch-stable-abi29-cu130-x86_64-linux"
    assert dataclasses.replace(newer, torch=None).torch is None


@pytest.mark.usefixtures("import_skipped")
def test_the_tool_writes_files_first(project: Path, tmp_path: Path, compile_cache: Path) -> None:
    context = Context(
        folder=tmp_path / "job", cache=compile_cache, host_python=Path(sys.executable), project=project, job_id="job-1"
    )
    changed = {"torch-ext/torch_binding.cpp": BINDING.replace("differ in size", "have other sizes")}
    result = run(CompileArgs(project="scale", backend="cpu", files=changed), context)
    assert result.status == "ok", result.markdown()
    assert (project / "torch-ext" / "torch_binding.cpp").read_text() != FILES["torch-ext/torch_binding.cpp"]
    assert result.log_uri == "kernel://jobs/job-1/log"
    with pytest.raises(ToolError, match="leaves the project"):
        run(CompileArgs(project="scale", files={"../x": ""}), context)
