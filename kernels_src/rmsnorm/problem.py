"""What rmsnorm must compute and where it is measured; a shape is (rows, n)."""

import torch
from torch.nn.functional import rms_norm

entry = "rmsnorm"


def inputs(shape, dtype, device, generator):
    """x (rows, n) and weight (n,), the latter around 1 as in a trained model."""
    rows, n = shape
    x = torch.randn(rows, n, generator=generator, device=device, dtype=torch.float32).to(dtype)
    weight = 1 + 0.1 * torch.randn(n, generator=generator, device=device, dtype=torch.float32)
    return x, weight.to(dtype)


def reference(x, weight=None, eps=1e-6, weight_offset=0.0):
    """x / sqrt(mean(x^2) + eps) * (weight + weight_offset), as model code writes it."""
    normal = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    normal = (normal * torch.rsqrt(normal.pow(2).mean(-1, keepdim=True) + eps)).to(x.dtype)
    return normal if weight is None else normal * (weight + weight_offset)


# Hidden states of Llama-3-8B and Qwen3-8B (4096) at decode, prefill and training sizes, of LTX-Video (2048), FLUX (3072) and a
# 70B model (8192), the q/k norm of Qwen3-8B (head dimension 128), and long rows.
shapes = [
    (128, 4096),
    (512, 4096),
    (1024, 4096),
    (2048, 4096),
    (4096, 4096),
    (8192, 4096),
    (32768, 4096),
    (8192, 2048),
    (8192, 3072),
    (4096, 8192),
    (327680, 128),
    (2048, 16384),
    (512, 65536),
]
cpu_shapes = [(128, 4096), (512, 2048), (4096, 128)]
dtypes = ["bfloat16", "float32"]


def cost(shape, dtype):
    """Bytes: x in, out out, the weight once. Operations: square, add, scale, weight."""
    rows, n = shape
    return (2 * rows * n + n) * dtype.itemsize, 4 * rows * n


def _liger():
    from liger_kernel.ops.rms_norm import LigerRMSNormFunction

    return lambda x, weight, eps=1e-6: LigerRMSNormFunction.apply(x, weight, eps)


def _quack():
    from quack import rmsnorm

    return lambda x, weight, eps=1e-6: rmsnorm(x, weight, eps=eps)


baselines = {"F.rms_norm": lambda x, weight, eps=1e-6: rms_norm(x, x.shape[-1:], weight, eps)}
for _name, _load in {"liger": _liger, "quack": _quack}.items():
    try:
        baselines[_name] = _load()
    except Exception:  # not installed, or not for this machine: then there is nothing to compare with
        continue
