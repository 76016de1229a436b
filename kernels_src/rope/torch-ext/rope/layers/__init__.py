"""Layers that `kernels.kernelize` puts in the place of a model's own."""

import torch
from torch import nn

from .. import apply_rotary_transformers


class RotaryPosEmb(nn.Module):
    """For the `rotary_pos_emb` of the transformers library: its function `apply_rotary_pos_emb`."""

    has_backward = False
    can_torch_compile = True

    def forward(
        self, q: torch.Tensor, k: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, unsqueeze_dim: int = 1
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return apply_rotary_transformers(q, k, cos, sin, unsqueeze_dim)


__all__ = ["RotaryPosEmb"]
