"""ComfyUI's graph (the chunk `prompt`: node id -> class and inputs), read as well as a graph of many makers can be.

From the sampler everything is found by following the links: `positive` and `negative` to the nodes that encode text,
`model` through the LoRA loaders to the checkpoint, `latent_image` to the size. A node whose class is not known is
passed through by the input that carries the same kind of thing. The layout is that of ComfyUI's API format
(https://docs.comfy.org/development/core-concepts/workflow; node inputs as in its `nodes.py`).

ConditioningCombine averages what several texts predict (`calc_cond_batch` in ComfyUI's `comfy/samplers.py`); the same
comes of AND with weights that come to 1, on the positive side. Other ways of joining texts are one text here, and it is
said. `embedding:name` in a text is that embedding's name here.

It does not run anything: values that nodes compute are not known.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from lora_studio.prompt.readers.reading import Draft, NamedFile, Reading, acts_here, names, number, stem, valid, weight
from lora_studio.prompt.readers.samplers import take_sampler

Node = Mapping[str, Any]

_DEEP = 200
"""Nodes in a row that are followed at most."""

_NESTED = 100
"""Nodes of texts in a row: these are followed by calls within calls."""

_ROOM = 1_000_000
"""Characters that texts joined from others may have together; twenty nodes that each join one text twice have more."""

_EMBEDDING = re.compile(r"(?<!\w)embedding:([^\s,():]*[^\s,():.])")
"""ComfyUI takes the name up to the next blank or comma (`comfy/sd1_clip.py`), brackets and weight being gone."""

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
_COMBINE, _CONCAT = "ConditioningCombine", "ConditioningConcat"
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
    """The nodes by id, and following links between them without ever going round or the same way twice.

    Attributes:
        unknown: classes of nodes that were met on the way to a text and are not known.
        joined: texts were put one behind the other that ComfyUI keeps apart.
        too_long: characters of a text that was left out because of `_ROOM`; 0 without one.
    """

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.nodes: dict[str, Node] = {
            str(key): node
            for key, node in data.items()
            if isinstance(node, dict)
            and isinstance(node.get("inputs"), dict)
            and isinstance(node.get("class_type"), str)
        }
        self.unknown: list[str] = []
        self.joined = False
        self.too_long = 0
        self._room = _ROOM
        self._texts: dict[str, str] = {}
        self._words: dict[tuple[str, str], tuple[str, ...]] = {}

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
        """The words behind a link to a text, joined where a node joins several; each node is read once."""
        node = self.node(value)
        if node is None:
            return value if isinstance(value, str) else ""
        name = str(value[0])
        if name not in self._texts and depth <= _NESTED:
            self._texts[name] = ""  # what a node that leads back to itself finds there
            inputs = node["inputs"]
            parts = [self.text(inputs[key], depth + 1) for key in (*_TEXTS, *_SCALARS) if key in inputs]
            joint = inputs.get("delimiter", ", ")
            self._texts[name] = self._join(joint if isinstance(joint, str) else ", ", parts)
        return self._texts.get(name, "")

    def words(self, value: Any, side: str, depth: int = 0) -> tuple[str, ...]:
        """The texts behind a link to a conditioning, whose predictions ComfyUI averages.

        Args:
            value: the link.
            side: positive or negative, which some nodes have both of.
        """
        node = self.node(value)
        if node is None:
            return ()
        name = (str(value[0]), side)
        if name not in self._words and depth <= _NESTED:
            self._words[name] = ()
            self._words[name] = self._words_of(value, node, side, depth)
        return self._words.get(name, ())

    def _words_of(self, link: Any, node: Node, side: str, depth: int) -> tuple[str, ...]:
        """The texts of one node."""
        inputs, kind = node["inputs"], node["class_type"]
        if any(key in inputs for key in _TEXTS) and not any(key in inputs for key in _CARRIES["conditioning"]):
            text = self.text([str(link[0]), 0])
            return (text,) if text else ()
        if kind in (_COMBINE, _CONCAT):
            linked = (text for one in inputs.values() for text in self.words(one, side, depth + 1))
            found = tuple(islice(linked, _DEEP + 1))
            if len(found) > _DEEP:
                self.unknown.append(kind)
                return ()
            return found if kind == _COMBINE else tuple(filter(None, [self.one_text(found)]))
        for key in (*_CARRIES["conditioning"], side):
            if self.node(inputs.get(key)):
                return self.words(inputs[key], side, depth + 1)
        if "clip" not in inputs and kind != "ConditioningZeroOut":
            self.unknown.append(kind)
        return ()

    def one_text(self, texts: Sequence[str]) -> str:
        """Texts that ComfyUI keeps apart, one behind the other."""
        self.joined = self.joined or len(set(texts)) > 1
        return self._join(",\n" if any("#" in text for text in texts) else ", ", texts)

    def prompt(self, value: Any, side: str) -> str:
        """The prompt behind a link to a conditioning, in the language that is read here."""
        texts = self.words(value, side)
        shares = Counter(texts)
        if side == "negative" or len(shares) < 2:
            return self.one_text(texts)
        # A comment lasts to the end of its line, and must not take the weight away.
        weighed = [text + ("\n:" if "#" in text else " :") + f"{n / len(texts):.4g}" for text, n in shares.items()]
        return self._join(" AND ", weighed)

    def _join(self, joint: str, parts: Sequence[str]) -> str:
        """The parts in a row, each different one once; nothing where there is no room for them."""
        unique = list(dict.fromkeys(part for part in parts if part))
        if len(unique) < 2:
            return "".join(unique)
        length = sum(len(part) + len(joint) for part in unique)
        if length > self._room:
            self.too_long = max(self.too_long, length)
            return ""
        self._room -= length
        return joint.join(unique)


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
    said = {side: valid(graph.prompt(inputs.get(side), side)) for side in ("positive", "negative")}
    acts = any(
        acts_here(text, negative=side == "negative", reading="comfy")
        for side in said
        for text in graph.words(inputs.get(side), side)
    )
    (prompt, first_names), (negative, more_names) = (_named(text) for text in said.values())
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
    draft.take("guidance_rescale", graph.scalar(nodes[0]["inputs"].get("multiplier")) if nodes else None)
    draft.close(bool(prompt or adapters), "comfy")
    _remarks(draft, graph, acts)
    return Reading(
        program="comfyui",
        prompt=prompt,
        negative=negative,
        settings=draft.settings,
        adapters=adapters,
        embeddings=tuple(NamedFile(name) for name in dict.fromkeys((*first_names, *more_names))),
        model=model,
        fields={str(key): node["class_type"] for key, node in graph.nodes.items()},
        remarks=tuple(draft.remarks),
    )


def _remarks(draft: Draft, graph: Graph, acts: bool) -> None:
    """What of the words is not as it was."""
    if acts:
        draft.remark("prompt_acts", program="ComfyUI")
    if graph.joined:
        draft.remark("texts_joined")
    if graph.too_long:
        draft.remark("too_long", given=graph.too_long, allowed=_ROOM)
    if graph.unknown:
        draft.remark("graph", names=names(graph.unknown))


def _named(text: str) -> tuple[str, list[str]]:
    """The text with embeddings called by their names alone, as prompts here call them, and these names."""
    found: list[str] = []

    def plain(match: re.Match[str]) -> str:
        name = stem(match[1])
        found.extend([name] if name else [])
        return name or match[0]

    return _EMBEDDING.sub(plain, text), found


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
