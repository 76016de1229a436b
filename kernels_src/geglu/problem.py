"""What geglu must compute and where it is measured; a shape is (rows, n) for an x of (rows, 2n)."""

import torch
from torch.nn.functional import gelu

entry = "geglu"


def inputs(shape, dtype, device, generator):
    """x (rows, 2n), normal: the value, then the gate."""
    rows, n = shape
    return (torch.randn(rows, 2 * n, generator=generator, device=device, dtype=torch.float32).to(dtype),)


def reference(x, approximate="none", gate_first=False):
    """value * gelu(gate), as diffusers writes it."""
    value, gate = x.chunk(2, dim=-1)
    if gate_first:
        value, gate = gate, value
    return value * gelu(gate, approximate=approximate)


# The feed-forward of Stable Diffusion XL (2560, 5120), and of wider transformers (8192).
shapes = [
    (1024, 8192),
    (4096, 8192),
    (8192, 8192),
    (8192, 2560),
    (2048, 5120),
    (16384, 1280),
]
cpu_shapes = [(64, 8192), (256, 1280)]
dtypes = ["bfloat16", "float32"]


def cost(shape, dtype):
    """Bytes: value and gate in, out out. Operations: the error function counts as twenty, then three more."""
    rows, n = shape
    return 3 * rows * n * dtype.itemsize, 23 * rows * n
