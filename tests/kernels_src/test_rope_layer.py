"""`kernelize` puts rope's layer in the place of a function that models apply to queries and keys, as transformers has it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import children
import torch

if TYPE_CHECKING:
    # The child imports this file too, where another folder's conftest may come first.
    from conftest import Scaffolded


def takes_the_place_of_the_function(project: Path) -> None:
    """A tiny attention, kernelized, computes what it did, with rope's layer inside; raises AssertionError where not."""
    from kernels import (
        LocalLayerRepository,
        Mode,
        kernelize,
        use_kernel_forward_from_hub,
        use_kernel_mapping,
        use_kernelized_func,
    )
    from torch import nn

    @use_kernel_forward_from_hub("rotary_pos_emb")
    def apply_rotary_pos_emb(
        q: torch.Tensor, k: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, unsqueeze_dim: int = 1
    ) -> tuple[torch.Tensor, torch.Tensor]:
        cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
        half = q.shape[-1] // 2
        q, k = (x * cos + torch.cat([-x[..., half:], x[..., :half]], dim=-1) * sin for x in (q, k))
        return q, k

    @use_kernelized_func(apply_rotary_pos_emb)
    class Attention(nn.Module):
        def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
            q, k, v = (part.unflatten(-1, (-1, 64)).transpose(1, 2) for part in x.split([256, 128, 128], dim=-1))
            q, k = apply_rotary_pos_emb(q, k, cos, sin)
            return nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)

    model = nn.Sequential(Attention()).eval()
    angle = torch.arange(9)[:, None] * 10000.0 ** (-torch.arange(0, 64, 2) / 64)
    angle = torch.cat([angle, angle], dim=-1)[None]
    inputs = torch.randn(2, 9, 512, generator=torch.Generator().manual_seed(7)), angle.cos(), angle.sin()
    repository = LocalLayerRepository(project, layer_name="RotaryPosEmb")
    with torch.no_grad(), use_kernel_mapping({"rotary_pos_emb": {"cpu": repository}}, inherit_mapping=False):
        expected = model[0](*inputs)
        kernelize(model, mode=Mode.INFERENCE | Mode.TORCH_COMPILE, device="cpu")
        torch.testing.assert_close(model[0](*inputs), expected)
    assert apply_rotary_pos_emb.forward.__func__.__module__.split(".")[-1] == "layers"


def test_takes_the_place_of_the_function(scaffolded: Scaffolded, tmp_path: Path) -> None:
    children.run(takes_the_place_of_the_function, scaffolded("rope"), folder=tmp_path)
