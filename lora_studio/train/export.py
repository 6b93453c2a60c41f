"""From the student to a file that A1111, ComfyUI, kohya's tools and diffusers read, and the proof that they can.

The metadata keys are kohya's (`ss_*`, sd-scripts train_network.py) and Stability AI's (`modelspec.*`, version 1.0.1).
No file names and no captions are written unless somebody asked for it; of these only the words that call the adapter.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from safetensors.torch import load, save
from torch import Tensor

from lora_studio import __version__
from lora_studio.adapters.canonical import CanonicalAdapter, tensors_of
from lora_studio.adapters.kohya import to_kohya
from lora_studio.dataset.captions import trigger_phrase
from lora_studio.dataset.examples import Example
from lora_studio.errors import TrainingDiverged
from lora_studio.pipeline.base import SharedBase
from lora_studio.pipeline.calls import ModelCall
from lora_studio.pipeline.conditioning import pooled_batch
from lora_studio.train.bundle import without_bundle
from lora_studio.train.noise import seed_of
from lora_studio.types import TrainConfig

FILE_DTYPE = torch.float16


@dataclass(frozen=True)
class RunFacts:
    """Of a finished run: steps made, its start (seconds since 1970), mean of the last tenth of its losses."""

    steps: int
    started: float
    final_loss: float


def to_file(
    base: SharedBase,
    adapter: CanonicalAdapter,
    config: TrainConfig,
    metadata: dict[str, str],
    more: Mapping[str, Tensor] | None = None,
) -> bytes:
    """The adapter as a safetensors file in kohya's layout, its layers named as for this kind of base.

    Args:
        more: tensors that stand in the file and are no part of the adapter.
    """
    tensors = to_kohya(adapter, alpha=config.alpha, dtype=FILE_DTYPE, names=base.family.kohya_name) | dict(more or {})
    data: bytes = save(tensors, metadata=metadata)
    return data


def metadata_of(base: SharedBase, config: TrainConfig, examples: Sequence[Example], facts: RunFacts) -> dict[str, str]:
    """`ss_*` and `modelspec.*` of a run."""
    alpha = config.rank if config.alpha is None else config.alpha
    side = config.resolution or base.info.defaults.width
    convolutions = {"conv_dim": str(config.rank), "conv_alpha": f"{alpha:g}"}
    found = {
        "ss_output_name": config.name,
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(config.rank),
        "ss_network_alpha": f"{alpha:g}",
        "ss_network_args": json.dumps(convolutions if config.layers in ("all", "without cross-attention") else {}),
        "ss_base_model_version": base.family.base_version,
        "ss_sd_model_name": base.info.title,
        "ss_sd_model_hash": base.info.unet_file_sha256[:10],
        "ss_new_sd_model_hash": base.info.unet_file_sha256,
        "ss_v2": str(base.info.family == "sd2"),
        "ss_seed": str(config.seed),
        "ss_steps": str(facts.steps),
        "ss_max_train_steps": str(config.steps),
        "ss_num_train_images": str(len(examples)),
        "ss_total_batch_size": str(config.batch_size),
        "ss_learning_rate": f"{config.learning_rate:g}",
        "ss_unet_lr": f"{config.learning_rate:g}",
        "ss_lr_scheduler": config.lr_scheduler,
        "ss_lr_warmup_steps": str(config.warmup_steps),
        "ss_optimizer": "torch.optim.adamw.AdamW",
        "ss_max_grad_norm": f"{config.max_grad_norm:g}",
        "ss_min_snr_gamma": f"{config.min_snr_gamma:g}",
        "ss_caption_dropout_rate": f"{config.caption_dropout:g}",
        "ss_shuffle_caption": str(config.caption_shuffle > 0),
        "ss_flip_aug": str(config.flip),
        "ss_cache_latents": "True",
        "ss_enable_bucket": "True",
        "ss_resolution": f"({side}, {side})",
        "ss_training_started_at": f"{facts.started:.0f}",
        "ss_training_finished_at": f"{time.time():.0f}",
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": f"{base.family.architecture}/lora",
        "modelspec.implementation": f"lora-studio {__version__}",
        "modelspec.title": config.name,
        "modelspec.resolution": f"{side}x{side}",
        "modelspec.date": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()),
        "modelspec.prediction_type": "v" if base.info.prediction_type == "v_prediction" else base.info.prediction_type,
        "modelspec.usage_hint": "Weights of 0.6 to 1 are usual.",
        "lora_studio_base_sha256": base.info.sha256,
        "lora_studio_final_loss": f"{facts.final_loss:.6f}",
    }
    known = [entry.tag for entry in base.vocabulary]
    phrase = config.word or trigger_phrase([example.caption for example in examples], known)
    if phrase:
        found["modelspec.trigger_phrase"] = phrase
    if config.publish_captions:
        tags = Counter(tag.strip() for example in examples for tag in example.caption.split(",") if tag.strip())
        found["ss_tag_frequency"] = json.dumps({config.name: dict(tags.most_common())}, ensure_ascii=False)
    return found


def check_change(adapter: CanonicalAdapter, *, alone: bool = True) -> None:
    """Raise `TrainingDiverged` when the adapter holds something that is no number, or does nothing.

    Args:
        alone: False where something else was learnt beside it, so that it may do nothing.
    """
    for key, change in adapter.layers.items():
        if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors_of(change)):
            raise TrainingDiverged(
                f"The layer {key} holds values that are no numbers; train again with a lower learning rate.",
                code="adapter_not_finite",
                given=key,
            )
    if alone and adapter.norm() == 0:
        raise TrainingDiverged(
            "The adapter changes nothing (its differences are 0); train longer or with a higher learning rate.",
            code="adapter_does_nothing",
        )


def check_readers(base: SharedBase, data: bytes, adapter: CanonicalAdapter) -> float:
    """Let diffusers and peft read the file into a tree of their own and compare it with the live weights.

    Returns:
        The largest difference of a prediction, relative to the prediction's own largest value.
    """
    state, alphas = base.family.lora_state_dict(without_bundle(load(data)))
    tree = base.training_tree().eval()
    # peft draws first weights before it loads the file's: other jobs' draws must not notice.
    with torch.random.fork_rng(devices=[]):
        tree.load_lora_adapter(state, network_alphas=alphas, prefix="unet", low_cpu_mem_usage=False)
    factor = base.autoencoder.factor
    size = (base.info.defaults.height, base.info.defaults.width)
    generator = torch.Generator().manual_seed(seed_of(0, "check readers"))
    latents = torch.randn(1, base.latent_channels, size[0] // factor, size[1] // factor, generator=generator)
    text = base.family.encode_text(["a"], [()])[0]
    call = ModelCall(
        latents,
        torch.tensor([500]),
        text.embeddings[None],
        None,
        (((adapter, 1.0),),),
        pooled=pooled_batch([text]),
    )
    ours = base.predict(call)
    with base.precision.inference():
        theirs: Tensor = tree(**base.unet_arguments(call), return_dict=False)[0]
    return float((ours - theirs.float()).abs().max() / ours.abs().max())
