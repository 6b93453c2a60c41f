"""What tiny transformers of diffusers' FLUX kind predict, for tests that compare one with another."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def drawn(model: nn.Module, **more: Tensor) -> Tensor:
    """The prediction for seeded inputs (1, 4, 4) with texts (1, 5, 24); `more` are inputs of this model alone."""
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        found: Tensor = model(
            hidden_states=torch.randn(1, 4, 4, generator=draw),
            encoder_hidden_states=torch.randn(1, 5, 24, generator=draw),
            timestep=torch.tensor([0.5]),
            img_ids=torch.zeros(4, 3),
            txt_ids=torch.zeros(5, 3),
            return_dict=False,
            **more,
        )[0]
    return found
