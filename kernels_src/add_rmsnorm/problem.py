"""What add_rmsnorm must compute and where it is measured; a shape is (rows, n)."""

import torch

entry = "add_rmsnorm"
mutates = (1,)


def inputs(shape, dtype, device, generator):
    """x and residual (rows, n), and weight (n,), the latter around 1 as in a trained model."""
    rows, n = shape
    x = torch.randn(rows, n, generator=generator, device=device, dtype=torch.float32)
    residual = torch.randn(rows, n, generator=generator, device=device, dtype=torch.float32)
    weight = 1 + 0.1 * torch.randn(n, generator=generator, device=device, dtype=torch.float32)
    return x.to(dtype), residual.to(dtype), weight.to(dtype)


def reference(x, residual, weight=None, eps=1e-6, weight_offset=0.0):
    """residual += x, then its RMSNorm, as model code writes it."""
    residual += x
    wide = residual.float() if residual.dtype in (torch.float16, torch.bfloat16) else residual
    normal = (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)).to(residual.dtype)
    return normal if weight is None else normal * (weight + weight_offset)


# The residual stream of Llama-3-8B and Qwen3-8B (4096), of smaller (2048) and larger (8192) models.
shapes = [
    (128, 4096),
    (1024, 4096),
    (4096, 4096),
    (8192, 4096),
    (16384, 4096),
    (8192, 2048),
    (4096, 8192),
]
cpu_shapes = [(128, 4096), (512, 2048)]
dtypes = ["bfloat16", "float32"]


def cost(shape, dtype):
    """Bytes: x and residual in, residual and out out, the weight once. Operations: add, square, add, scale, weight."""
    rows, n = shape
    return (4 * rows * n + n) * dtype.itemsize, 5 * rows * n
