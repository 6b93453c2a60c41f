"""ComfyUI's graph (the chunk `prompt`: node id -> class and inputs), read as well as a graph of many makers can be.

From the sampler everything is found by following the links: `positive` and `negative` to the nodes that encode text,
`model` through the LoRA loaders to the checkpoint, `latent_image` to the size. A node whose class is not known is
passed through by the input that carries the same kind of thing. The layout is that of ComfyUI's API format
(https://docs.comfy.org/development/core-concepts/workflow; node inputs as in its `nodes.py`).

It does not run anything: values that nodes compute are not known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lora_studio.prompt.readers.reading import Draft, NamedFile, Reading, names, number, stem, valid, weight
from lora_studio.prompt.readers.samplers import take_sampler

Node = Mapping[str, Any]

_DEEP = 200
"""Nodes in a row that are followed at most."""

_SCALARS = (
    "value",
    "Value",
    "int",
    "float",
    "number",
    "seed",
    "noise_seed",
    "text",
    "string",
    "String",
    "string_field",
)
_TEXTS = (
    "text",
    "text_g",
    "text_l",
    "text1",
    "text2",
    "text_a",
    "text_b",
    "string_a",
    "string_b",
    "string1",
    "string2",
)
_JOINS = {"ConditioningCombine": " AND ", "ConditioningConcat": " BREAK "}
_CARRIES = {
    "model": ("model", "model1", "base_model", "MODEL"),
    "clip": ("clip", "clip1", "CLIP"),
    "conditioning": ("conditioning", "conditioning_1", "conditioning_to", "base_positive"),
    "latent": ("samples", "latent", "latent_image", "pixels"),
}


def is_graph(data: Any) -> bool:
    """True for a table of nodes."""
    return isinstance(data, dict) and any(isinstance(node, dict) and "class_type" in node for node in data.values())


class Graph:
    """The nodes by id, and following links between them without ever going round."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.nodes: dict[str, Node] = {
            str(key): node
            for key, node in data.items()
            if isinstance(node, dict)
            and isinstance(node.get("inputs"), dict)
            and isinstance(node.get("class_type"), str)
        }
        self.unknown: list[str] = []

    def node(self, link: Any) -> Node | None:
        """The node that a link comes from; None where the value is none."""
        if isinstance(link, list) and len(link) == 2 and isinstance(link[0], str | int):
            return self.nodes.get(str(link[0]))
        return None

    def scalar(self, value: Any) -> Any:
        """A number or text, looked for behind links through nodes that hold one value."""
        for _ in range(_DEEP):
            node = self.node(value)
            if node is None:
                return None if isinstance(value, list | dict) else value
            inputs = node["inputs"]
            value = next((inputs[key] for key in _SCALARS if key in inputs), None)
        return None

    def chain(self, value: Any, kind: str) -> Iterator[Node]:
        """The nodes from a link back to where its thing comes from, each once."""
        seen: set[int] = set()
        for _ in range(_DEEP):
            node = self.node(value)
            if node is None or id(node) in seen:
                return
            seen.add(id(node))
            yield node
            value = next((node["inputs"][key] for key in _CARRIES[kind] if key in node["inputs"]), None)

    def text(self, value: Any, depth: int = 0) -> str:
        """The words behind a link to a text, joined where a node joins several."""
        node = self.node(value)
        if node is None:
            return value if isinstance(value, str) else ""
        if depth > 20:
            return ""
        inputs = node["inputs"]
        parts = [self.text(inputs[key], depth + 1) for key in (*_TEXTS, *_SCALARS) if key in inputs]
        unique = list(dict.fromkeys(part for part in parts if part))
        joint = inputs.get("delimiter", ", ")
        return (joint if isinstance(joint, str) else ", ").join(unique)

    def words(self, value: Any, side: str, depth: int = 0) -> str:
        """The prompt behind a link to a conditioning; `side` (positive, negative) is what some nodes have both of."""
        node = self.node(value)
        if node is None or depth > 40:
            return ""
        inputs, kind = node["inputs"], node["class_type"]
        if any(key in inputs for key in _TEXTS) and not any(key in inputs for key in _CARRIES["conditioning"]):
            return self.text([str(value[0]), 0])
        if kind in _JOINS:
            linked = [self.words(link, side, depth + 1) for link in inputs.values() if self.node(link)]
            return _JOINS[kind].join(words for words in linked if words)
        for key in (*_CARRIES["conditioning"], side):
            if self.node(inputs.get(key)):
                return self.words(inputs[key], side, depth + 1)
        if "clip" not in inputs and kind != "ConditioningZeroOut":
            self.unknown.append(kind)
        return ""


