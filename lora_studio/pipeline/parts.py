"""What every kind of base is made of, whatever files it came from: one UNet, one autoencoder, one or two text encoders.

It does not know how they were read; `folder` and `single_file` make `Parts` of files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from lora_studio.types import BaseChoice, Tag


@dataclass(frozen=True, eq=False)
class TextPart:
    """One text encoder with its tokenizer."""

    model: CLIPTextModel | CLIPTextModelWithProjection
    tokenizer: CLIPTokenizer


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of one base, and what its files say beside them.

    Attributes:
        texts: one text encoder, or two (Stable Diffusion XL: CLIP-L, then OpenCLIP bigG).
        scheduler: the noise schedule, as diffusers writes it.
        title: what people call the base.
        sha256: over its weights.
        file_sha256: of the one file by which other programs know it.
        zeros_for_empty: an empty negative prompt is zeros, not the encoding of no words.
        remarks: what was found out or assumed of it, as warnings are told: {"code", "message", "values"}.
        words: the base's own word list, most frequent first.
    """

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    texts: tuple[TextPart, ...]
    scheduler: Mapping[str, Any]
    title: str
    sha256: str
    file_sha256: str
    zeros_for_empty: bool = False
    remarks: tuple[Mapping[str, Any], ...] = ()
    words: tuple[Tag, ...] = field(default=())

    @property
    def modules(self) -> dict[str, nn.Module]:
        """Every module, by its name among the components."""
        return {"unet": self.unet, "vae": self.vae} | dict(self.text_encoders)

    @property
    def text_encoders(self) -> Iterator[tuple[str, nn.Module]]:
        """The text encoders by the names that diffusers gives them: text_encoder, text_encoder_2."""
        for number, text in enumerate(self.texts):
            yield ("text_encoder" if number == 0 else f"text_encoder_{number + 1}"), text.model


def with_choice(parts: Parts, choice: BaseChoice) -> Parts:
    """The parts with the prediction that a person chose in place of the one that was found; auto changes nothing."""
    schedule = dict(parts.scheduler)
    remarks = list(parts.remarks)
    if choice.prediction_type != "auto":
        schedule["prediction_type"] = choice.prediction_type
        remarks = [told for told in remarks if not str(told["code"]).startswith("base_prediction")]
        remarks.append(
            {
                "code": "base_prediction_chosen",
                "message": f"It is read as {choice.prediction_type}, as was chosen.",
                "values": {"given": choice.prediction_type},
            }
        )
    if choice.zero_terminal_snr != "auto":
        schedule["rescale_betas_zero_snr"] = choice.zero_terminal_snr == "on"
    return replace(parts, scheduler=schedule, remarks=tuple(remarks))
