"""What a checkpoint was trained to predict, as far as its file tells it, and why it is taken so.

In this order: what the file says of itself (`modelspec.prediction_type`, or an architecture that ends in `-v`); the
empty tensors `v_pred` and `ztsnr`, by which fine-tunes mark themselves (NoobAI-XL; ComfyUI reads them); for Stable
Diffusion 2 the spread of one norm's biases, by which ComfyUI (comfy/supported_models.py, `SD20.model_type`) tells the
768-v models from the others. Else epsilon is assumed, and said to be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lora_studio.pipeline.single_file.contents import Contents
from lora_studio.pipeline.single_file.kinds import UNET, Name

NORM = UNET + "output_blocks.11.1.transformer_blocks.0.norm1.bias"
SPREAD = 0.09
"""Standard deviation of that norm's biases above which a Stable Diffusion 2 predicts v."""

_SAID = {"epsilon": "epsilon", "eps": "epsilon", "v": "v_prediction", "v_prediction": "v_prediction"}


@dataclass(frozen=True)
class Prediction:
    """What a base predicts, whether its schedule ends in pure noise, and the remark that says why."""

    kind: str
    zero_snr: bool
    remark: dict[str, Any]


def predicted(contents: Contents, kind: Name, tensor: Callable[[str], Tensor]) -> Prediction:
    """The prediction of a checkpoint; `tensor` reads one of its tensors by name."""
    zero_snr = "ztsnr" in contents.shapes
    said = contents.metadata.get("modelspec.prediction_type", "").strip().casefold().replace("-", "_")
    architecture = contents.metadata.get("modelspec.architecture", "")
    if said in _SAID or architecture.endswith("-v"):
        given = _SAID.get(said, "v_prediction")
        sentence = f"The file says of itself that it predicts {given}."
        return Prediction(given, zero_snr, _remark(code="base_prediction_metadata", message=sentence, given=given))
    if "v_pred" in contents.shapes:
        sentence = "The file is marked as predicting v (it holds a tensor v_pred)."
        given = "v_prediction"
        return Prediction(given, zero_snr, _remark(code="base_prediction_marker", message=sentence, given=given))
    if kind == "sd2" and NORM in contents.shapes:
        given = "v_prediction" if float(tensor(NORM).float().std()) > SPREAD else "epsilon"
        sentence = f"Its weights look like those of a Stable Diffusion 2 that predicts {given}."
        return Prediction(given, zero_snr, _remark(code="base_prediction_weights", message=sentence, given=given))
    sentence = (
        "The file does not tell what it predicts, and epsilon is assumed; if pictures are noise or washed out, choose "
        "v_prediction."
    )
    return Prediction("epsilon", zero_snr, _remark(code="base_prediction_assumed", message=sentence, given="epsilon"))


def _remark(code: str, message: str, given: str) -> dict[str, Any]:
    return {"code": code, "message": message, "values": {"given": given}}
