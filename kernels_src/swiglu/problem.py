"""What swiglu must compute and where it is measured; a shape is (rows, n)."""

import torch
from torch.nn.functional import silu

entry = "swiglu"


def inputs(shape, dtype, device, generator):
    """gate and up (rows, n), normal."""
    gate = torch.randn(*shape, generator=generator, device=device, dtype=torch.float32)
    up = torch.randn(*shape, generator=generator, device=device, dtype=torch.float32)
    return gate.to(dtype), up.to(dtype)


def reference(gate, up):
    """silu(gate) * up, as model code writes it."""
    return silu(gate) * up


# The MLP of Qwen3-8B (12288), Llama-3-8B (14336) and of a small mixture-of-experts model (1408).
shapes = [
    (128, 12288),
    (1024, 12288),
    (4096, 12288),
    (8192, 12288),
    (4096, 14336),
    (16384, 1408),
]
cpu_shapes = [(64, 12288), (256, 1408)]
dtypes = ["bfloat16", "float32"]


def cost(shape, dtype):
    """Bytes: gate and up in, out out. Operations: exponential, add, divide, multiply."""
    rows, n = shape
    return 3 * rows * n * dtype.itemsize, 5 * rows * n


def _liger():
    from liger_kernel.ops.swiglu import LigerSiLUMulFunction

    return LigerSiLUMulFunction.apply


baselines = {}
for _name, _load in {"liger": _liger}.items():
    try:
        baselines[_name] = _load()
    except Exception:  # not installed, or not for this machine: then there is nothing to compare with
        continue
