"""Files for other programs, read by these programs: diffusers' pipeline and peft's models, and by our own door."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from peft import PeftModel
from peft.utils.other import get_pattern_key
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPTextModel

from lora_studio.adapters import admit, inspect
from lora_studio.adapters.canonical import CanonicalAdapter, Decomposed, Dense, Gain, LowRank
from lora_studio.adapters.formats.families import known_layers
from lora_studio.adapters.formats.peft_config import PeftConfig, compact
from lora_studio.adapters.workbench.layouts import FilePart, write
from lora_studio.errors import InvalidInput
from lora_studio.pipeline import ModelCall, SharedBase
from tests.support.tiny import load_tiny, random_adapter, write_tiny_base
from tests.support.workbench import dense, near


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base on disk, for independent readers."""
    return write_tiny_base(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def own(folder: Path) -> SharedBase:
    """The same base, ours."""
    return load_tiny(folder)


def saved(part: FilePart, folder: Path) -> Path:
    """The file of a part, in a folder."""
    path = folder / (part.name or "adapter.safetensors")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(dict(part.tensors), path, metadata={"format": "pt"})
    if part.config:
        (path.parent / "adapter_config.json").write_text(part.config)
    return path


def inputs(base: SharedBase) -> tuple[Tensor, Tensor, Tensor]:
    """Latents, a timestep, and the embedding of a text."""
    generator = torch.Generator().manual_seed(3)
    return (
        torch.randn(1, 4, 16, 16, generator=generator),
        torch.tensor([300]),
        torch.randn(1, 7, 32, generator=generator),
    )


def ours(base: SharedBase, adapter: CanonicalAdapter, weight: float = 1.0) -> Tensor:
    """Our UNet's prediction with an adapter."""
    latents, timesteps, text = inputs(base)
    return base.predict(ModelCall(latents, timesteps, text, None, (((adapter, weight),),)))


@pytest.mark.parametrize("layout", ["kohya", "diffusers"])
def test_diffusers_reads_it_to_the_same_effect(
    folder: Path, own: SharedBase, adapter: CanonicalAdapter, tmp_path: Path, layout: str
) -> None:
    """load_lora_weights of an independent pipeline: the same prediction, the same text, to 1e-5."""
    (part,) = write(adapter.layers, layout, torch.float32, sdxl=False)
    pipe = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, feature_extractor=None)
    tokens = torch.randint(0, 1200, (1, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        plain_text = pipe.text_encoder(tokens)[0]
    pipe.load_lora_weights(saved(part, tmp_path).parent, weight_name="adapter.safetensors")
    latents, timesteps, text = inputs(own)
    with torch.no_grad():
        theirs = pipe.unet(latents, timesteps, text, return_dict=False)[0]
        their_text = pipe.text_encoder(tokens)[0]
    assert near(ours(own, adapter), theirs)
    assert not near(ours(own, adapter, 0.0), theirs, 1e-3)
    with torch.no_grad(), own.slots.active((((adapter, 1.0),),)):
        assert near(own.text_encoder(tokens)[0], their_text)
    assert not near(plain_text, their_text, 1e-3)


@pytest.mark.parametrize("ranks", ["one rank", "several ranks"])
def test_peft_reads_its_folders_to_the_same_effect(
    folder: Path, own: SharedBase, adapter: CanonicalAdapter, tmp_path: Path, ranks: str
) -> None:
    layers = dict(adapter.layers)
    if ranks == "several ranks":
        wider = random_adapter(own, 9, rank=6).layers
        layers |= {key: wider[key] for key in list(wider)[::3]}
    for part in write(layers, "peft", torch.float32, sdxl=False):
        saved(part, tmp_path)
    mixed = CanonicalAdapter(f"mixed {ranks}", layers)
    unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet")
    unet = PeftModel.from_pretrained(unet, tmp_path / "unet").eval()
    latents, timesteps, text = inputs(own)
    with torch.no_grad():
        theirs = unet(latents, timesteps, text, return_dict=False)[0]
    assert near(ours(own, mixed), theirs)
    encoder = CLIPTextModel.from_pretrained(folder, subfolder="text_encoder")
    encoder = PeftModel.from_pretrained(encoder, tmp_path / "text_encoder").eval()
    tokens = torch.randint(0, 1200, (1, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), own.slots.active((((mixed, 1.0),),)):
        assert near(own.text_encoder(tokens)[0], encoder(tokens)[0])
    config = json.loads((tmp_path / "unet" / "adapter_config.json").read_text())
    assert config["peft_type"] == "LORA"
    assert bool(config["rank_pattern"]) == (ranks == "several ranks")


def decomposed(own: SharedBase, adapter: CanonicalAdapter, seed: int = 4) -> CanonicalAdapter:
    """DoRA over every layer of an adapter, magnitudes of rows near the base's own."""
    draw = torch.Generator().manual_seed(seed)
    layers = {}
    for key, change in adapter.layers.items():
        rows = own.slots.weight(key).flatten(1).norm(dim=1)
        layers[key] = Decomposed(change, rows * (0.8 + 0.4 * torch.rand(len(rows), generator=draw)), "out")
    return CanonicalAdapter(f"dora {seed}", layers)


def biased(own: SharedBase, adapter: CanonicalAdapter) -> CanonicalAdapter:
    """Differences of biases of every other layer, of one of them alone, without factors."""
    draw = torch.Generator().manual_seed(6)
    layers = dict(adapter.layers)
    for key in sorted(layers)[::2]:
        bias = torch.randn(own.layers[key].shape[0], generator=draw) * 0.2
        layers[key] = LowRank(layers[key].down, layers[key].up, bias)
    key = next(key for key in sorted(layers)[::2] if key.startswith("unet."))
    change = layers[key]
    layers[key] = LowRank(change.down[:0], change.up[:, :0], change.delta_bias)
    return CanonicalAdapter("biased", layers)


@pytest.mark.filterwarnings("ignore:`lora_bias=True` was passed")  # merging is not what is asked for
@pytest.mark.parametrize("kind", [decomposed, biased])
def test_diffusers_and_peft_read_magnitudes_and_biases(
    folder: Path, own: SharedBase, adapter: CanonicalAdapter, tmp_path: Path, kind: Callable
) -> None:
    """Both readers, UNet and text encoder: the same outputs as ours to 1e-5; our own door reads the files back."""
    mine = kind(own, adapter)
    (part,) = write(mine.layers, "diffusers", torch.float32, sdxl=False)
    path = saved(part, tmp_path)
    pipe = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, feature_extractor=None)
    pipe.load_lora_weights(path.parent, weight_name=path.name)
    for one in write(mine.layers, "peft", torch.float32, sdxl=False):
        saved(one, tmp_path)
    unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet")
    unet = PeftModel.from_pretrained(unet, tmp_path / "unet").eval()
    encoder = CLIPTextModel.from_pretrained(folder, subfolder="text_encoder")
    encoder = PeftModel.from_pretrained(encoder, tmp_path / "text_encoder").eval()
    latents, timesteps, text = inputs(own)
    tokens = torch.randint(0, 1200, (1, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for tree in (pipe.unet, unet):
            assert near(ours(own, mine), tree(latents, timesteps, text, return_dict=False)[0])
        with own.slots.active((((mine, 1.0),),)):
            our_text = own.text_encoder(tokens)[0]
        assert near(our_text, encoder(tokens)[0])
        assert near(our_text, pipe.text_encoder(tokens)[0])
    assert not near(ours(own, mine), ours(own, adapter), 1e-3)
    again, _ = admit(path, f"read again {mine.key}", own.layers)
    assert near(ours(own, again), ours(own, mine))


def test_what_their_readers_would_read_otherwise_is_refused(own: SharedBase, adapter: CanonicalAdapter) -> None:
    """A layer without magnitudes beside a DoRA would be given the base's; a DoRA with biases peft refuses itself."""
    dora = decomposed(own, adapter).layers
    key = min(dora)
    change = dora[key]
    columns = torch.ones(own.layers[key].shape[1])
    for other, what in (
        (change.direction, "rank factors beside DoRA of other layers"),
        (Decomposed(change.direction, columns, "in"), "DoRA of columns"),
        (Decomposed(change.direction, change.magnitude, "out", torch.ones(own.layers[key].shape[0])), "DoRA beside a"),
    ):
        for layout in ("diffusers", "peft"):
            with pytest.raises(InvalidInput, match=f"holds {what}.*convert to kohya"):
                write({**dora, key: other}, layout, torch.float32, sdxl=False)


def test_a_part_alone_lies_at_the_top(adapter: CanonicalAdapter) -> None:
    unet = {key: change for key, change in adapter.layers.items() if key.startswith("unet.")}
    (part,) = write(unet, "peft", torch.float32, sdxl=False)
    assert part.name == "adapter_model.safetensors"


@pytest.mark.parametrize("layout", ["kohya", "diffusers"])
def test_ours_to_the_layout_to_ours(own: SharedBase, adapter: CanonicalAdapter, tmp_path: Path, layout: str) -> None:
    (part,) = write(adapter.layers, layout, torch.float32, sdxl=False)
    again, report = admit(saved(part, tmp_path), "0" * 64, own.layers)
    assert set(again.layers) == set(adapter.layers)
    assert report.rank == 3
    assert report.alpha in (3, None)
    for key, change in adapter.layers.items():
        assert near(again.layers[key].delta(), change.delta(), 1e-6)


def test_what_factors_cannot_hold_goes_to_kohya_as_lycoris_writes_it(own: SharedBase, tmp_path: Path) -> None:
    """Differences, biases, norms and DoRA, read again by our door (whose reader is tested against LyCORIS itself)."""
    conv, linear = "unet.conv_in", "unet.mid_block.attentions.0.proj_in"
    norm = next(key for key, shape in own.layers.items() if shape.is_norm and key.startswith("unet."))
    shapes = own.layers
    dora = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    out, into = shapes[dora].shape
    layers = {
        conv: Dense(torch.randn(shapes[conv].shape) * 0.1, torch.randn(shapes[conv].shape[0]) * 0.1),
        norm: Dense(torch.randn(shapes[norm].shape) * 0.1, torch.randn(shapes[norm].shape) * 0.1),
        dora: Decomposed(LowRank(torch.randn(2, into), torch.randn(out, 2) * 0.1), torch.rand(out) + 0.5, "out"),
    }
    (part,) = write(layers, "kohya", torch.float32, sdxl=False)
    again, _ = admit(saved(part, tmp_path), "0" * 64, shapes)
    mine = CanonicalAdapter("mine", layers)
    assert set(again.layers) == set(layers)
    assert near(ours(own, again), ours(own, mine))
    assert not near(ours(own, again), ours(own, mine, 0.0), 1e-3)
    for layout in ("diffusers", "peft"):
        with pytest.raises(InvalidInput, match=f"which {layout}'s layout cannot hold; convert to kohya"):
            write(layers, layout, torch.float32, sdxl=False)
    assert linear not in layers


def test_sdxl_s_names_are_those_of_sd_scripts() -> None:
    """The names that sd-scripts gives an SDXL LoRA's modules (networks/lora.py, sdxl_original_unet.py)."""
    unet = {
        "down_blocks.1.attentions.0.transformer_blocks.0.norm": "input_blocks_4_1_transformer_blocks_0_norm",
        "down_blocks.2.attentions.1.proj_in": "input_blocks_8_1_proj_in",
        "mid_block.attentions.0.proj_in": "middle_block_1_proj_in",
        "mid_block.resnets.1.conv2": "middle_block_2_out_layers_3",
        "up_blocks.0.attentions.2.proj_out": "output_blocks_2_1_proj_out",
        "up_blocks.1.attentions.0.proj_in": "output_blocks_3_1_proj_in",
        "up_blocks.2.resnets.0.conv1": "output_blocks_6_0_in_layers_2",
        "up_blocks.1.upsamplers.0.conv": "output_blocks_5_2_conv",
        "down_blocks.0.downsamplers.0.conv": "input_blocks_3_0_op",
    }
    names = {f"unet.{path}": f"lora_unet_{name}" for path, name in unet.items()}
    names |= {
        "text_encoder.encoder.layers.0.self_attn.q_proj": "lora_te1_text_model_encoder_layers_0_self_attn_q_proj",
        "text_encoder_2.text_model.encoder.layers.31.mlp.fc2": "lora_te2_text_model_encoder_layers_31_mlp_fc2",
    }
    change = LowRank(torch.randn(1, 4), torch.randn(4, 1))
    (part,) = write(dict.fromkeys(names, change), "kohya", torch.float16, sdxl=True)
    assert {name.partition(".")[0] for name in part.tensors} == set(names.values())


def test_half_precision_that_would_overflow_is_refused() -> None:
    layers = {"unet.conv_in": LowRank(torch.full((1, 2), 1e5), torch.ones(2, 1))}
    with pytest.raises(InvalidInput, match=r"unet\.conv_in holds values beyond 65504.*choose float32"):
        write(layers, "kohya", torch.float16, sdxl=False)
    assert write(layers, "kohya", torch.bfloat16, sdxl=False)[0].tensors


def test_dense_differences_stay_what_they_are() -> None:
    (part,) = write({"unet.conv_in": dense(1, 4, 3)}, "kohya", torch.float32, sdxl=False)
    assert set(part.tensors) == {"lora_unet_conv_in.diff"}


def test_diffusers_finds_every_sdxl_layer_in_a_kohya_file(tmp_path: Path) -> None:
    """diffusers' own conversion of kohya's SDXL names, as the independent reader: every pair at its own layer."""
    shapes = known_layers("sdxl")
    chosen = [k for k in shapes if k.endswith(("attn1.to_q", "attn2.to_v", "proj_in", "fc1", "q_proj", "ff.net.2"))]
    assert len(chosen) > 150
    layers = {}
    for number, key in enumerate(chosen):
        out, into = shapes[key].shape[:2]
        layers[key] = LowRank(torch.full((1, into), 0.01), torch.full((out, 1), (number + 1) / 1024))
    (part,) = write(layers, "kohya", torch.float32, sdxl=True)
    config = SimpleNamespace(layers_per_block=2)
    state, alphas = StableDiffusionXLPipeline.lora_state_dict(dict(part.tensors), unet_config=config)
    found = {}
    for name, tensor in state.items():
        if name.endswith((".up.weight", ".lora_B.weight", "lora.up.weight", "lora_linear_layer.up.weight")):
            path = re.sub(r"\.(lora_linear_layer|lora)?\.?(up|lora_B)\.weight$", "", name).replace(".processor.", ".")
            path = re.sub(r"self_attn\.to_([qkv])_lora$", r"self_attn.\1_proj", path)
            path = re.sub(r"\.to_([qkv])_lora$", r".to_\1", path)
            found[path] = round(float(tensor[0, 0]) * 1024)
    expected = {}
    for number, key in enumerate(chosen):
        component, _, path = key.partition(".")
        said = path if component == "unet" or path.startswith("text_model.") else f"text_model.{path}"
        expected[f"{component}.{said}"] = number + 1
    assert found == expected
    assert {float(alpha) for alpha in (alphas or {}).values()} <= {1.0}


@pytest.mark.parametrize("layout", ["kohya", "diffusers"])
def test_an_sdxl_adapter_without_its_base_comes_back_as_it_was(tmp_path: Path, layout: str) -> None:
    shapes = known_layers("sdxl")
    chosen = [key for key in shapes if key.endswith(("attn2.to_k", "q_proj", "upsamplers.0.conv"))]
    generator = torch.Generator().manual_seed(1)
    layers = {}
    for key in chosen:
        shape = shapes[key].shape
        ones = (1, 1) if len(shape) == 4 else ()
        up = torch.randn(shape[0], 2, *ones, generator=generator) * 0.1
        layers[key] = LowRank(torch.randn(2, *shape[1:], generator=generator) * 0.1, up)
    (part,) = write(layers, layout, torch.float32, sdxl=True)
    again, report = inspect(saved(part, tmp_path))
    assert (report.family, report.refused) == ("sdxl", None)
    assert again is not None
    assert set(again.layers) == set(layers)
    for key, change in layers.items():
        other = again.layers[key]
        assert isinstance(other, LowRank)
        assert torch.equal(other.down, change.down)
        assert near(other.up, change.up, 1e-6)


def test_what_kohya_cannot_hold_is_not_sent_to_kohya() -> None:
    """Bug: who converted to kohya was told to convert to kohya."""
    gain = {"unet.conv_in": Gain(torch.ones(4), "out")}
    with pytest.raises(InvalidInput, match=r"holds IA3, which kohya's layout cannot hold; resize it to a rank first"):
        write(gain, "kohya", torch.float32, sdxl=False)


def test_half_precision_looks_at_the_direction_of_a_dora() -> None:
    """Bug: a DoRA whose factors overflow in half precision was written as infinities."""
    direction = LowRank(torch.full((1, 2), 1e5), torch.ones(3, 1))
    with pytest.raises(InvalidInput, match=r"unet\.a holds values beyond 65504"):
        write({"unet.a": Decomposed(direction, torch.ones(3), "out")}, "kohya", torch.float16, sdxl=False)


def test_a_layer_whose_name_ends_as_another_one_s() -> None:
    """Bug: FLUX' `proj_out` of rank 2 gave its rank and alpha to every `single_transformer_blocks.N.proj_out`."""
    ranks = {
        "proj_out": 2,
        "single_transformer_blocks.0.proj_out": 4,
        "single_transformer_blocks.1.proj_out": 4,
        "x.single_transformer_blocks.1.proj_out": 3,
        "norm_out.linear": 4,
    }
    layers = {f"transformer.{path}": LowRank(torch.ones(r, 8), torch.ones(8, r)) for path, r in ranks.items()}
    (part,) = write(layers, "peft", torch.float32, sdxl=False)
    for text in (part.config, compact(part.config)):
        config = json.loads(text)
        ours_ = PeftConfig(config)
        for path, rank in ranks.items():
            theirs = config["rank_pattern"].get(get_pattern_key(config["rank_pattern"], path), config["r"])
            assert theirs == ours_.rank_of(path) == ours_.alpha_of(path, rank) == rank, path
