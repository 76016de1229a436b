"""What rope must compute and where it is measured; a shape is (batch, q_heads, k_heads, seq, head_dim)."""

import torch

entry = "rope"


def inputs(shape, dtype, device, generator):
    """q and k as attention has them, views (batch, heads, seq, head_dim) of (batch, seq, heads, head_dim), and cos and sin.

    cos and sin are (1, seq, head_dim) in float32, each half the same, for positions from a random one on and a base of 10000:
    at position 0, which is all of a shape with one position, nothing turns.
    """
    batch, q_heads, k_heads, seq, head_dim = shape
    q, k = (
        torch.randn(batch, seq, heads, head_dim, generator=generator, device=device, dtype=torch.float32)
        .to(dtype)
        .transpose(1, 2)
        for heads in (q_heads, k_heads)
    )
    frequency = 10000.0 ** (-torch.arange(0, head_dim, 2, device=device, dtype=torch.float32) / head_dim)
    position = torch.randint(1, 8192, (), generator=generator, device=device) + torch.arange(seq, device=device)
    angle = position[:, None].float() * frequency
    angle = torch.cat([angle, angle], dim=-1)[None]
    return q, k, angle.cos(), angle.sin()


def reference(q, k, cos, sin, rotary_dim=None, interleaved=False):
    """q and k with each pair of elements turned by its angle, as model code writes it.

    A pair is (i, rotary_dim / 2 + i), or (2 i, 2 i + 1) where interleaved; elements from rotary_dim on stay.
    """
    rotary_dim = q.shape[-1] if rotary_dim is None else rotary_dim
    # A dimension for the heads; of two equal halves the first.
    cos, sin = (table[..., : rotary_dim // 2].unsqueeze(-3).to(q.dtype) for table in (cos, sin))

    def turned(x):
        pairs, rest = x[..., :rotary_dim], x[..., rotary_dim:]
        a, b = (pairs[..., 0::2], pairs[..., 1::2]) if interleaved else pairs.chunk(2, dim=-1)
        a, b = a * cos - b * sin, b * cos + a * sin
        pairs = torch.stack([a, b], dim=-1).flatten(-2) if interleaved else torch.cat([a, b], dim=-1)
        return torch.cat([pairs, rest], dim=-1)

    return turned(q), turned(k)


# Llama-3-8B and Qwen3-8B (32 and 8 heads of 128) at decode, prefill and training sizes, Llama-3-70B (64 and 8), Gemma-3-4B
# (8 and 4 of 256) and Qwen2.5-0.5B (14 and 2 of 64).
shapes = [
    (128, 32, 8, 1, 128),
    (1, 32, 8, 1024, 128),
    (1, 32, 8, 8192, 128),
    (4, 32, 8, 4096, 128),
    (1, 64, 8, 4096, 128),
    (1, 8, 4, 8192, 256),
    (4, 14, 2, 4096, 64),
]
cpu_shapes = [(2, 8, 2, 128, 128), (1, 14, 2, 256, 64)]
dtypes = ["bfloat16", "float32"]


def cost(shape, dtype):
    """Bytes: q and k in and out, half of cos and of sin, which are float32, once. Operations: six for each pair."""
    batch, q_heads, k_heads, seq, head_dim = shape
    elements = batch * (q_heads + k_heads) * seq * head_dim
    return 2 * elements * dtype.itemsize + seq * head_dim * 4, 3 * elements


def _liger():
    from liger_kernel.ops.rope import LigerRopeFunction

    # It writes into q and k: a caller that has to keep them needs copies.
    return lambda q, k, cos, sin: LigerRopeFunction.apply(q.clone(), k.clone(), cos, sin)


baselines = {}
for _name, _load in {"liger": _liger}.items():
    try:
        baselines[_name] = _load()
    except Exception:  # not installed, or not for this machine: then there is nothing to compare with
        continue
