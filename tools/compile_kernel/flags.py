"""Which compiler flags of a build.toml are passed on: those that a kernel needs, and none that load, read or write files.

A list of what is allowed, not of what is forbidden: gcc and nvcc have hundreds of options that run a program or open a path.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from kernelwright.tools.tool import ToolError

_DEFINE = r"-D\w+(\([\w, ]*\))?(=[^\x00-\x1f`$@]*)?|-U\w+"
_STANDARD = r"-std=(c|gnu)\+\+\w+"
_LEVEL = r"-O[0-3sg]?|-Ofast|-g[0-3]?|-pthread|-w|-pipe"
_WARNING = r"-W(?!a,|l,|p,|rapper)[\w+=-]*"
_WRITES_OR_LOADS = (
    "plugin|dump|profile|test-coverage|lto|auto-profile|instrument|compare-debug|callgraph|save|opt-info|output|"
    "module|pch|sanitize|use-ld"
)
_CODE = rf"-f(?!{_WRITES_OR_LOADS})[\w-]+(=[\w.,-]+)?"
_MACHINE = r"-m(?!plugin)[\w.-]+(=[\w.,+-]+)?"
_LIBRARY = r"-l(gomp|m|dl|rt|pthread|cuda|cudart|cublas|cublasLt|curand|nvrtc)"
_PTXAS = "|".join(
    (
        r"-O[0-3]|--?opt-level=?[0-3]?|-v|--?verbose|--?warn[\w-]*|--?Werror|--?allow-expensive-optimizations=\w+",
        r"--?def-\w+-cache=\w+|-dlcm=\w+|-dscm=\w+|--?register-usage-level=\d+|--?disable-optimizer-constants|--?maxrregcount=\d+",
    )
)
_SHARED = (_DEFINE, _STANDARD, _LEVEL, _WARNING)
_CXX = (*_SHARED, _CODE, _MACHINE, _LIBRARY)
_CUDA = (
    *_SHARED,
    r"--?use_fast_math|--?(ftz|prec-div|prec-sqrt|fmad)=\w+|--?extra-device-vectorization",
    r"--?expt-[\w-]+|--?extended-lambda|--?relocatable-device-code=false|-rdc=false",
    r"--?(lineinfo|generate-line-info|resource-usage|restrict|source-in-ptx|no-exceptions|no-compress)|-res-usage|-G",
    r"--?maxrregcount[= ]?\d+|--threads=?\d+|-t=?\d+|--split-compile=\d+|--?default-stream=?\w*|--?compress-mode=\w+",
    r"--?(nv-)?diag[-_](suppress|error|warn|default)[= ]?[\d,]*|--?ftemplate-(backtrace-limit|depth)=\d+",
    r"--?static-global-template-stub=(true|false)|--?Werror[= ]?[\w,-]*|--?std=c\+\+\d\w",
    r"--?disable-warnings|--?brief-diagnostics=?\w*|--?display-error-number",
    rf"(-Xptxas|--ptxas-options)=({_PTXAS})(,({_PTXAS}))*",
    r"(-Xfatbin|--fatbin-options)=-?-?compress(-all|=\w+|-level=\d+)?",
    r"(-Xcudafe|--cudafe-options)=--?(diag_suppress|display_error_number)(=\w+)?",
)
# Flags that take the next word as their value, which is checked as if it had been joined with '='.
_TAKES_VALUE = {
    *("-Xptxas", "--ptxas-options", "-Xfatbin", "--fatbin-options", "-Xcudafe", "--cudafe-options", "-Xcompiler"),
    *("--compiler-options", "-maxrregcount", "--maxrregcount", "-diag-suppress", "--diag-suppress", "--threads", "-t"),
    *("-default-stream", "--default-stream", "-std", "--std"),
}
_CXX_RULE = re.compile("|".join(f"(?:{rule})" for rule in _CXX))
_CUDA_RULE = re.compile("|".join(f"(?:{rule})" for rule in _CUDA))
_WHY = {
    r"-gencode|--generate-code|-arch|--gpu-arch|-code|--gpu-code": "Set cuda-capabilities, or pass archs to compile_kernel.",
    r"-I|-isystem|-iquote|--include-path": "List the folder under include, relative to the project.",
    r"-include|--pre-include|-imacros": "Include that header in the source.",
    r"--?(rdc|dc|dlto|relocatable-dev|device-c)": "Device code is not linked: define what several sources call in a header.",
    r"-l|-L|-Wl|--linker-options|-Xlinker": "Libraries come from torch and the CUDA toolkit; put code into src.",
    r"-fplugin|-wrapper|-ccbin|--compiler-bindir|-B|-specs|@|-Wa|-Wp|--run": "It runs or reads what is not the project's.",
}


def checked_cxx(flags: Sequence[str], where: str) -> tuple[str, ...]:
    """`flags` for g++ as they are; raises ToolError at the first one that is not allowed. `where` names the table."""
    for flag in flags:
        if not _CXX_RULE.fullmatch(flag):
            raise _refused(flag, where, "cxx-flags")
    return tuple(flags)


def checked_cuda(flags: Sequence[str], where: str) -> tuple[str, ...]:
    """`flags` for nvcc, a value joined to its flag; raises ToolError at the first one that is not allowed."""
    joined = tuple(_joined(flags))
    for flag in joined:
        host = re.fullmatch(r"(?:-Xcompiler|--compiler-options)=(.*)", flag)
        if host:
            checked_cxx([part.strip('"') for part in host[1].split(",")], where)
        elif not _CUDA_RULE.fullmatch(flag):
            raise _refused(flag, where, "cuda-flags")
    return joined


def _joined(flags: Iterable[str]) -> Iterator[str]:
    words = iter(word for flag in flags for word in ([flag] if flag.startswith("-D") else flag.split()))
    for word in words:
        yield f"{word}={next(words, '')}" if word in _TAKES_VALUE else word


def _refused(flag: str, where: str, key: str) -> ToolError:
    hint = next(
        (text for rule, text in _WHY.items() if re.match(rule, flag)), "Remove it: it is not a flag that a kernel needs."
    )
    return ToolError("bad_argument", f"build.toml, {where}: the flag {flag!r} in {key} is not allowed.", hint)
