"""Files by `lycoris-lora`, an independent writer: modules of its own over given layers, with random numbers.

Its forward pass is the reference for what the numbers mean; `get_diff_weight` is not used (it scales LoHa and LoKr
twice in 4.1.3).
"""

from __future__ import annotations

import copy
import logging
from typing import Any

import torch
from torch import Tensor, nn


def module_of(algo: str, layer: nn.Module, seed: int, **options: Any) -> nn.Module:
    """A module of LyCORIS over `layer`, all its numbers drawn anew around where they start."""
    import lycoris
    from lycoris.modules.boft import ButterflyOFTModule
    from lycoris.modules.ia3 import IA3Module

    logging.getLogger("LyCORIS").setLevel(logging.ERROR)
    kinds = {
        "locon": lycoris.LoConModule,
        "loha": lycoris.LohaModule,
        "lokr": lycoris.LokrModule,
        "glora": lycoris.GLoRAModule,
        "oft": lycoris.DiagOFTModule,
        "boft": ButterflyOFTModule,
        "ia3": IA3Module,
        "norm": lycoris.NormModule,
    }
    options = {"lora_dim": 4, "alpha": 2.0} | options
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made: nn.Module = kinds[algo]("x", layer, 1.0, **options)
        with torch.no_grad():
            for name, parameter in made.named_parameters():
                if "dora" in name:
                    parameter.mul_(1 + 0.1 * torch.randn_like(parameter))
                else:
                    start = 1.0 if name == "rescale" else 0.0
                    parameter.copy_(start + 0.15 * torch.randn_like(parameter))
            if isinstance(getattr(made, "scalar", None), nn.Parameter):
                made.scalar.fill_(0.7)
    return made


def unstrided(layer: nn.Module) -> nn.Module:
    """The layer with a stride of 1, so that an impulse reaches every place of its kernel; the same weights."""
    if not isinstance(layer, nn.Conv2d) or layer.stride == (1, 1):
        return layer
    twin = copy.deepcopy(layer)
    twin.stride = (1, 1)
    return twin


def state_of(made: nn.Module) -> dict[str, Tensor]:
    """What LyCORIS writes of a module, by part."""
    own = getattr(made, "custom_state_dict", None)
    state = (own() if own is not None else None) or made.state_dict()
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def weights_of(made: nn.Module, layer: nn.Module) -> Tensor:
    """The weight that LyCORIS gives the layer at multiplier 1: its forward pass applied to unit inputs.

    Linear layers only read columns; a convolution's weight comes back from impulses in the middle of a picture.
    """
    made.org_forward = layer.forward
    made.eval()
    bias = layer.bias
    with torch.no_grad():
        if isinstance(layer, nn.Linear):
            out = made(torch.eye(layer.in_features))
            return (out - (0 if bias is None else bias)).T
        assert isinstance(layer, nn.Conv2d)
        kh, kw = layer.kernel_size
        size = 2 * kh + 3
        impulses = torch.zeros(layer.in_channels, layer.in_channels, size, size)
        middle = size // 2
        for channel in range(layer.in_channels):
            impulses[channel, channel, middle, middle] = 1
        out = made(impulses) - (0 if bias is None else bias[:, None, None])
        near = out[:, :, middle - kh // 2 : middle + kh // 2 + 1, middle - kw // 2 : middle + kw // 2 + 1]
        return near.flip(2, 3).transpose(0, 1)
