"""Layers that `kernels.kernelize` puts in the place of a model's own."""

import torch
from torch import nn

from .. import layernorm


class LayerNorm(nn.Module):
    """For `torch.nn.LayerNorm` over the last dimension."""

    has_backward = False
    can_torch_compile = True

    weight: torch.Tensor | None
    bias: torch.Tensor | None
    eps: float

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return layernorm(x, self.weight, self.bias, self.eps)


__all__ = ["LayerNorm"]
