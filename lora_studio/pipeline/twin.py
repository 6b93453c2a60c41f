"""The training tree: a second UNet object over the very tensors of the first.

It is built on the meta device, so it costs no memory, and then given the serving tree's parameters themselves.
peft is injected into it alone; whatever it does to names, hooks and flags, the serving tree does not see. Each
training gets a tree of its own and drops it at its end.
"""

from __future__ import annotations

import torch
from diffusers import UNet2DConditionModel
from torch import nn


def training_tree(serving: UNet2DConditionModel) -> UNet2DConditionModel:
    """A `UNet2DConditionModel` whose parameters and buffers are `serving`'s own objects."""
    with torch.device("meta"):
        tree = UNet2DConditionModel.from_config(serving.config)
    theirs = dict(serving.named_modules())
    for path, module in tree.named_modules():
        _share(theirs[path], module)
    left = [name for name, tensor in [*tree.named_parameters(), *tree.named_buffers()] if tensor.is_meta]
    if left:
        raise RuntimeError(f"the training tree has a tensor that the serving tree lacks: {left[0]}")
    return tree.train()


def _share(source: nn.Module, target: nn.Module) -> None:
    """Put the parameters and buffers of `source` itself, not its children, into `target`."""
    for name in target._parameters:
        target._parameters[name] = source._parameters[name]
    for name in target._buffers:
        target._buffers[name] = source._buffers[name]
