"""Memory in which many tensors lie as one tensor of integers, so that one operation reaches places in all of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def memory(start: int, octets: int, width: int, device: torch.device) -> torch.Tensor:
    """`octets` bytes from the address `start` on, to be touched only where tensors lie that live as long."""
    storage = torch._C._construct_storage_from_data_pointer(start, device, octets)
    return torch.empty(0, dtype=INTEGERS[width], device=device).set_(storage, 0, (octets // width,), (1,))


def around(within: Sequence[torch.Tensor]) -> tuple[torch.Tensor, list[int]]:
    """The memory from the first to the last of some dense tensors of one width, and the index where each begins."""
    width = within[0].element_size()
    addresses = [t.data_ptr() for t in within]
    start = min(addresses)
    octets = max(address + t.numel() * width for address, t in zip(addresses, within, strict=True)) - start
    return memory(start, octets, width, within[0].device), [(address - start) // width for address in addresses]
