"""Loading is a transaction: after a failure every parameter, buffer, module name and a seeded picture are as before."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from lora_studio.adapters import admit
from lora_studio.errors import AdapterRefused
from lora_studio.generate import generate
from lora_studio.pipeline import SharedBase
from lora_studio.types import GenerateRequest
from tests.adapters.corpus import kinds
from tests.adapters.test_corpus import put
from tests.support.tiny import drive, load_tiny, write_tiny_base
from tests.support.tiny_models import TinyModels


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> SharedBase:
    return load_tiny(write_tiny_base(tmp_path_factory.mktemp("tiny")))


def fingerprint(base: SharedBase) -> str:
    """Over names, modes and hooks of every module, and every parameter and buffer."""
    digest = hashlib.sha256()
    for name, tree in (("unet", base.unet), ("text", base.text_encoder), ("vae", base.autoencoder.vae)):
        for path, module in tree.named_modules():
            hooks = len(module._forward_hooks), len(module._forward_pre_hooks)
            digest.update(f"{name}.{path} {type(module).__name__} {module.training} {hooks}".encode())
        for path, tensor in [*tree.named_parameters(), *tree.named_buffers()]:
            digest.update(f"{path} {tensor.dtype} {tensor.requires_grad} {tensor.data_ptr()}".encode())
            digest.update(tensor.detach().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def picture(base: SharedBase) -> bytes:
    request = GenerateRequest(
        prompt="a cat", width=32, height=32, num_inference_steps=2, guidance_scale=4.0, sampler="euler", seed=7
    )
    png: bytes = drive(base, generate(base, [request], lambda sha256: {}[sha256]))[0].png
    return png


@pytest.mark.slow
def test_no_failure_leaves_a_trace(base: SharedBase, tmp_path: Path) -> None:
    """Every refused kind of the corpus, made for this very base, one after the other."""
    models = TinyModels({"unet": base.unet, "text_encoder": base.text_encoder}, base.slots, {}, 32)
    before, drawn = fingerprint(base), picture(base)
    refused = [kind for kind in kinds() if kind.refused and kind.base == "sd"]
    assert len(refused) > 30
    for number, kind in enumerate(refused):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = put(kind.make(models, folder), folder)
        with pytest.raises(AdapterRefused):
            admit(path, f"{number:064d}", base.layers, base.info.sha256)
        assert fingerprint(base) == before, kind.name
    assert picture(base) == drawn


def test_an_adapter_that_fails_while_it_acts_leaves_no_trace(base: SharedBase, tmp_path: Path) -> None:
    """A good one, then a call that breaks off in the middle, then the picture of before."""
    models = TinyModels({"unet": base.unet, "text_encoder": base.text_encoder}, base.slots, {}, 32)
    before, drawn = fingerprint(base), picture(base)
    kind = next(kind for kind in kinds() if kind.name == "every kind in one file")
    adapter, _ = admit(put(kind.make(models, tmp_path), tmp_path), "c" * 64, base.layers)
    with pytest.raises(RuntimeError), base.slots.active([((adapter, 1.0),)]):
        base.unet(torch.zeros(1, 4, 16, 16), torch.tensor([1]), torch.zeros(1, 3, 5))
    assert fingerprint(base) == before
    assert picture(base) == drawn
