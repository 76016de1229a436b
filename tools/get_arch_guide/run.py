"""Carries out `get_arch_guide`."""

from __future__ import annotations

from kernelwright.tools import arch_guidance, archs, gpu, reference_library
from kernelwright.tools.archs import Arch
from kernelwright.tools.get_arch_guide.contract import ArchGuide, ArchGuideArgs, ReadNext
from kernelwright.tools.get_arch_guide.measure import measured
from kernelwright.tools.gpu import Gpu
from kernelwright.tools.tool import Context, ToolError


def run(args: ArchGuideArgs, context: Context) -> ArchGuide:
    """Facts and guidance of the GPU that `args.arch` means, and what the host's own device of that kind reports.

    Raises `ToolError` `unknown_arch` with the nearest names, or `no_gpu` for "auto" on a host without a GPU.
    """
    devices = gpu.devices()
    arch = _of_host(devices) if args.arch.strip().lower() == "auto" else archs.resolve(args.arch)
    here = next((device for device in devices if _is(device, arch)), None)
    return ArchGuide(
        arch=arch.key,
        name=arch.name,
        compute_capability=arch.compute_capability,
        nvcc_flag=arch.nvcc_flag,
        min_cuda=arch.min_cuda,
        specs=archs.specs(arch),
        limits=archs.limits(arch.compute_capability),
        features=archs.features(arch.compute_capability),
        guidance=arch_guidance.guidance(arch),
        measured=measured(here, arch, context) if here else None,
        read_next=[
            ReadNext(uri=guide.uri, title=guide.title)
            for guide in (reference_library.guide(name) for name in arch_guidance.read_next(arch))
        ],
    )


def _of_host(devices: tuple[Gpu, ...]) -> Arch:
    if not devices:
        names = ", ".join(arch.key for arch in archs.all_archs())
        raise ToolError("no_gpu", "arch='auto' asks the host's GPU, and nvidia-smi shows none.", f"Pass arch, one of: {names}.")
    return _product(devices[0])


def _is(device: Gpu, arch: Arch) -> bool:
    try:
        return _product(device) == arch
    except ToolError:
        return False


def _product(device: Gpu) -> Arch:
    """The product that a device is, or the one that stands for its compute capability when its name is not known."""
    try:
        found = archs.resolve(device.name)
    except ToolError:
        found = None
    if found and found.compute_capability == device.compute_capability:
        return found
    fallback = archs.by_capability(device.compute_capability)
    if fallback is None:
        raise ToolError(
            "unknown_arch",
            f"The host's GPU is {device.name!r}, compute capability {device.compute_capability}, which is not described here.",
            f"Pass arch: {', '.join(arch.key for arch in archs.all_archs())}.",
        )
    return fallback
