"""What a package imports besides torch: found, excused where it is declared, and if it is missing told with the ways out."""

from __future__ import annotations

from pathlib import Path

import compile_project_files
import pytest
from compile_project_files import BUILD_TOML, line_of
from conftest import Compile

NOARCH = BUILD_TOML[: BUILD_TOML.index("[torch]")] + "[torch-noarch]\n"


def noarch(folder: Path, init: str, depends: str = "") -> Path:
    toml = NOARCH.replace("edition = 5\n", f"edition = 5\npython-depends = [{depends}]\n")
    return compile_project_files.write(folder, {"build.toml": toml, "torch-ext/scale/__init__.py": init})


def test_a_module_of_the_packages_own_name_is_not_hidden(tmp_path: Path, compile_here: Compile) -> None:
    toml = BUILD_TOML[: BUILD_TOML.index("[torch]")] + "[torch-noarch]\n"
    changes = {
        "build.toml": toml,
        "torch-ext/scale/__init__.py": "from .scale import one\n",
        "torch-ext/scale/scale.py": "one = 1\n",
    }
    result = compile_here(compile_project_files.write(tmp_path / "scale", changes), backend="cpu")
    assert result.status == "ok", result.markdown()


@pytest.mark.parametrize(
    ("imported", "hints"),
    [
        # `kernels` knows the first, so that it may be declared; nobody has the second.
        ("import helion.language", ['python-depends = ["helion"]', "pip install helion", "[general.cpu]"]),
        ("from nowhere.to import be_found", ["inside the function", "pip install nowhere", "einops"]),
        ("from scale._ops import ops", ["another name when it is loaded: import relatively"]),
        ("import helper", ["import it relatively, from .helper"]),
        ("from .layers.swiglu import Swiglu", ["write torch-ext/scale/layers.py"]),
        ("from .helper import missing", []),
    ],
)
def test_a_module_that_is_missing_is_told_with_the_ways_out(
    imported: str, hints: list[str], tmp_path: Path, compile_here: Compile
) -> None:
    project = noarch(tmp_path / "scale", f"import torch\n{imported}\n")
    (project / "torch-ext/scale/helper.py").touch()
    result = compile_here(project, backend="cpu")
    assert result.status == "failed", result.markdown()
    (error,) = result.diagnostics
    assert (error.file, error.line, error.source) == ("torch-ext/scale/__init__.py", 2, imported)
    assert all(words in error.hint for words in hints), error.hint


def test_files_that_import_each_other_are_told_to_part(tmp_path: Path, compile_here: Compile) -> None:
    project = noarch(tmp_path / "scale", "from .one import first\n")
    (project / "torch-ext/scale/one.py").write_text("from .two import second\nfirst = 1\n")
    (project / "torch-ext/scale/two.py").write_text("from .one import first\nsecond = 2\n")
    result = compile_here(project, backend="cpu")
    (error,) = result.diagnostics
    assert (error.file, error.line) == ("torch-ext/scale/two.py", 1)
    # The name that the check gave the package says nothing to its author.
    assert "partially initialized module 'scale.one'" in error.message
    assert "import each other" in error.hint


def test_an_op_without_type_hints_is_told_to_have_them(tmp_path: Path, compile_here: Compile) -> None:
    init = (
        "import torch\nfrom ._ops import add_op_namespace_prefix\n\n\n"
        '@torch.library.custom_op(add_op_namespace_prefix("scale"), mutates_args=())\n'
        "def scale(x, factor) -> torch.Tensor:\n    return x * factor\n"
    )
    result = compile_here(noarch(tmp_path / "scale", init), backend="cpu")
    (error,) = result.diagnostics
    assert error.line in {5, 6}
    assert "annotate every parameter" in error.hint


def test_a_declared_module_may_be_missing_where_the_package_is_built(tmp_path: Path, compile_here: Compile) -> None:
    result = compile_here(noarch(tmp_path / "scale", "import helion\n", '"helion"'), backend="cpu")
    assert (result.status, result.diagnostics) == ("ok", []), result.markdown()
    assert result.skipped == ["import check: helion is not installed in host_python"]


def test_what_no_loader_takes_in_python_depends_is_said(tmp_path: Path, compile_here: Compile) -> None:
    project = noarch(tmp_path / "scale", "import nowhere\n", '"einops", "nowhere"')
    result = compile_here(project, backend="cpu")
    assert result.status == "ok", result.markdown()
    (warning,) = result.diagnostics
    assert (warning.severity, warning.file) == ("warning", "build.toml")
    assert warning.line == line_of((project / "build.toml").read_text(), "nowhere")
    assert "names nowhere, which `kernels` does not know" in warning.message
    assert "einops" in warning.hint
