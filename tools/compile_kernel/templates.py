"""Files that every package has and no author writes: registration.h, _ops.py, the compatibility package, link helpers."""

from __future__ import annotations

REGISTRATION_H = """\
// The namespace of the ops and the name of the module come from the build, so that two builds of a kernel never collide.
#pragma once

#include <Python.h>

#define _CONCAT(A, B) A##B
#define CONCAT(A, B) _CONCAT(A, B)
#define _STRINGIFY(A) #A
#define STRINGIFY(A) _STRINGIFY(A)

// As torch's macros, with a NAME that may itself be a macro.
#define TORCH_LIBRARY_EXPAND(NAME, MODULE) TORCH_LIBRARY(NAME, MODULE)
#define TORCH_LIBRARY_IMPL_EXPAND(NAME, DEVICE, MODULE) TORCH_LIBRARY_IMPL(NAME, DEVICE, MODULE)
#define STABLE_TORCH_LIBRARY_EXPAND(NAME, MODULE) STABLE_TORCH_LIBRARY(NAME, MODULE)
#define STABLE_TORCH_LIBRARY_IMPL_EXPAND(NAME, DEVICE, MODULE) STABLE_TORCH_LIBRARY_IMPL(NAME, DEVICE, MODULE)

// Makes the shared library importable: an empty module whose loading has registered the ops.
#define REGISTER_EXTENSION(NAME)                                                                          \\
  PyMODINIT_FUNC CONCAT(PyInit_, NAME)() {                                                                \\
    static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, STRINGIFY(NAME), nullptr, 0, nullptr};     \\
    return PyModule_Create(&module);                                                                      \\
  }
"""

TORCH_OPS_PY = """\
import torch

from . import {namespace}

ops = torch.ops.{namespace}


def add_op_namespace_prefix(op_name: str) -> str:
    \"\"\"The op's name with its namespace, as torch.library takes it.\"\"\"
    return f"{namespace}::{{op_name}}"
"""

NOARCH_OPS_PY = """\
import torch

ops = torch.ops.{namespace}


def add_op_namespace_prefix(op_name: str) -> str:
    \"\"\"The op's name with its namespace, as torch.library takes it.\"\"\"
    return f"{namespace}::{{op_name}}"
"""

TVM_FFI_OPS_PY = """\
from importlib.util import find_spec
from pathlib import Path

import tvm_ffi

has_jax = bool(find_spec("jax") and find_spec("jax_tvm_ffi"))
has_torch = find_spec("torch") is not None

ops = tvm_ffi.load_module(str(Path(__file__).parent / "{namespace}.so"))


def torch_add_op_namespace_prefix(op_name: str) -> str:
    \"\"\"The op's name with its namespace, as torch.library takes it.\"\"\"
    return f"{namespace}::{{op_name}}"


def jax_add_ffi_target_name_prefix(name: str) -> str:
    \"\"\"The JAX FFI target's name with its namespace.\"\"\"
    return f"{namespace}.{{name}}"


def jax_register_ffi_target(name: str, *args, **kwargs):
    \"\"\"Register an op as a JAX FFI target where JAX is installed.\"\"\"
    if has_jax:
        from jax_tvm_ffi import register_ffi_target

        return register_ffi_target(f"{namespace}.{{name}}", *args, **kwargs)


def jax_ffi_call(name: str, *args, **kwargs):
    \"\"\"Call an op through JAX's FFI.\"\"\"
    from jax.ffi import ffi_call

    return ffi_call(f"{namespace}.{{name}}", *args, **kwargs)
"""

# Older loaders import `<variant>/<name>/__init__.py`: it hands on everything of the package above it.
COMPATIBILITY_PY = """\
import importlib.util
import sys
from pathlib import Path

_file = Path(__file__).resolve().parent.parent / "__init__.py"
_name = f"_{{abs(hash(str(_file))):x}}_{name}"
_spec = importlib.util.spec_from_file_location(_name, _file)
_module = importlib.util.module_from_spec(_spec)
sys.modules[_name] = _module
_spec.loader.exec_module(_module)
globals().update({{key: value for key, value in vars(_module).items() if not key.startswith("__") or key == "__all__"}})
"""

# The compiler's own libstdc++ and glibc are newer than manylinux_2_28 allows. What the headers would take from them is made
# here instead: string streams (GLIBCXX_3.4.26 and, as C++20, 3.4.29), the throw of an array too long (3.4.29), and the flag
# that shared_ptr reads (GLIBC_2.32; 0 means "may have threads"). The version script keeps all of it inside the library.
OLD_SYSTEMS_CPP = """\
#include <ios>
#include <new>
#include <sstream>

extern "C" {
__attribute__((visibility("hidden"))) char __libc_single_threaded = 0;
}

template std::basic_stringstream<char>::basic_stringstream();
template std::basic_ostringstream<char>::basic_ostringstream();
template std::basic_istringstream<char>::basic_istringstream();
#if __cplusplus >= 202002L
template std::string std::basic_stringbuf<char>::str() const&;
template std::string std::basic_stringbuf<char>::str() &&;
#endif

namespace std {
__attribute__((visibility("hidden"))) void __throw_bad_array_new_length() { throw bad_array_new_length(); }
}

#if __GNUC__ >= 13
template void std::basic_string<char>::_M_replace_cold(char*, std::size_t, const char*, std::size_t, std::size_t);

namespace std {
__attribute__((visibility("hidden"))) void ios_base_library_init() {}
static ios_base::Init streams;
}
#endif
"""

VERSION_SCRIPT = "{ global: PyInit_*; local: *; };\n"
TVM_FFI_VERSION_SCRIPT = "{ global: __tvm_ffi_*; TVMFFI*; local: *; };\n"

# What ATen/cuda/CUDAContext.h wants of CUDA's libraries is their handles and status codes. A toolkit without these libraries
# compiles with the following instead; they come last in the search, and a kernel that calls a library needs its own headers.
_HANDLE = "#pragma once\ntypedef struct {struct}* {handle};\n"
LIBRARY_HEADERS = {
    "cublas_v2.h": _HANDLE.format(struct="cublasContext", handle="cublasHandle_t")
    + "typedef enum { CUBLAS_STATUS_SUCCESS = 0 } cublasStatus_t;\n",
    "cublasLt.h": _HANDLE.format(struct="cublasLtContext", handle="cublasLtHandle_t"),
    "cusparse.h": _HANDLE.format(struct="cusparseContext", handle="cusparseHandle_t")
    + "typedef enum { CUSPARSE_STATUS_SUCCESS = 0 } cusparseStatus_t;\n",
    "cusolver_common.h": "#pragma once\ntypedef enum { CUSOLVER_STATUS_SUCCESS = 0 } cusolverStatus_t;\n",
    "cusolverDn.h": "#include <cusolver_common.h>\n" + _HANDLE.format(struct="cusolverDnContext", handle="cusolverDnHandle_t"),
    # Not of a library: the older name of an ATen header, which CPU builds of torch leave out.
    "THC/THCAtomics.cuh": "#pragma once\n#include <ATen/cuda/Atomic.cuh>\n",
}

# Names of a macro header that CPU builds of torch lack and their CUDA headers include.
CUDA_CMAKE_MACROS_H = "#pragma once\n#define C10_CUDA_BUILD_SHARED_LIBS\n"
