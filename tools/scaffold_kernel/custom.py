"""The skeleton of a kernel of one's own: its signature is that of a reference, its names are the project's."""

from __future__ import annotations

import re
from collections.abc import Sequence

from kernelwright.tools.scaffold_kernel.reference import STUB, Parameter, Reference

_C_TYPE = {"float": "double", "int": "int64_t", "bool": "bool"}
_DEVICE_TYPE = {"float": "float", "int": "int64_t", "bool": "bool"}


def problem(template: str, reference: Reference, function: str) -> str:
    """problem.py: the caller's own, or the skeleton's around the caller's reference."""
    if reference.whole:
        named = "" if reference.entry else f'\n\nentry = "{function}"\n'
        return reference.source.rstrip() + "\n" + named
    start, end = template.index("def reference("), template.index("def inputs(")
    text = template[:start] + reference.source.strip() + "\n\n\n" + template[end:]
    text = text.replace("TO BE WRITTEN: `reference`; `inputs`", "TO BE WRITTEN: `inputs`")
    count = sum(p.kind == "tensor" for p in reference.parameters)
    return text.replace("in range(1)]", f"in range({count})]").replace("return (1 + 1) *", f"return ({count} + 1) *")


def with_signature(text: str, parameters: Sequence[Parameter]) -> str:
    """A file of the skeleton for these `parameters`: each piece that follows from a signature in place of the stub's."""
    pieces = dict(zip(_pieces(STUB), _pieces(parameters), strict=True))
    longest_first = sorted(pieces, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, longest_first)), lambda found: pieces[found[0]], text)


def _pieces(parameters: Sequence[Parameter]) -> list[str]:
    """Every piece of the skeleton's files that follows from its signature."""
    tensors = [p for p in parameters if p.kind == "tensor"]
    numbers = [p for p in parameters if p.kind != "tensor"]
    first = tensors[0]

    def joined(*parts: str) -> str:
        return ", ".join(part for part in parts if part)

    pointers = joined(*(f"const void* {p.cxx}" for p in tensors))
    typed = joined(*(f"const T* __restrict__ {p.cxx}" for p in tensors))
    values = joined(*(f"{_DEVICE_TYPE[p.kind]} {p.cxx}" for p in numbers))
    names = joined(*(p.cxx for p in numbers))
    reads = joined(*(f"rows::to_float({p.cxx}[i])" for p in tensors), names)
    cpu_reads = joined(*(f"rows::to_float(static_cast<const T*>({p.cxx})[i])" for p in tensors), names)
    floats = joined(*(f"float {p.cxx}" for p in tensors), values)
    casts = joined(*(f"static_cast<const T*>({p.cxx})" for p in tensors))
    data = joined(*(f"{p.cxx}.data_ptr()" for p in tensors))
    passed = joined(*(f"static_cast<float>({p.cxx})" if p.kind == "float" else p.cxx for p in numbers))
    taken = joined(*(f"Tensor {p.cxx}" for p in tensors), *(f"{_C_TYPE[p.kind]} {p.cxx}" for p in numbers))
    checks = f'  tensors::expect_on_backend(kOp, "{first.name}", {first.cxx});\n'
    checks += f'  const int dtype = tensors::dtype_code(kOp, "{first.name}", {first.cxx});\n'
    for p in tensors[1:]:
        checks += f'  tensors::expect_like(kOp, "{p.name}", {p.cxx}, "{first.name}", {first.cxx});\n'
        checks += f'  tensors::expect_same_shape(kOp, "{p.name}", {p.cxx}, "{first.name}", {first.cxx});\n'
    checks += "".join(f'  expect_contiguous("{p.name}", {p.cxx});\n' for p in tensors)
    schema = joined(*(f"Tensor {p.name}" for p in tensors), *(f"{p.kind} {p.name}={p.default}" for p in numbers))
    python = joined(*(f"{p.name}: torch.Tensor" for p in tensors), *(f"{p.name}: {p.kind} = {p.default!r}" for p in numbers))
    asked = joined(*(p.name for p in tensors))
    return [
        # kernels
        f"float compute({floats}) {{ return {first.cxx}; }}",
        f"custom_kernel(T* __restrict__ out, {typed}, {joined('int64_t n', values)})",
        f"compute({reads})",
        f"compute({cpu_reads})",
        f"static_cast<T*>(out), {casts}, {joined('n', names)});",
        f"void all_elements({joined('void* out', pointers, 'int64_t n', values)})",
        *(f"all_elements<{T}>({joined('out', *(p.cxx for p in tensors), 'n', names)});" for T in ("float", "Half", "BFloat16")),
        # launchers, declared in the binding and defined in the kernels' files
        f"custom_launch({joined('void* out', pointers, 'int64_t n', values)}, int dtype, void* stream)",
        f"custom_cpu({joined('void* out', pointers, 'int64_t n', values)}, int dtype)",
        # binding
        f"Tensor custom({taken}) {{\n{checks}",
        f"empty_contiguous_like({first.cxx})",
        f"{first.cxx}.numel()",
        f"Launch launch({first.cxx})",
        f"custom_launch({joined('out.data_ptr()', data, 'n', passed)}, dtype, launch.stream)",
        f"custom_cpu({joined('out.data_ptr()', data, 'n', passed)}, dtype);",
        f"custom({schema}) -> Tensor",
        # Python
        f"def _({python}) -> torch.Tensor:\n    return {first.name}.new_empty({first.name}.shape)",
        f"def custom({python}) -> torch.Tensor:",
        f"for t in ({asked}{',' if len(tensors) == 1 else ''}))",
        f"return _custom({joined(asked, *(p.name for p in numbers))})",
        # beside them
        f"for _ in range({len(tensors)})]",
        f"| `custom({joined(*(p.name for p in tensors), *(f'{p.name}={p.default!r}' for p in numbers))})` |",
    ]


def renamed(text: str, package: str, function: str) -> str:
    """The skeleton's own name replaced: of files by that of the `package`, of everything else by that of the `function`."""
    text = re.sub(r"(?<![\w-])(test_)?custom(?=\.(?:cu|cpp|py)\b)", lambda m: (m[1] or "") + package, text)
    own = r"(?<![\w-])(_?)custom(?=(?:_launch|_cpu|_kernel)?(?![\w-]))"
    return re.sub(own, lambda m: m[1] + function, text)