def read_comfyui(data: Any) -> Reading:
    """What a graph asks for. Never raises; an empty reading where there is no sampler."""
    graph = Graph(data if isinstance(data, dict) else {})
    draft = Draft()
    samplers = [node for node in graph.nodes.values() if _is_sampler(node)]
    if not samplers:
        draft.remark("damaged", what="prompt")
        return Reading(remarks=tuple(draft.remarks))
    first = next((node for node in samplers if _empty_latent(graph, node)), samplers[0])
    if len(samplers) > 1:
        draft.remark("several_samplers", count=len(samplers))
    inputs = _gathered(graph, first)
    prompt, negative = (valid(graph.words(inputs.get(side), side)) for side in ("positive", "negative"))
    for name, keys in (
        ("seed", ("seed", "noise_seed")),
        ("num_inference_steps", ("steps",)),
        ("guidance_scale", ("cfg", "guidance")),
    ):
        draft.take(name, next((graph.scalar(inputs[key]) for key in keys if key in inputs), None))
    take_sampler(draft, graph.scalar(inputs.get("sampler_name")), graph.scalar(inputs.get("scheduler")))
    _size(graph, draft, inputs)
    _skip(graph, draft, inputs)
    model, adapters = _models(graph, inputs.get("model"))
    nodes = [node for node in graph.chain(inputs.get("model"), "model") if node["class_type"] == "RescaleCFG"]
    draft.rescale(graph.scalar(nodes[0]["inputs"].get("multiplier")) if nodes else None)
    draft.settings["emphasis"] = "comfy"
    if graph.unknown:
        draft.remark("graph", names=names(graph.unknown))
    return Reading(
        program="comfyui",
        prompt=prompt,
        negative=negative,
        settings=draft.settings,
        adapters=adapters,
        model=model,
        fields={str(key): node["class_type"] for key, node in graph.nodes.items()},
        remarks=tuple(draft.remarks),
    )


def _is_sampler(node: Node) -> bool:
    """True for ComfyUI's own samplers and for nodes that look like them."""
    inputs = node["inputs"]
    return ("positive" in inputs and "negative" in inputs and "steps" in inputs) or (
        node["class_type"].startswith("SamplerCustom")
    )


def _gathered(graph: Graph, sampler: Node) -> dict[str, Any]:
    """The sampler's inputs, with those of the parts that SamplerCustomAdvanced is put together from."""
    inputs = dict(sampler["inputs"])
    for part in ("noise", "guider", "sampler", "sigmas"):
        node = graph.node(inputs.get(part))
        for key, value in (node["inputs"] if node else {}).items():
            inputs.setdefault("positive" if part == "guider" and key == "conditioning" else key, value)
    return inputs


def _empty_latent(graph: Graph, sampler: Node) -> bool:
    """True where the sampler begins from nothing, not from what another one made."""
    for node in graph.chain(sampler["inputs"].get("latent_image"), "latent"):
        if "Empty" in node["class_type"] or _is_sampler(node):
            return not _is_sampler(node)
    return False


def _size(graph: Graph, draft: Draft, inputs: Mapping[str, Any]) -> None:
    """Width and height of the empty latent; a picture to begin from is remarked on."""
    for node in graph.chain(inputs.get("latent_image"), "latent"):
        if "width" in node["inputs"] and "height" in node["inputs"]:
            draft.take("width", graph.scalar(node["inputs"]["width"]))
            draft.take("height", graph.scalar(node["inputs"]["height"]))
        if node["class_type"] in ("VAEEncode", "VAEEncodeForInpaint", "LoadImage"):
            draft.remark("first_picture")
            return


def _skip(graph: Graph, draft: Draft, inputs: Mapping[str, Any]) -> None:
    """ComfyUI counts layers of the text encoder from -1, the last."""
    for encoder in graph.chain(inputs.get("positive"), "conditioning"):
        for node in graph.chain(encoder["inputs"].get("clip"), "clip"):
            layer = number(graph.scalar(node["inputs"].get("stop_at_clip_layer")))
            if layer is not None:
                draft.take("clip_skip", abs(layer))
                return


def _models(graph: Graph, link: Any) -> tuple[NamedFile | None, tuple[NamedFile, ...]]:
    """The checkpoint and the LoRAs between it and the sampler, the one next to the checkpoint first."""
    adapters: list[NamedFile] = []
    model: NamedFile | None = None
    for node in graph.chain(link, "model"):
        inputs = node["inputs"]
        here = []
        if "lora_name" in inputs:
            name = stem(graph.scalar(inputs["lora_name"]))
            unet = weight(graph.scalar(inputs.get("strength_model", inputs.get("strength"))))
            te = weight(graph.scalar(inputs.get("strength_clip")), unet)
            if node["class_type"] == "LoraLoaderModelOnly":
                te = 0.0
            here.append(NamedFile(name, "", unet, None if te == unet else te))
        for value in inputs.values():  # stacks of LoRAs keep each in a table
            if isinstance(value, dict) and isinstance(value.get("lora"), str) and value.get("on", True):
                here.append(NamedFile(stem(value["lora"]), "", weight(value.get("strength"))))
        adapters += reversed([one for one in here if one.name and one.name != "None"])
        checkpoint = next((inputs[key] for key in ("ckpt_name", "unet_name", "model_name") if key in inputs), None)
        if checkpoint is not None and model is None:
            model = NamedFile(stem(graph.scalar(checkpoint)))
    return model, tuple(reversed(adapters))
