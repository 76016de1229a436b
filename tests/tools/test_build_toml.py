"""build.toml: what is valid, how what is not is explained, how older forms are raised to edition 5."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernelwright.tools import build_toml, build_toml_faults
from kernelwright.tools.tool import ToolError

GOOD = """\
[general]
name = "fast-scale"
version = 3
edition = 5
license = "Apache-2.0"
backends = ["cuda", "cpu", "rocm"]
upstream = "https://example.com/scale"

[general.hub]
repo-id = "someone/fast-scale"

[general.cuda]
minver = "12.6"
python-depends = ["nvidia-cutlass-dsl"]

[torch]
src = ["torch-ext/torch_binding.cpp"]
include = ["include"]
pyext = ["py", "json"]
cxx-flags = ["-DFAST"]

[torch.stable-abi]
cuda = "2.9"

[kernel.scale]
backend = "cuda"
depends = ["torch", "cutlass_3_6"]
src = ["scale.cu"]
cuda-capabilities = ["9.0a"]
cuda-flags = ["--use_fast_math"]
cuda-minver = "12.8"
"""

LACKS = "Missing field {} in [kernel.scale] (line 25)"


def put(folder: Path, text: str | bytes) -> Path:
    content = text if isinstance(text, bytes) else text.encode()
    (folder / "build.toml").write_bytes(content)
    return folder


def test_everything_that_a_build_needs_is_read(tmp_path: Path) -> None:
    build = build_toml.read(put(tmp_path, GOOD))
    assert (build.name, build.python_name, build.version, build.migrated) == ("fast-scale", "fast_scale", 3, "")
    assert build.backends == ("cuda", "cpu", "rocm")
    assert (build.repo_id, build.upstream, build.cuda_minver) == ("someone/fast-scale", "https://example.com/scale", "12.6")
    assert build.python_depends["cuda"] == ("nvidia-cutlass-dsl",)
    assert build.python_depends["cpu"] == ()
    assert build.binding.framework == "torch"
    assert build.binding.stable_abi == {"cuda": "2.9"}
    assert build.binding.data_extensions == ("json",)
    (kernel,) = build.components
    assert kernel == build_toml.Component(
        name="scale",
        backend="cuda",
        sources=("scale.cu",),
        depends=("torch", "cutlass_3_6"),
        cuda_flags=("--use_fast_math",),
        cuda_capabilities=("9.0a",),
        cuda_minver="12.8",
    )


def test_one_stable_abi_for_all_backends(tmp_path: Path) -> None:
    text = GOOD.replace('[torch.stable-abi]\ncuda = "2.9"\n', "").replace('pyext = ["py", "json"]', 'stable-abi = "2.10"')
    build = build_toml.read(put(tmp_path, text))
    assert build.binding.stable_abi == {"cuda": "2.10", "cpu": "2.10", "rocm": "2.10"}


@pytest.mark.parametrize(
    ("text", "code", "message", "hint"),
    [
        ("[general\n", "bad_argument", "line 1", "that line"),
        (b"\xff\xfe[general]", "bad_argument", "UTF-8", "UTF-8"),
        (GOOD.replace('name = "fast-scale"', 'name = "Fast_Scale"'), "bad_argument", "line 2", "lowercase"),
        (GOOD.replace("license", "licence"), "bad_argument", "licence", "key"),
        (GOOD.replace('license = "Apache-2.0"\n', ""), "bad_argument", "license", "license"),
        (GOOD.replace("edition = 5", "edition = 6"), "bad_argument", "edition 6", "edition = 5"),
        (GOOD.replace("edition = 5", "edition = 3"), "bad_argument", "(line 4)", "edition = 5"),
        (GOOD.replace('"rocm"]', '"abacus"]'), "bad_argument", "(line 6)", "expected values"),
        (GOOD.replace('"cutlass_3_6"', '"cutlass_3"'), "bad_argument", "(line 27)", "expected values"),
        (GOOD.replace("cuda-capabilities", "cuda_capabilities"), "bad_argument", "(line 29)", "spell it"),
        (GOOD.replace("[general.hub]", "[general.hug]"), "bad_argument", "(line 9)", "spell it"),
        (
            GOOD.replace('depends = ["torch", "cutlass_3_6"]\n', ""),
            "bad_argument",
            LACKS.format("depends"),
            'depends = ["torch"]',
        ),
        (GOOD.replace('src = ["scale.cu"]\n', ""), "bad_argument", LACKS.format("src"), "backend, depends and src"),
        (GOOD.replace('backend = "cuda"\n', ""), "bad_argument", LACKS.format("backend"), "backend, depends and src"),
        ("x = 1\n" * 300_000, "too_large", "1800000", "fewer"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str | bytes, code: str, message: str, hint: str) -> None:
    with pytest.raises(ToolError) as caught:
        build_toml.read(put(tmp_path, text))
    assert caught.value.code == code
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize("header", ['[kernel."other"] # tail', "[ kernel . other ]"])
def test_the_kernel_that_lacks_a_key_is_found_among_others(tmp_path: Path, header: str) -> None:
    with pytest.raises(ToolError) as caught:
        build_toml.read(put(tmp_path, f'{GOOD}\n{header}\nbackend = "cpu"\nsrc = ["other.cpp"]\n'))
    assert "depends in [kernel.other] (line 33)" in caught.value.message


def test_a_kernel_without_a_header_of_its_own_is_named_without_a_line(tmp_path: Path) -> None:
    text = GOOD[: GOOD.index("[kernel.scale]")] + '[kernel]\nscale = { backend = "cpu", src = ["scale.cpp"] }\n'
    with pytest.raises(ToolError) as caught:
        build_toml.read(put(tmp_path, text))
    assert "depends in [kernel.scale]" in caught.value.message
    assert "(line" not in caught.value.message


def test_the_line_is_that_of_the_key_not_of_the_same_word_elsewhere(tmp_path: Path) -> None:
    text = "# speed = 1\n" + GOOD.replace("-DFAST", "speed=1").replace('"scale.cu"', '"speed"') + "speed = 2\n"
    with pytest.raises(ToolError) as caught:
        build_toml.read(put(tmp_path, text))
    assert f"(line {len(text.splitlines())})" in caught.value.message


def test_the_line_in_an_older_form_is_that_of_the_file_as_written(tmp_path: Path) -> None:
    text = "\n" * 20 + OLD_FORMS["language"].replace('src = ["scale.cu"]', "")
    with pytest.raises(ToolError) as caught:
        build_toml.read(put(tmp_path, text))
    line = text.splitlines().index("[kernel.scale]") + 1
    assert f"src in [kernel.scale] (line {line})" in caught.value.message


def test_a_missing_file_comes_with_an_example_that_is_valid(tmp_path: Path) -> None:
    with pytest.raises(ToolError) as caught:
        build_toml.read(tmp_path)
    assert caught.value.code == "not_found"
    example = caught.value.hint[caught.value.hint.index("[general]") :]
    assert build_toml.read(put(tmp_path, example)).name == "my-kernel"


OLD_FORMS = {
    "no edition": GOOD.replace("edition = 5\n", "").replace('[torch.stable-abi]\ncuda = "2.9"\n', ""),
    "no version, no license": GOOD.replace("edition = 5\n", "")
    .replace("version = 3\n", "")
    .replace('license = "Apache-2.0"\n', "")
    .replace('[torch.stable-abi]\ncuda = "2.9"\n', ""),
    "no backends": """\
