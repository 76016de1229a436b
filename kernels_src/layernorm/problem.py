"""What layernorm must compute and where it is measured; a shape is (rows, n)."""

import torch
from torch.nn.functional import layer_norm

entry = "layernorm"


def inputs(shape, dtype, device, generator):
    """x (rows, n), weight (n,) around 1 and bias (n,) around 0, as in a trained model."""
    rows, n = shape
    x = torch.randn(rows, n, generator=generator, device=device, dtype=torch.float32)
    weight = 1 + 0.1 * torch.randn(n, generator=generator, device=device, dtype=torch.float32)
    bias = 0.1 * torch.randn(n, generator=generator, device=device, dtype=torch.float32)
    return x.to(dtype), weight.to(dtype), bias.to(dtype)


def reference(x, weight=None, bias=None, eps=1e-5):
    """What torch.nn.LayerNorm computes."""
    return layer_norm(x, x.shape[-1:], weight, bias, eps)


# Whisper and GPT-2 (1024 to 1280), FLUX (3072), larger models (4096, 8192), many short rows, long ones.
shapes = [
    (128, 4096),
    (1024, 4096),
    (4096, 4096),
    (8192, 4096),
    (32768, 1280),
    (8192, 3072),
    (4096, 8192),
    (131072, 256),
    (2048, 16384),
]
cpu_shapes = [(128, 4096), (512, 1280), (4096, 256)]
dtypes = ["bfloat16", "float32"]


def cost(shape, dtype):
    """Bytes: x in, out out, weight and bias once. Operations: mean, difference, square, scale, weight, bias."""
    rows, n = shape
    return (2 * rows * n + 2 * n) * dtype.itemsize, 7 * rows * n


baselines = {"F.layer_norm": lambda x, weight, bias, eps=1e-5: layer_norm(x, x.shape[-1:], weight, bias, eps)}
