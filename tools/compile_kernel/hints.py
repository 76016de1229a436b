"""What to do about an error: known pitfalls of kernels, found by the compiler's words and the line that they point at."""

from __future__ import annotations

import re

# Pattern, searched in the message, the line of source and the file's name, each on a line of its own, and advice. The first
# that fits is given.
_HINTS: tuple[tuple[str, str], ...] = (
    # Torch's side: what a kernel package is not.
    (
        r"pybind11|PYBIND11_MODULE",
        "A kernel package has no pybind11: register ops with STABLE_TORCH_LIBRARY_EXPAND(TORCH_EXTENSION_NAME, ops) and end "
        "the file with REGISTER_EXTENSION(TORCH_EXTENSION_NAME).",
    ),
    (
        r"TORCH_STABLE_ONLY or TORCH_TARGET_VERSION|torch/(extension|all|torch|library|types)\.h|ATen/|c10/(?!.*cmake_macros)",
        "The stable ABI has headers of its own: include torch/csrc/stable/{library,tensor,accelerator}.h and "
        "torch/headeronly/… instead, or remove [torch.stable-abi] to build against the full ABI.",
    ),
    (
        r"'Tensor' (is not a member of|in namespace) '(at|torch)|'at' (has not been|was not) declared|'at' does not name a "
        r"type|namespace \"(at|torch)\" has no member \"Tensor\"|declared void\n.*\b(at|torch)::Tensor\b",
        "With the stable ABI tensors are torch::stable::Tensor (torch/csrc/stable/tensor.h); at:: and torch::Tensor are not.",
    ),
    (
        r"StableIValue\*|invalid conversion from '.*\(\*\)\(torch::stable",
        'Box the function: ops.impl("name", TORCH_BOX(&function)).',
    ),
    (
        r"aoti_torch_get_current_cuda_stream\W.*(not declared|undefined)",
        'Declare it: extern "C" AOTITorchError aoti_torch_get_current_cuda_stream(int32_t device_index, void** stream);',
    ),
    (
        r"\b(TORCH_CHECK|AT_ERROR|TORCH_INTERNAL_ASSERT)\W.*(not declared|undefined)",
        "With the stable ABI it is STD_TORCH_CHECK (torch/headeronly/util/Exception.h), with tvm-ffi "
        "TVM_FFI_CHECK(condition, ValueError) << text (tvm/ffi/error.h).",
    ),
    (
        r"module export function|PyInit_",
        "The binding must end with REGISTER_EXTENSION(TORCH_EXTENSION_NAME), which makes the library importable.",
    ),
    # What ptxas and nvcc refuse for an architecture.
    (
        r"uses too much shared data",
        "Static __shared__ memory ends at 48 KiB a block on most GPUs: make it extern __shared__ and raise "
        "cudaFuncAttributeMaxDynamicSharedMemorySize before the launch.",
    ),
    (
        r"(wgmma|setmaxnreg)[\s\S]*(not supported|requires|cannot be compiled)|requires[\s\S]*(wgmma|setmaxnreg)",
        "It exists on Hopper's own target only: compile for '9.0a' (cuda-capabilities = [\"9.0a\"], or archs=['sm_90a']).",
    ),
    (
        r"tcgen05[\s\S]*(not supported|requires|cannot be compiled)",
        "It exists on Blackwell's own targets only: compile for '10.0a' (cuda-capabilities, or archs=['sm_100a']).",
    ),
    (
        r"\.?(bf16|cp\.async|mma)\S*' requires|requires \.?target sm_80|bf16[\s\S]*sm_80",
        "It needs compute capability 8.0: guard it with #if __CUDA_ARCH__ >= 800, or take 7.x out of cuda-capabilities.",
    ),
    (
        r"requires .*target (sm_\w+)",
        "Guard it with #if __CUDA_ARCH__, or list only capabilities that have it in cuda-capabilities.",
    ),
    (
        r"Unsupported gpu architecture|is not defined for option 'gpu-architecture'",
        "This nvcc does not know that architecture: change cuda-capabilities, or install a toolkit that does.",
    ),
    (
        r"Unknown modifier|Unexpected instruction types|Parsing error|Unknown symbol|Not a name of any known instruction|"
        r"Arguments mismatch for instruction|Instruction types",
        "The inline assembly is not valid PTX: check the instruction's name, its type and its operands in the PTX ISA.",
    ),
    # Device code is not linked.
    (
        r"Unresolved extern function|Undefined reference to '",
        "Device code of one source cannot call that of another: define the function in a header that each of them includes.",
    ),
    (
        r"treated as a static definition",
        "Each source gets a copy of its own, and what is written to the other one is not seen: keep it and all that uses it in "
        "one source, or pass a pointer.",
    ),
    # Host and device.
    (
        r"calling a __host__ (constexpr )?function|is undefined in device code",
        "Mark the function __device__ (or __host__ __device__) so that the kernel may call it.",
    ),
    (
        r"calling a __device__ function|a __device__ variable .* cannot be directly",
        "It is __device__ code: call it from a kernel, not from the host.",
    ),
    (
        r"namespace \"std\" has no member|is not a member of 'std'|in namespace 'std' does not name|incomplete type 'std::",
        "Include its header; std containers are host code, kernels take arrays and pointers.",
    ),
    (r"__global__ function must have a void return type", "Return void, and write the result through a pointer."),
    (
        r"a __global__ function call must be configured",
        "Launch it: kernel<<<blocks, threads, shared_bytes, stream>>>(arguments).",
    ),
    (
        r"(__(global|device|shared|host)__|<<<|__syncthreads|threadIdx|blockIdx)[\s\S]*\n\S+\.(cpp|cc|cxx)$",
        'CUDA code is compiled by nvcc only: put it into a .cu file of a kernel with backend = "cuda".',
    ),
    (
        r"CUstream_st",
        "Cast it: static_cast<cudaStream_t>(stream).",
    ),
    # Types of numbers.
    (
        r"more than one (conversion function|operator|instance)|ambiguous",
        "The call is ambiguous: convert explicitly, for bf16 and half with __bfloat162float, __half2float and back.",
    ),
    (
        r"(__nv_bfloat16|__half|BFloat16|Half)\S* is undefined|identifier \"(__nv_bfloat16|__half|nv_bfloat16|half)",
        "Include cuda_bf16.h or cuda_fp16.h.",
    ),
    (
        r"conversion from \"?(const )?(__nv_bfloat16|__half|float|double)|(__nv_bfloat16|__half).*(conversion|exists)",
        "Types of numbers do not convert by themselves: convert over float, __bfloat162float, __float2half and so on.",
    ),
    (r"must have integral|'float' and 'float' to binary 'operator%'|invalid operands.*%", "% is for integers: use fmodf."),
    (r"modifiable lvalue|read-only|discards qualifiers", "It is const: write through a pointer that is not, or drop const."),
    # What is missing or does not fit.
    (
        r"No such file or directory",
        "No such header: is it in the project? List its folder under include, relative to the project, "
        "or the library under depends.",
    ),
    (r"identifier \"f?printf\"|'f?printf'", "Include cstdio."),
    (r"did you mean", "The name is not declared here: see the compiler's suggestion."),
    (
        r"is undefined|was not declared|has not been declared|does not name a type",
        "Declare it first: check the spelling, the namespace and the #include.",
    ),
    (r"at end of input|expected a \"\}\"|expected '\}'", "A brace is not closed."),
    (r"expected a \";\"|expected ';'|expected ',' or ';'", "A semicolon is missing, here or at the end of the line before."),
    (
        r"too (few|many) arguments|no instance of .* matches|no matching function",
        "The arguments do not fit the declaration: check their number and types.",
    ),
    (
        r"multiple definition|already defined",
        "It is defined in two sources: keep one definition, or make them static or inline.",
    ),
    (
        r"undefined reference|undefined symbol",
        "Nothing defines it: is its source listed under src, with exactly this signature?",
    ),
    (
        r"file not recognized|invalid preprocessing directive|stray '",
        "There are bytes in it that are no C++: save it as UTF-8 text.",
    ),
    (
        r"target specific option mismatch",
        "Those instructions need a flag: add it to the cxx-flags of this kernel (-mavx2, -mfma, -mavx512f …), and check the "
        "processor before such code is called.",
    ),
    (r"static assertion|static_assert", "The assertion's own words say what does not hold."),
    (
        r"template instantiation depth|constexpr.*(limit|depth)|recursion",
        "The template or constexpr recursion does not end: add its last case.",
    ),
    (
        r"signal terminated program|out of memory|virtual memory exhausted|cannot allocate|internal compiler error",
        "The compiler itself gave up, as it does on recursion without an end or on far too much code: make the source smaller.",
    ),
    # The import.
    (
        r"infer_schema\(func\)",
        "torch.library.custom_op takes the schema from type hints: annotate every parameter and the result (torch.Tensor, "
        "Optional[torch.Tensor], int, float, bool, str, Sequence[int] …), or pass schema=.",
    ),
    (
        r"partially initialized module",
        "Two files of the package import each other: move what both need into a third one, or import inside the function.",
    ),
    (
        r"unknown type specifier|Unknown type|torch_library_def|schema",
        "The op's schema is not valid: types are Tensor, int, float, bool, "
        "str, Tensor?, int[], Tensor(a!) for what is written; C++'s double is float, int64_t is int.",
    ),
    (r"torch_library_impl|no ops\.def declares", "ops.impl names an op that no ops.def declares, or a device twice."),
    (
        r"attempted relative import",
        "A relative import reaches no further than the package itself: from .module import …, from a file of the package.",
    ),
    (
        r"operator \S+ does not exist|'_OpNamespace' .*has no attribute",
        "No ops.def declares an op of that name: check both spellings.",
    ),
    (
        r"Module has no function",
        "The library exports none of that name: TVM_FFI_DLL_EXPORT_TYPED_FUNC(name, function) does it, check both spellings.",
    ),
    (
        r"died of SIGSEGV|died of SIGABRT|exited with status|ended the process",
        "The import must not end the process: look at what runs "
        "at load time, static objects and the package's __init__.py. The log has its last words.",
    ),
    (r"did not end within", "The import hangs: look at what __init__.py and static objects do at load time."),
)
_LIBRARY = re.compile(
    r"\b(cublas|cusparse|cusolver|curand|cufft|cudnn|nvrtc|nccl)\w*(\.h)?\b['\"]?"
    r".*(undefined|not declared|not been declared|not name a type|No such file)"
)
# Wheels of CUDA 13 are named for the library alone, those of CUDA 12 end in -cu12.
_WHEELS = {"nvrtc": "nvidia-cuda-nvrtc", "cudnn": "nvidia-cudnn-cu13", "nccl": "nvidia-nccl-cu13"}
_COMPILED = tuple((re.compile(pattern), text) for pattern, text in _HINTS)


def hint(message: str, source: str = "", file: str = "") -> str:
    """What to do about `message` at the line `source` of `file`; empty when nothing is known."""
    library = _LIBRARY.search(message)
    if library:
        wheel = _WHEELS.get(library[1], f"nvidia-{library[1]}")
        return f"The headers of {library[1]} are not on this host: install the wheel {wheel} in host_python, beside torch."
    text = f"{message}\n{source}\n{file}"
    return next((advice for pattern, advice in _COMPILED if pattern.search(text)), "")
