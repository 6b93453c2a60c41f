"""The student: a training tree with peft's LoRA in it, its optimizer, and one optimizer step.

peft is injected into a tree of the training's own over the base's very tensors, so nothing of it can be seen from
the serving tree. All that learns is held in float32, whatever the base is held in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from lora_studio.adapters.canonical import CanonicalAdapter, LowRank
from lora_studio.errors import InvalidInput
from lora_studio.pipeline.base import SharedBase
from lora_studio.pipeline.calls import ModelCall
from lora_studio.train.noise import seed_of
from lora_studio.types import TrainConfig

_ADAPTER = "student"

_ATTENTION = r"attn[12]\.(to_q|to_k|to_v|to_out\.0)"
_SELF_ATTENTION = r"attn1\.(to_q|to_k|to_v|to_out\.0)"
_FEED_FORWARD = r"ff\.net\.(0\.proj|2)|attentions\.\d+\.proj_(in|out)"
_CONVOLUTIONS = r"resnets\.\d+\.(conv1|conv2|conv_shortcut|time_emb_proj)"
LAYER_PATTERNS = {
    "attention": rf".*\.({_ATTENTION})",
    "attention+feed-forward": rf".*\.({_ATTENTION}|{_FEED_FORWARD})",
    "without cross-attention": rf".*\.?({_SELF_ATTENTION}|{_FEED_FORWARD}|{_CONVOLUTIONS})",
    "all": rf".*\.?({_ATTENTION}|{_FEED_FORWARD}|{_CONVOLUTIONS})",
}
"""Regular expressions over module paths, as peft takes them; `TrainConfig.layers` names them."""


class Student:
    """One adapter in training."""

    def __init__(self, base: SharedBase, config: TrainConfig) -> None:
        self._base = base
        self.scale = config.scale
        self.tree = base.training_tree()
        if not any(re.fullmatch(LAYER_PATTERNS[config.layers], path) for path, _ in self.tree.named_modules()):
            raise InvalidInput(
                f"The layers {config.layers!r} match nothing in this base; choose another set of layers.",
                code="layers_none",
                given=config.layers,
            )
        lora = LoraConfig(
            r=config.rank,
            lora_alpha=config.rank if config.alpha is None else config.alpha,
            target_modules=LAYER_PATTERNS[config.layers],
            init_lora_weights=True,
        )
        # peft draws the first weights from the global generator: lend it ours and give it back as it was.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(config.seed, "first weights"))
            inject_adapter_in_model(lora, self.tree, adapter_name=_ADAPTER)
        self._loss_scale = base.precision.loss_scale
        for parameter in self.parameters.values():
            parameter.data = parameter.data.float()
            descale(parameter, self._loss_scale)
        self.optimizer = torch.optim.AdamW(
            list(self.parameters.values()), lr=0.0, betas=(0.9, 0.99), weight_decay=config.weight_decay
        )
        self._max_grad_norm = config.max_grad_norm

    @property
    def layers(self) -> Iterator[tuple[str, LoraLayer]]:
        """Layer keys with peft's layers."""
        for path, module in self.tree.named_modules():
            if isinstance(module, LoraLayer) and _ADAPTER in module.lora_A:
                yield f"unet.{path}", module

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """What learns, by `<layer key>.down` and `.up`."""
        found: dict[str, nn.Parameter] = {}
        for key, layer in self.layers:
            found[f"{key}.down"] = layer.lora_A[_ADAPTER].weight
            found[f"{key}.up"] = layer.lora_B[_ADAPTER].weight
        return found

    @property
    def parameter_count(self) -> int:
        """How many numbers learn."""
        return sum(p.numel() for p in self.parameters.values())

    def weigh(self, weight: float) -> None:
        """The weight at which `predict` applies the adapter from now on; nothing else knows it."""
        for _, layer in self.layers:
            layer.scaling[_ADAPTER] = self.scale * weight

    def predict(self, call: ModelCall) -> Tensor:
        """The training tree's prediction (B, C, h, w) float32, with gradients where they are switched on.

        The adapter in training is in the tree; mixes of the call do nothing here.
        """
        with self._base.precision.training():
            out: Tensor = self.tree(**self._base.unet_arguments(call), return_dict=False)[0]
        return out.float()

    def step(self, losses: Tensor, rate: float) -> float:
        """One optimizer step on per-sample `losses` (B,), already weighted; returns their mean."""
        loss = losses.mean()
        self.optimizer.zero_grad(set_to_none=True)
        (loss * self._loss_scale).backward()  # type: ignore[no-untyped-call]
        if self._max_grad_norm > 0:
            nn.utils.clip_grad_norm_(list(self.parameters.values()), self._max_grad_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        return float(loss.detach())

    def adapter(self, key: str) -> CanonicalAdapter:
        """The adapter as it is now, in canonical form; where alpha = rank it is these very tensors, no copy."""
        changes = {}
        for name, layer in self.layers:
            down, up = layer.lora_A[_ADAPTER].weight.detach(), layer.lora_B[_ADAPTER].weight.detach()
            changes[name] = LowRank(down=down, up=up if self.scale == 1.0 else up * self.scale)
        return CanonicalAdapter(key=key, layers=changes, live=True)

    def round_to(self, dtype: torch.dtype) -> None:
        """Round the weights to what `dtype` can hold, so that the file is exactly what the last preview showed."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                factor = self.scale if name.endswith(".up") else 1.0
                parameter.copy_((parameter * factor).to(dtype).float() / factor)

    def state_dict(self) -> dict[str, Tensor]:
        """Weights and optimizer state by name, copied to the CPU."""
        state: dict[str, Tensor] = {}
        for name, parameter in self.parameters.items():
            state[f"{name}.weight"] = parameter.detach().cpu().clone()
            for part, value in self.optimizer.state.get(parameter, {}).items():
                state[f"{name}.{part}"] = torch.as_tensor(value).detach().cpu().clone()
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state_dict` gave; raises KeyError where a weight is missing."""
        for name, parameter in self.parameters.items():
            with torch.no_grad():
                parameter.copy_(state[f"{name}.weight"])
            kept = [part for part in ("step", "exp_avg", "exp_avg_sq") if f"{name}.{part}" in state]
            parts = {part: state[f"{name}.{part}"] for part in kept}
            if parts:
                self.optimizer.state[parameter] = {
                    part: value.clone() if part == "step" else value.to(parameter.device).clone()
                    for part, value in parts.items()
                }


def descale(parameter: nn.Parameter, loss_scale: float) -> None:
    """Have every gradient of `parameter` divided by what the loss was multiplied by (`Precision.loss_scale`)."""
    if loss_scale != 1.0:
        parameter.register_hook(lambda gradient: gradient / loss_scale)  # type: ignore[no-untyped-call]
