"""Which variants one call builds: what the project declares, what was asked, what this host can serve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kernelwright.tools import gpu
from kernelwright.tools.compile_kernel import clang_toolkit, dependencies, gpu_archs
from kernelwright.tools.compile_kernel.target import BuildBackend, Mode, Target, variant_name
from kernelwright.tools.project import Project
from kernelwright.tools.tool import ToolError
from kernelwright.tools.toolchain import Toolchain, other_cuda, version_numbers

# The oldest CUDA 12 that torch is built for, so that one binary serves all of them: a newer minor is refused by an older torch.
OLDEST_CUDA_12 = (12, 6)
COMPILED: tuple[BuildBackend, ...] = ("cuda", "cpu")


@dataclass(frozen=True)
class Choice:
    """Variants to build, the first being the one for this host, and a line for whatever is left out."""

    targets: tuple[Target, ...]
    skipped: tuple[str, ...]


def choose(project: Project, toolchain: Toolchain, backend: str, archs: Sequence[str], mode: Mode) -> Choice:
    """The variants of this call; raises ToolError if there is none, with what would make one possible."""
    names = _backends(project, toolchain, "all" if mode == "release" and backend == "auto" else backend)
    targets: list[Target] = []
    skipped: list[str] = []
    refusal: ToolError | None = None
    chains = [(name, chain) for name in names for chain in _toolchains(project, toolchain, name, mode, skipped)]
    for name, chain in chains:
        able, left_out = _served(archs, chain, [other for other_name, other in chains if other_name == name], mode)
        skipped += left_out
        if archs and not able:
            continue
        try:
            targets.append(_target(project, chain, name, able, mode))
        except ToolError as error:
            if error.code != "toolchain_missing" or len(chains) == 1:
                raise
            refusal = error
            skipped.append(f"{name}: {error.message} {error.hint}")
    if not targets:
        raise refusal or ToolError("bad_argument", "There is nothing to build.", "Declare a backend in build.toml.")
    return Choice(tuple(targets), tuple(skipped))


def _backends(project: Project, toolchain: Toolchain, asked: str) -> list[str]:
    declared = project.backends
    noarch = project.build.binding.framework == "torch-noarch"
    able = [b for b in declared if noarch or b in COMPILED]
    first = "cuda" if gpu.devices() else "cpu"
    able.sort(key=lambda name: (name != first, declared.index(name)))
    if asked in {"auto", "all"}:
        if not able:
            raise ToolError(
                "bad_argument",
                f"build.toml declares only {', '.join(declared)}; Kernelwright compiles for cuda and cpu.",
                "Add a cuda or cpu kernel, or build those with kernel-builder.",
            )
        return able[:1] if asked == "auto" else able
    if asked not in declared:
        raise ToolError(
            "bad_argument",
            f"The project has no backend {asked!r}: build.toml declares {', '.join(declared)}.",
            "Pass one of those.",
        )
    return [asked]


def _toolchains(project: Project, toolchain: Toolchain, backend: str, mode: Mode, skipped: list[str]) -> list[Toolchain]:
    """One for each variant of `backend`: a release holds one binary for CUDA 13 and one for CUDA 12, which starts at 12.6."""
    if backend != "cuda" or project.build.binding.framework == "torch-noarch":
        return [toolchain]
    if mode == "dev":
        return [_within(project, toolchain)]
    newer = toolchain if toolchain.nvcc and toolchain.nvcc.numbers[0] >= 13 else other_cuda(toolchain, 13, (13, 99))
    older = other_cuda(toolchain, 12, OLDEST_CUDA_12) or _by_clang(project, toolchain, skipped)
    return [chain for chain in (newer, older) if chain] or [toolchain]


def _within(project: Project, toolchain: Toolchain) -> Toolchain:
    """`toolchain`, with another nvcc of this host, or clang in its place, if build.toml does not take the CUDA of its own.

    So too if it has none and torch is built for CUDA 12, whose wheels bring no nvcc.
    """
    torch_12 = toolchain.torch is not None and (toolchain.torch.cuda or "").startswith("12.")
    if _takes(project, toolchain.nvcc.numbers) if toolchain.nvcc else not torch_12:
        return toolchain
    high = version_numbers(project.build.cuda_maxver or "99.99")
    for major in (13, 12):
        other = other_cuda(toolchain, major, min(high, (major, 99)))
        if other and _takes(project, other.need_nvcc().numbers):
            return other
    able = _takes(project, OLDEST_CUDA_12) and project.build.binding.stable_abi.get("cuda")
    parts = clang_toolkit.find(toolchain)
    return clang_toolkit.lay_out(parts, toolchain) if able and parts.complete else toolchain


def _takes(project: Project, cuda: tuple[int, int]) -> bool:
    low, high = project.build.cuda_minver, project.build.cuda_maxver
    return (not low or cuda >= version_numbers(low)) and (not high or cuda <= version_numbers(high))


def _served(
    archs: Sequence[str], chain: Toolchain, chains: Sequence[Toolchain], mode: Mode
) -> tuple[Sequence[str], tuple[str, ...]]:
    """Of `archs`, all but those that another of the `chains` must serve; a line for each of these."""
    refused: dict[str, str] = {}
    for arch in archs if len(chains) > 1 else ():
        reasons = {other: _refusal(arch, other, mode) for other in chains}
        if reasons[chain] and not all(reasons.values()):
            refused[arch] = f"cu{''.join(map(str, chain.need_nvcc().numbers))}: {reasons[chain]}"
    return tuple(arch for arch in archs if arch not in refused), tuple(refused.values())


def _refusal(arch: str, chain: Toolchain, mode: Mode) -> str:
    """Why the nvcc of `chain` does not compile for `arch`, empty if it does, or if nobody could."""
    try:
        gpu_archs.wanted([arch], chain.need_nvcc().version, mode)
    except ToolError as error:
        return error.message if error.code == "bad_argument" else ""
    return ""


def _by_clang(project: Project, toolchain: Toolchain, skipped: list[str]) -> Toolchain | None:
    """A toolchain for cu126 without an nvcc of CUDA 12, or None and a line with the command that makes one possible."""
    if not project.build.binding.stable_abi.get("cuda"):
        # What includes all of torch's headers is not what clang takes for CUDA.
        skipped.append(
            "cu126: there is no CUDA 12.6 toolkit on this host, and no wheel brings its nvcc. With NVIDIA's package source: "
            "apt-get install -y cuda-nvcc-12-6 cuda-cudart-dev-12-6 cuda-cccl-12-6; it is then found in /usr/local/cuda-12.6."
        )
        return None
    parts = clang_toolkit.find(toolchain)
    if parts.complete:
        return clang_toolkit.lay_out(parts, toolchain)
    skipped.append(
        "cu126: there is no CUDA 12.6 toolkit on this host. clang and NVIDIA's wheels do as well; this brings them: "
        + clang_toolkit.command(parts, toolchain)
    )
    return None


def _target(project: Project, toolchain: Toolchain, backend: str, archs: Sequence[str], mode: Mode) -> Target:
    binding = project.build.binding
    if binding.framework == "torch-noarch":
        name = "npu" if backend == "cann" else backend
        return Target(backend, "torch-noarch", f"torch-{name}", "", None, mode, toolchain)
    toolchain.need_gxx()
    toolchain.need_ninja()
    stable = binding.stable_abi.get(backend, "") if binding.framework == "torch" else ""
    version = _framework_version(project, toolchain, stable)
    cuda, wanted = "", None
    if backend == "cuda":
        nvcc = toolchain.need_nvcc()
        _check_cuda(project, toolchain)
        cuda, wanted = cuda_tag(toolchain), gpu_archs.wanted(archs, nvcc.version, mode)
    name = variant_name(binding.framework, stable, version, backend, cuda)
    return Target(backend, binding.framework, name, stable, wanted, mode, toolchain)


def _framework_version(project: Project, toolchain: Toolchain, stable: str) -> str:
    binding = project.build.binding
    if binding.framework == "tvm-ffi":
        return dependencies.tvm_ffi_version(toolchain)
    torch = toolchain.need_torch()
    if stable and torch.numbers < version_numbers(stable):
        raise ToolError(
            "toolchain_missing",
            f"The stable ABI {stable} needs torch {stable} or newer to build, host_python has {torch.version}.",
            f"{toolchain.host_python} -m pip install 'torch>={stable}'",
        )
    low, high = binding.torch_minver, binding.torch_maxver
    if (low and torch.numbers < version_numbers(low)) or (high and torch.numbers > version_numbers(high)):
        raise ToolError(
            "toolchain_missing",
            f"build.toml wants torch {low or 'any'} to {high or 'any'}, host_python has {torch.version}.",
            "Set host_python to an interpreter with such a torch, or change minver and maxver.",
        )
    return torch.version


def _check_cuda(project: Project, toolchain: Toolchain) -> None:
    nvcc = toolchain.need_nvcc()
    if _takes(project, nvcc.numbers):
        return
    advice = "Install such a toolkit and set CUDA_HOME, or change minver and maxver in [general.cuda]."
    if _takes(project, OLDEST_CUDA_12) and project.build.binding.stable_abi.get("cuda"):
        missing = clang_toolkit.command(clang_toolkit.find(toolchain), toolchain)
        advice += f" For CUDA 12.6 clang and NVIDIA's wheels do as well; this brings them: {missing}" if missing else ""
    raise ToolError(
        "toolchain_missing",
        f"build.toml wants CUDA {project.build.cuda_minver or 'any'} to {project.build.cuda_maxver or 'any'}, "
        f"and this host's nvcc is {nvcc.version}.",
        advice,
    )


def cuda_tag(toolchain: Toolchain) -> str:
    """CUDA version that a binary of this nvcc is named for: never newer than the torch at hand, whose runtime it will use."""
    nvcc = toolchain.need_nvcc()
    torch = toolchain.torch
    if torch and torch.cuda and version_numbers(torch.cuda)[0] == nvcc.numbers[0]:
        return torch.cuda if version_numbers(torch.cuda) < nvcc.numbers else nvcc.version
    return nvcc.version
