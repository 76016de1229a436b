"""Layers that `kernels.kernelize` puts in the place of a model's own."""

import torch
from torch import nn

from .. import rmsnorm


class RMSNorm(nn.Module):
    """For the RMSNorm of Llama, Qwen, Mistral and their kin: `weight` is the factor itself."""

    has_backward = False
    can_torch_compile = True

    weight: torch.Tensor
    variance_epsilon: float

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return rmsnorm(hidden_states, self.weight, self.variance_epsilon)


class GemmaRMSNorm(nn.Module):
    """For the RMSNorm of Gemma: the factor is 1 + `weight`."""

    has_backward = False
    can_torch_compile = True

    weight: torch.Tensor
    eps: float

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return rmsnorm(x, self.weight, self.eps, 1.0)


__all__ = ["GemmaRMSNorm", "RMSNorm"]
