"""What adaln must compute and where it is measured; a shape is (batch, tokens, n)."""

import torch
from torch.nn.functional import layer_norm

entry = "adaln"


def inputs(shape, dtype, device, generator):
    """x (batch, tokens, n), normal; scale and shift (batch, n), of the size they have in a trained model."""
    batch, tokens, n = shape
    x = torch.randn(batch, tokens, n, generator=generator, device=device, dtype=torch.float32)
    scale = 0.3 * torch.randn(batch, n, generator=generator, device=device, dtype=torch.float32)
    shift = 0.3 * torch.randn(batch, n, generator=generator, device=device, dtype=torch.float32)
    return x.to(dtype), scale.to(dtype), shift.to(dtype)


def reference(x, scale, shift, eps=1e-6, rms=False):
    """norm(x) * (1 + scale) + shift, as diffusers writes it."""
    if scale.dim() == 2 and x.dim() == 3:
        scale, shift = scale[:, None], shift[:, None]
    normal = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) if rms else layer_norm(x, x.shape[-1:], eps=eps)
    return normal * (1 + scale) + shift


# FLUX (3072) and Stable Diffusion 3 (1536) at 1024 x 1024 pixels, LTX-Video (2048) at 49 frames of 512 x 768, PixArt (1152).
shapes = [
    (1, 512, 3072),
    (1, 4096, 3072),
    (2, 4096, 3072),
    (2, 4096, 1536),
    (2, 2688, 2048),
    (8, 4096, 1152),
    (8, 4096, 3072),
]
cpu_shapes = [(2, 64, 3072), (2, 256, 1152)]
dtypes = ["bfloat16", "float32"]


def cost(shape, dtype):
    """Bytes: x in, out out, scale and shift once. Operations: mean, difference, square, scale, factor, shift."""
    batch, tokens, n = shape
    return (2 * batch * tokens * n + 2 * batch * n) * dtype.itemsize, 8 * batch * tokens * n
