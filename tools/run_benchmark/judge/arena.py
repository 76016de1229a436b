"""Shared memory through which tensors go from one process to the next without a path on disk.

A file without a name is as large as anyone likes, costs what was written, and cannot be swapped for a link to another file.
"""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # Imported where it is used: the judge starts its children before it waits for torch itself.
    import torch

ALIGN = mmap.ALLOCATIONGRANULARITY
VIRTUAL_BYTES = 1 << 40

Descriptor = dict[str, Any]


class BadDescriptorError(Exception):
    """A child described memory that is not there."""


class Arena:
    """One such memory. `put` appends from `mark` on; `reset` starts over and reuses what was written before."""

    def __init__(self, fd: int) -> None:
        self.fd, self.mark = fd, 0

    @classmethod
    def create(cls, name: str) -> Arena:
        """A new, empty arena."""
        fd = os.memfd_create(name)
        os.ftruncate(fd, VIRTUAL_BYTES)
        return cls(fd)

    def close(self) -> None:
        """Give it back."""
        os.close(self.fd)

    def read_only(self) -> Arena:
        """The same memory through a descriptor that cannot write."""
        return Arena(os.open(f"/proc/self/fd/{self.fd}", os.O_RDONLY))

    def reset(self) -> None:
        """Overwrite from the start."""
        self.mark = 0

    def put(self, tensor: torch.Tensor) -> Descriptor:
        """Copy a tensor of any device and stride; the descriptor tells another process where it is."""
        import torch

        shape, count = list(tensor.shape), tensor.numel()
        found: Descriptor = {"offset": self.mark, "shape": shape, "dtype": str(tensor.dtype).removeprefix("torch.")}
        size = count * tensor.element_size()
        if size:
            memory = mmap.mmap(self.fd, size, access=mmap.ACCESS_WRITE, offset=self.mark)
            view = torch.frombuffer(memory, dtype=tensor.dtype, count=count).view(shape)
            view.copy_(tensor.detach())
            del view
            self.mark += -(-size // ALIGN) * ALIGN
        return found

    def get(self, found: Descriptor) -> torch.Tensor:
        """The tensor on the CPU, as a private copy-on-write view; raises `BadDescriptorError`."""
        import torch

        dtype = dtype_named(str(found.get("dtype")))
        shape, offset = found.get("shape"), found.get("offset")
        if not isinstance(offset, int) or offset < 0 or offset % ALIGN:
            raise BadDescriptorError(f"offset {offset!r}")
        if not isinstance(shape, list) or not all(isinstance(n, int) and 0 <= n < 1 << 40 for n in shape):
            raise BadDescriptorError(f"shape {shape!r}")
        count = 1
        for n in shape:
            count *= n
        size = count * torch.empty((), dtype=dtype).element_size()
        if offset + size > VIRTUAL_BYTES:
            raise BadDescriptorError(f"{size} bytes at {offset}")
        if not size:
            return torch.empty(shape, dtype=dtype)
        memory = mmap.mmap(self.fd, size, access=mmap.ACCESS_COPY, offset=offset)
        return torch.frombuffer(memory, dtype=dtype, count=count).view(shape)


def dtype_named(name: str) -> torch.dtype:
    """`torch.float32` for "float32"; raises `BadDescriptorError` for what is no dtype."""
    import torch

    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise BadDescriptorError(f"dtype {name!r}")
    return dtype
