"""Bases in one file: the same weights, the same pictures as in diffusers' layout, and no network."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file as load_safetensors
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPTokenizer

from lora_studio.adapters.workbench.checkpoint import open_checkpoint
from lora_studio.cli.vocabulary import clip_tokenizer
from lora_studio.errors import BaseUnavailable
from lora_studio.generate import generate
from lora_studio.pipeline import Precision, SharedBase, load_base
from lora_studio.pipeline.source import find_base
from lora_studio.types import GenerateRequest
from scripts.clip_tokenizer import read
from tests.support.ldm import write_both, write_file
from tests.support.reading import encode, wanted
from tests.support.tiny import ASSETS, EXACT, drive, load_tiny

KINDS = ("sd1", "sd2", "sdxl")


@pytest.fixture(scope="module", params=KINDS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor]]:
    """A folder in diffusers' layout and the tensors of the same base in one file."""
    folder = tmp_path_factory.mktemp(request.param)
    return folder, write_both(folder, request.param)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No socket can be opened, and nothing was ever fetched."""

    def refuse(*args: Any, **options: Any) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "empty"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


def picture(base: SharedBase) -> bytes:
    request = GenerateRequest(
        prompt="a cat, (red:1.3) [dog:star:0.5]",
        negative_prompt="blurry",
        width=32,
        height=48,
        num_inference_steps=2,
        guidance_scale=5.0,
        sampler="euler",
        seed=1,
    )
    return drive(base, generate(base, [request], lambda sha256: {}[sha256]))[0].png


def state(base: SharedBase) -> dict[str, Tensor]:
    return {f"{name}.{key}": t for name, module in base.modules.items() for key, t in module.state_dict().items()}


@pytest.mark.slow
def test_one_file_is_the_folder(pair: tuple[Path, dict[str, Tensor]], tmp_path: Path, no_network: None) -> None:
    """Weights and texts bit for bit, the picture to 1/255: with sockets blocked and an empty cache of the hub."""
    folder, tensors = pair
    one = load_tiny(write_file(tensors, tmp_path / "base.safetensors"))
    two = load_tiny(folder)
    assert state(one).keys() == state(two).keys()
    assert all(torch.equal(tensor, state(two)[name]) for name, tensor in state(one).items())
    for text in ("a photo of a cat, 1girl", ""):
        a, b = (encode(base, [wanted(base, text)])[0] for base in (one, two))
        assert torch.equal(a.embeddings, b.embeddings)
        assert torch.allclose(a.pooled, b.pooled, atol=1e-6)  # products round by where a matrix lies in memory
    a, b = (_pixels(picture(base)) for base in (one, two))
    assert np.abs(a - b).max() <= 1
    assert a.std() > 1
    assert one.info.family == two.info.family
    assert one.info.bucket_step == two.info.bucket_step
    assert one.layers.keys() == two.layers.keys()


def _pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)), dtype=int)


def test_a_sign_that_pads_is_a_word_too(tmp_path: Path) -> None:
    """OpenCLIP pads with the token of "!"; made part of the tokenizer as padding, it swallowed it in texts."""
    base = load_tiny(write_file(write_both(tmp_path / "folder", "sd2"), tmp_path / "base.safetensors"))
    assert [token.id for token in base.tokenize("wow!!!")] == [2781, 995]
    condition = base.family.encode_text(["wow!!!"], [()])[0]
    assert torch.equal(condition.embeddings, encode(base, [wanted(base, "wow!!!")])[0].embeddings)


def test_the_tokenizer_is_clips() -> None:
    """Known tokens of CLIP, and the vocabulary that the command line builds from OpenAI's list on its own."""
    tokenizer = CLIPTokenizer.from_pretrained(ASSETS / "configs" / "clip", local_files_only=True)
    assert tokenizer("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    package = importlib.util.find_spec("open_clip")
    if package is None or package.origin is None:
        pytest.skip("open-clip-torch, whose list of merges is the reference, is not installed")
    packed = Path(package.origin).parent / "bpe_simple_vocab_16e6.txt.gz"
    reference = clip_tokenizer(packed)
    assert tokenizer.get_vocab() == reference.get_vocab()
    for text in ("Été naïve, 红色头发 😀 it's 12345", "under_score!!! :3 ^_^ (a:1.2)", "1girl, cat ears"):
        assert tokenizer(text).input_ids[1:-1] == reference.encode(text, add_special_tokens=False).ids
    vocabulary, merges = read(packed.read_bytes())
    assert vocabulary == tokenizer.get_vocab()
    assert (ASSETS / "configs" / "clip" / "merges.txt").read_text(encoding="utf-8").split("\n")[1:-1] == merges


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_in_sixteen_bits(pair: tuple[Path, dict[str, Tensor]], tmp_path: Path, dtype: torch.dtype) -> None:
    """They are read as what they are: the rounded weights, in the base's own numbers."""
    _, tensors = pair
    rounded = {name: t.to(dtype) if t.is_floating_point() else t for name, t in tensors.items()}
    base = load_tiny(write_file(rounded, tmp_path / "half.safetensors"))
    assert base.unet.dtype == torch.float32
    wanted_weight = tensors["model.diffusion_model.out.2.weight"].to(dtype).float()
    assert torch.equal(base.unet.conv_out.weight, wanted_weight)


@pytest.mark.parametrize("scaled", [True, False])
def test_weights_in_eight_bits(tmp_path: Path, scaled: bool) -> None:
    """ComfyUI's scaled 8-bit weights are multiplied by their scales: unscaled they were another model, without a word.

    Plain ones are read as the numbers that they are.
    """
    tensors = write_both(tmp_path / "folder", "sd1")
    small = dict(tensors)
    for name, tensor in tensors.items():
        if name.startswith("model.diffusion_model.") and name.endswith(".weight") and tensor.dim() > 1:
            scale = tensor.abs().max() / 448 if scaled else torch.tensor(1.0)
            small[name] = (tensor / scale).to(torch.float8_e4m3fn)
            if scaled:
                small[name.replace(".weight", ".scale_weight")] = scale.clone()
    if scaled:
        small["model.diffusion_model.scaled_fp8"] = torch.zeros(2, dtype=torch.float8_e4m3fn)
    base = load_tiny(write_file(small, tmp_path / "eight.safetensors"))
    name = "model.diffusion_model.out.2"
    factor = small[f"{name}.scale_weight"] if scaled else 1.0
    assert torch.equal(base.unet.conv_out.weight, small[f"{name}.weight"].float() * factor)
    error = (base.unet.conv_out.weight - tensors[f"{name}.weight"]).norm() / tensors[f"{name}.weight"].norm()
    assert error < (0.04 if scaled else 0.1)
    found = open_checkpoint(tmp_path / "eight.safetensors")
    assert torch.equal(found.weight("unet.conv_out"), base.unet.conv_out.weight)
    assert not [key for key in found.others if "scale" in key or "fp8" in key] or not scaled


def test_a_folder_of_scaled_weights_is_refused(tmp_path: Path) -> None:
    """diffusers leaves out what it does not know, scales too."""
    write_both(tmp_path / "folder", "sd1")
    path = next((tmp_path / "folder" / "unet").glob("*.safetensors"))
    tensors = load_safetensors(path)
    tensors["conv_out.weight"] = tensors["conv_out.weight"].to(torch.float8_e4m3fn)
    tensors["conv_out.scale_weight"] = torch.tensor(0.5)
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(BaseUnavailable, match="scale"):
        load_tiny(tmp_path / "folder")


def test_held_in_sixteen_bits(tmp_path: Path) -> None:
    """The autoencoder of SDXL stays in float32 where the rest is float16: its pictures were black."""
    tensors = write_both(tmp_path / "folder", "sdxl")
    path = write_file(tensors, tmp_path / "base.safetensors")
    half = Precision(torch.device("cpu"), torch.float16, None)
    base = load_base(find_base(str(path), path), half)
    assert base.unet.dtype == base.text_encoder.dtype == torch.float16
    assert base.autoencoder.vae.dtype == torch.float32


def test_the_trained_weights_are_used_and_averaged_ones_told(tmp_path: Path) -> None:
    tensors = write_both(tmp_path / "folder", "sd1")
    averaged = {
        "model_ema." + name.removeprefix("model.").replace(".", ""): t + 1
        for name, t in tensors.items()
        if name.startswith("model.")
    }
    base = load_tiny(write_file(tensors | averaged, tmp_path / "ema.safetensors"))
    assert torch.equal(base.unet.conv_out.weight, tensors["model.diffusion_model.out.2.weight"])
    assert [told["code"] for told in base.info.remarks] == ["base_prediction_assumed", "base_ema_unused"]


@pytest.mark.slow
def test_older_names_of_parts(tmp_path: Path) -> None:
    """Files without `text_model.` in the text encoder's names, and with `vae.` before the autoencoder's."""
    tensors = write_both(tmp_path / "folder", "sd1")
    renamed = {
        name.replace("transformer.text_model.", "transformer.").replace("first_stage_model.", "vae."): t
        for name, t in tensors.items()
    }
    base = load_tiny(write_file(renamed, tmp_path / "old.safetensors"))
    other = load_tiny(write_file(tensors, tmp_path / "new.safetensors"))
    assert all(torch.equal(tensor, state(other)[name]) for name, tensor in state(base).items())


def test_hash_title_and_origin(tmp_path: Path) -> None:
    """The hash is the file's own sha256, whose first ten digits A1111 writes as `Model hash`."""
    path = write_file(write_both(tmp_path / "folder", "sd1"), tmp_path / "my model v2.safetensors")
    base = load_base(find_base("my model v2.safetensors", path, checkpoints=tmp_path), EXACT)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (base.info.sha256, base.info.unet_file_sha256) == (digest, digest)
    assert base.info.title == "my model v2"
    assert f"Model hash: {digest[:10]}, Model: my model v2".encode() in picture(base)
    path.unlink()
    assert picture(base)  # nothing of it is read from the file any more