[general]
name = "fast-scale"
cuda-minver = "12.4"

[torch]
src = ["torch-ext/torch_binding.cpp"]

[kernel.scale]
backend = "cuda"
depends = ["torch"]
src = ["scale.cu"]
""",
    "language": """\
[general]
name = "fast-scale"

[torch]
src = ["torch-ext/torch_binding.cpp"]

[kernel.scale]
language = "cuda-hipify"
depends = ["torch"]
src = ["scale.cu"]
""",
    "universal": """\
[general]
name = "fast-scale"

[torch]
universal = true
""",
}


@pytest.mark.parametrize("form", OLD_FORMS)
def test_older_forms_are_raised_and_the_raised_file_is_valid(tmp_path: Path, form: str) -> None:
    old = build_toml.read(put(tmp_path, OLD_FORMS[form]))
    assert old.migrated
    again = build_toml.read(put(tmp_path, old.migrated))
    assert again.migrated == ""
    assert (again.name, again.backends, again.components, again.binding) == (
        old.name,
        old.backends,
        old.components,
        old.binding,
    )
    assert old.binding.framework == ("torch-noarch" if form == "universal" else "torch")
    assert "cuda" in old.backends


def test_an_older_form_that_is_no_good_says_so(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="older than edition 5"):
        build_toml.read(put(tmp_path, '[general]\nname = "Not A Name"\n'))


def test_reading_imports_neither_the_kernels_package_nor_the_hub() -> None:
    import subprocess

    code = (
        "import sys; from pathlib import Path; from kernelwright.tools import build_toml; build_toml.rust();"
        "sys.exit(bool({'huggingface_hub', 'torch', 'kernels.hf_hub', 'tomlkit'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused_in_words(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("bytes")
    with pytest.raises(ToolError) as caught:
        build_toml.read(put(folder, content))
    assert caught.value.message
    assert caught.value.hint


def test_the_example_is_toml() -> None:
    assert tomllib.loads(build_toml_faults.SOME_EDITION_5)["general"]["edition"] == 5
