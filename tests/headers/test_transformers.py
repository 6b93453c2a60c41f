"""Transformers are told apart by the names and widths that the released models have, never by a guess."""

from __future__ import annotations

import pytest

from lora_studio.headers.transformers import Sides, may_be, sides_of, transformer_of

COMFY, DIFFUSERS = "diffusion_model.", "transformer."


def blocks(pattern: str, count: int, out: int, inputs: int) -> dict[str, Sides]:
    """One module in each of so many blocks."""
    return {pattern.replace("#", str(number)): (out, inputs) for number in range(count)}


HUNYUAN_ATTENTION = blocks("lora_unet_double_blocks_#_img_attn_qkv", 20, 9216, 3072)
FILES: dict[str, tuple[str, dict[str, Sides]]] = {
    "a UNet's": ("", {"lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k": (640, 2048)}),
    "a text encoder's": ("", {"lora_te1_text_model_encoder_layers_0_mlp_fc1": (3072, 768)}),
    "SD 3, kohya": ("sd3", {"lora_unet_joint_blocks_0_context_block_attn_qkv": (4608, 1536)}),
    "SD 3, diffusers": ("sd3", {f"{DIFFUSERS}transformer_blocks.0.attn.add_k_proj": (1536, 1536)}),
    "SD 3.5 Large": ("sd3", {f"{DIFFUSERS}transformer_blocks.37.attn.to_q": (2432, 2432)}),
    "FLUX.1, kohya": ("flux", {"lora_unet_single_blocks_0_linear1": (21504, 3072)}),
    "FLUX.1, BFL": ("flux", {f"{COMFY}double_blocks.0.img_attn.qkv": (9216, 3072)}),
    "FLUX.1, diffusers": ("flux", {f"{DIFFUSERS}single_transformer_blocks.37.proj_out": (3072, 15360)}),
    "FLUX.1, double blocks": ("flux", blocks(f"{DIFFUSERS}transformer_blocks.#.attn.to_q", 19, 3072, 3072)),
    "FLUX.1, no widths": ("flux", {"lora_unet_double_blocks_0_img_mod_lin": (0, 0)}),
    "FLUX.2 dev, linear1": ("flux2", {"lora_unet_single_blocks_47_linear1": (55296, 6144)}),
    "FLUX.2 klein 4B, linear1": ("flux2", {f"{COMFY}single_blocks.0.linear1": (27648, 3072)}),
    "FLUX.2 klein 4B, linear2": ("flux2", {f"{COMFY}single_blocks.0.linear2": (3072, 12288)}),
    "FLUX.2 klein 4B, mlp.0": ("flux2", {f"{COMFY}double_blocks.0.txt_mlp.0": (18432, 3072)}),
    "FLUX.2 klein 9B": ("flux2", {f"{COMFY}double_blocks.0.img_attn.qkv": (12288, 4096)}),
    "FLUX.2, diffusers": ("flux2", {f"{DIFFUSERS}single_transformer_blocks.0.attn.to_qkv_mlp_proj": (0, 0)}),
    "Chroma": ("chroma", {"lora_unet_distilled_guidance_layer_layers_0_in_layer": (5120, 5120)}),
    "HunyuanVideo, its own names": ("hunyuan-video", {f"{COMFY}double_blocks.0.img_attn_qkv": (9216, 3072)}),
    "HunyuanVideo, kohya, mlp": ("hunyuan-video", {"lora_unet_double_blocks_0_img_mlp_fc1": (12288, 3072)}),
    "HunyuanVideo, kohya, attention": ("hunyuan-video", HUNYUAN_ATTENTION),
    "HunyuanVideo, refiner": (
        "hunyuan-video",
        {
            f"{DIFFUSERS}single_transformer_blocks.0.attn.to_q": (3072, 3072),
            f"{DIFFUSERS}context_embedder.token_refiner.refiner_blocks.0.attn.to_q": (3072, 3072),
        },
    ),
    "FramePack": ("hunyuan-video", {"lora_unet_single_transformer_blocks_39_attn_to_q": (3072, 3072)}),
    "HunyuanVideo 1.5": ("hunyuan-video", {f"{COMFY}double_blocks.53.img_attn_q": (2048, 2048)}),
    "HunyuanImage": ("hunyuan-image", {f"{COMFY}double_blocks.0.img_attn_qkv": (10752, 3584)}),
    "Wan": ("wan", {f"{COMFY}blocks.0.cross_attn.k_img": (5120, 5120)}),
    "Wan, diffusers, attention": ("wan", {f"{DIFFUSERS}blocks.0.attn1.to_q": (5120, 5120)}),
    "HunyuanDiT": ("transformer", {f"{DIFFUSERS}blocks.0.attn1.to_q": (1408, 1408)}),
    "Cosmos": ("cosmos", {"lora_unet_blocks_0_self_attn_q_proj": (2048, 2048)}),
    "Cosmos, diffusers": (
        "cosmos",
        {
            f"{DIFFUSERS}transformer_blocks.0.attn1.to_q": (2048, 2048),
            f"{DIFFUSERS}transformer_blocks.0.attn2.to_k": (2048, 1024),
        },
    ),
    "Anima": ("anima", {"lora_unet_llm_adapter_blocks_0_self_attn_q_proj": (1024, 1024)}),
    "Qwen-Image, mlp": ("qwen-image", {"lora_unet_transformer_blocks_0_img_mlp_net_0_proj": (12288, 3072)}),
    "Qwen-Image, attention": ("qwen-image", blocks(f"{COMFY}transformer_blocks.#.attn.to_q", 60, 3072, 3072)),
    "FLUX.1 or Qwen-Image": ("transformer", {f"{DIFFUSERS}transformer_blocks.3.attn.to_q": (3072, 3072)}),
    "LTX-Video": (
        "ltx-video",
        {
            f"{COMFY}transformer_blocks.0.attn1.to_q": (2048, 2048),
            f"{COMFY}transformer_blocks.0.attn2.to_k": (2048, 2048),
        },
    ),
    "LTX-2": ("ltx-video", {f"{COMFY}transformer_blocks.0.audio_attn1.to_q": (2048, 2048)}),
    "Z-Image": ("z-image", {f"{COMFY}layers.0.attention.to_q": (3840, 3840)}),
    "Z-Image, qkv": ("z-image", {f"{COMFY}layers.0.attention.qkv": (11520, 3840)}),
    "Lumina 2": ("lumina2", {"lora_unet_layers_0_attention_qkv": (3840, 2304)}),
    "Lumina 2, diffusers": ("lumina2", {f"{DIFFUSERS}layers.0.attn.to_q": (2304, 2304)}),
    "Lumina 2, refiner": ("lumina2", {f"{COMFY}noise_refiner.0.attention.qkv": (3840, 2304)}),
    "OmniGen 2": ("transformer", {f"{DIFFUSERS}layers.0.attn.to_q": (2520, 2520)}),
    "PixArt": (
        "pixart",
        {
            f"{DIFFUSERS}transformer_blocks.0.attn1.to_q": (1152, 1152),
            f"{DIFFUSERS}transformer_blocks.0.ff.net.2": (1152, 4608),
        },
    ),
    "Sana": ("sana", {f"{DIFFUSERS}transformer_blocks.0.attn1.to_q": (2240, 2240)}),
    "HiDream": ("hidream", {f"{COMFY}double_stream_blocks.0.block.attn1.to_q": (2560, 2560)}),
    "AuraFlow": ("auraflow", {f"{DIFFUSERS}joint_transformer_blocks.0.attn.to_q": (3072, 3072)}),
    "AuraFlow, single": ("auraflow", {f"{DIFFUSERS}single_transformer_blocks.0.attn.to_out.0": (3072, 3072)}),
    "CogVideoX": ("cogvideox", {f"{DIFFUSERS}transformer_blocks.0.attn1.to_q": (3072, 3072)}),
    "Mochi": ("mochi", {f"{DIFFUSERS}transformer_blocks.0.attn1.add_q_proj": (3072, 1536)}),
    "Kandinsky 5": ("kandinsky", {f"{DIFFUSERS}visual_transformer_blocks.0.self_attention.to_query": (1792, 1792)}),
    "Stable Cascade": ("cascade", {"lora_prior_unet_down_blocks_0_0_kv_mapper_1": (2048, 2048)}),
    "nobody's": ("transformer", {f"{DIFFUSERS}something.0.of_its_own": (64, 64)}),
    "nothing": ("", {}),
}


