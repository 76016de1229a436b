"""What softmax must compute and where it is measured; a shape is (rows, n)."""

import torch

entry = "softmax"


def inputs(shape, dtype, device, generator):
    """x (rows, n), normal with a spread of 3, so that a row has a few large results and many small ones."""
    x = 3 * torch.randn(*shape, generator=generator, device=device, dtype=torch.float32)
    return (x.to(dtype),)


def reference(x):
    """What torch.softmax computes."""
    return torch.softmax(x, dim=-1)


# Attention rows (1024 to 16384), routers of mixture-of-experts models (128), vocabularies (32768, 131072).
shapes = [
    (1024, 4096),
    (4096, 4096),
    (8192, 4096),
    (32768, 1024),
    (131072, 128),
    (2048, 16384),
    (1024, 32768),
    (256, 131072),
]
cpu_shapes = [(128, 4096), (2048, 128)]
dtypes = ["bfloat16", "float32"]


def cost(shape, dtype):
    """Bytes: x in, out out. Operations: maximum, difference, exponential, sum, scale."""
    rows, n = shape
    return 2 * rows * n * dtype.itemsize, 5 * rows * n


def _quack():
    from quack import softmax

    return softmax


baselines = {}
for _name, _load in {"quack": _quack}.items():
    try:
        baselines[_name] = _load()
    except Exception:  # not installed, or not for this machine: then there is nothing to compare with
        continue
