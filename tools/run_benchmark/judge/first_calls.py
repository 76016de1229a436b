"""The first calls of torch's functions that are MKL's on the CPU, made by one thread.

MKL picks the code of such a function when it is first called. Where threads make that call together, one of them can run a
variant of low accuracy on its part of the tensor, once (pytorch/pytorch issue 188792; seen with torch 2.13 in 2 to 12 of 100
fresh processes with two threads, errors up to 2e-4 in float32). A reference would then call honest kernels wrong.
"""

from __future__ import annotations

import torch

# Those that aten/src/ATen/cpu/vml.h hands to MKL.
FUNCTIONS = (
    *("acos", "asin", "atan", "cos", "sin", "tan", "tanh"),
    *("erf", "erfc", "erfinv", "exp", "log", "log10", "log2", "sqrt", "trunc"),
)
DTYPES = (torch.float32, torch.float64)


def settle() -> None:
    """Call each of `FUNCTIONS` on one element of each of `DTYPES`, about 3 ms; nothing else of the process may compute yet."""
    for dtype in DTYPES:
        for name in FUNCTIONS:
            getattr(torch, name)(torch.full((1,), 0.5, dtype=dtype))
