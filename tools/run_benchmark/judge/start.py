"""Starts a program of this folder by its path: ``python start.py opening|reference|subject ARGUMENT…``.

The folder becomes a package under a name of its own, so that nothing of the user's can shadow its modules and none of its
modules shadows anything of the user's.
"""

import importlib
import importlib.util
import sys
from pathlib import Path

PACKAGE = "kernelwright_judge"


def load(program: str) -> object:
    """The module `program` of this folder."""
    folder = Path(__file__).resolve().parent
    spec = importlib.util.spec_from_file_location(PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)])
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = package
    spec.loader.exec_module(package)
    return importlib.import_module(f"{PACKAGE}.{program}")


if __name__ == "__main__":
    # Started by path, Python puts this folder first; its modules must not be found under bare names.
    sys.path.pop(0)
    sys.exit(load(sys.argv[1]).main(sys.argv[2:]))  # type: ignore[attr-defined]