@pytest.mark.parametrize("name", FILES)
def test_each_is_told(name: str) -> None:
    """Bug: LTX-Video was told as SDXL, FLUX.2 and HunyuanVideo as FLUX.1, Z-Image as Lumina 2, Cosmos as Wan."""
    family, modules = FILES[name]
    assert transformer_of(modules) == family


def test_what_names_cannot_tell_a_header_may() -> None:
    assert may_be("flux", "chroma")
    assert may_be("transformer", "pixart")
    assert not may_be("flux", "wan")


@pytest.mark.parametrize(
    ("parts", "sides"),
    [
        ({"lora_up": (64, 4), "lora_down": (4, 32)}, (64, 32)),
        ({"lora_up": (64, 4, 1, 1), "lora_down": (4, 32, 3, 3)}, (64, 32)),
        ({"lora_down": (4, 32)}, (0, 32)),
        ({"diff": (64, 32)}, (64, 32)),
        ({"hada_w1_a": (64, 4), "hada_w1_b": (4, 32)}, (64, 32)),
        ({"hada_w1_a": (4, 64), "hada_w1_b": (4, 32), "hada_t1": (4, 4, 3, 3)}, (64, 32)),
        ({"lokr_w1": (4, 2), "lokr_w2_a": (16, 3), "lokr_w2_b": (3, 16)}, (64, 32)),
        ({"lokr_w1": (4, 2), "lokr_w2_a": (3, 16), "lokr_w2_b": (3, 16), "lokr_t2": (3, 3, 3, 3)}, (64, 32)),
        ({"alpha": ()}, (0, 0)),
    ],
)
def test_sides_by_the_parts(parts: dict[str, tuple[int, ...]], sides: Sides) -> None:
    assert sides_of(parts) == sides
