"""What a picture is asked for. Names are diffusers' argument names; the request is always complete.

Defaults come from the base (`BaseInfo.defaults`), never from habit: whoever builds a request fills it from
there, so that the same request gives the same pixels after any change of defaults.
"""

from __future__ import annotations

from dataclasses import dataclass

from lora_studio.errors import InvalidInput
from lora_studio.types.fields import check, check_text, spec
from lora_studio.types.mix import AdapterWeight

SAMPLERS = ("dpmpp_2m", "dpmpp_2m_karras", "euler", "euler_a", "ddim")
"""Names of the samplers; `parse_sampler` reads A1111's names for them too."""

_A1111_NAMES = {
    "dpmpp_2m": ("DPM++ 2M", None),
    "dpmpp_2m_karras": ("DPM++ 2M", "Karras"),
    "euler": ("Euler", None),
    "euler_a": ("Euler a", None),
    "ddim": ("DDIM", None),
}

_SAMPLER_NAMES = {
    "dpmpp2m": "dpmpp_2m",
    "kdpmpp2m": "dpmpp_2m",
    "dpmsolvermultistep": "dpmpp_2m",
    "euler": "euler",
    "keuler": "euler",
    "eulerdiscrete": "euler",
    "eulera": "euler_a",
    "keulera": "euler_a",
    "eulerancestral": "euler_a",
    "keulerancestral": "euler_a",
    "eulerancestraldiscrete": "euler_a",
    "ddim": "ddim",
}
"""What samplers are called elsewhere (A1111, ComfyUI, InvokeAI, diffusers' classes), in `plain` letters."""

MAX_PROMPT = 10_000

EMPHASES = ("original", "no norm", "comfy", "compel")
"""How the weights of words act on their embeddings (`lora_studio.pipeline.emphasis` has the formulas): A1111's rule,
the same without restoring the mean, ComfyUI's, compel's. `comfy` also reads the brackets as ComfyUI does."""


def check_texts(prompt: str, negative: str) -> None:
    """Refuses texts that no prompt may be.

    Raises:
        InvalidInput: one of them has more than `MAX_PROMPT` characters, or half a character, which no file can hold.
    """
    for label, text in (("prompt", prompt), ("negative_prompt", negative)):
        check_text(text, label)
        if len(text) > MAX_PROMPT:
            raise InvalidInput(
                f"{label} has {len(text)} characters; at most {MAX_PROMPT} are allowed; shorten it.",
                code="prompt_too_long",
                field=label,
                given=str(len(text)),
                allowed=str(MAX_PROMPT),
            )


def plain(name: str) -> str:
    """Letters and digits of a sampler's name in small, `++` as pp."""
    return "".join(c for c in name.casefold().replace("++", "pp") if c.isalnum())


def known_sampler(name: str) -> str | None:
    """Our name of a sampler in any program's words, without the spacing of its steps; None for one that is not here."""
    return _SAMPLER_NAMES.get(plain(name))


def parse_sampler(name: str) -> str:
    """Our name of a sampler written in any case, in our words or A1111's.

    `DPM++ 2M Karras`, `dpm++_2m`, `Euler A`, `k_euler` are understood; anything else raises `InvalidInput`.
    """
    found = "dpmpp_2m_karras" if plain(name) == plain("dpmpp_2m_karras") else known_sampler(name)
    if found is None:
        raise InvalidInput(
            f"The sampler {name!r} is not known; allowed are {', '.join(SAMPLERS)} and A1111's names for them; "
            "choose one of these.",
            code="sampler_unknown",
            given=name,
            allowed=", ".join(SAMPLERS),
        )
    return found


def a1111_sampler(name: str) -> tuple[str, str | None]:
    """A1111's `Sampler` and `Schedule type` (None where it is Automatic) for one of `SAMPLERS`."""
    return _A1111_NAMES[name]


@dataclass(frozen=True)
class EmbeddingUse:
    """A textual-inversion embedding that the texts may name: the name as it stands in them, its file's sha256."""

    name: str
    sha256: str

    def __post_init__(self) -> None:
        check_text(self.name, "embeddings")
        check_text(self.sha256, "embeddings")


@dataclass(frozen=True)
class GenerateRequest:
    """Everything that decides the pixels.

    Picture i of `num_images` is made from `seed + i`, always from pure noise: `init_image`, `mask` (sha256 of stored
    pictures) and `strength` keep the layout of requests complete, and a job refuses a request that has a picture.
    `adapters` and `embeddings` are the whole truth about which files act: a `<lora:...>` tag in the text is taken out
    and does nothing of itself.
    """

    prompt: str = spec(doc="What you want to see.")
    width: int = spec(doc="Width of the picture.", minimum=16, maximum=4096, unit="pixels")
    height: int = spec(doc="Height of the picture.", minimum=16, maximum=4096, unit="pixels")
    num_inference_steps: int = spec(doc="Denoising steps: more is slower and a little finer.", minimum=1, maximum=1000)
    guidance_scale: float = spec(
        doc="How closely the picture follows the words (CFG); 1 turns guidance off.", minimum=1, maximum=100
    )
    sampler: str = spec(doc="The rule by which noise becomes a picture.", choices=SAMPLERS, advanced=True)
    seed: int = spec(
        doc="The number the noise grows from; the same seed gives the same picture.", minimum=0, maximum=2**53 - 1
    )
    negative_prompt: str = spec("", doc="Things to avoid.")
    num_images: int = spec(1, doc="How many pictures; picture i uses seed + i.", minimum=1, maximum=1000)
    adapters: tuple[AdapterWeight, ...] = ()
    styles: tuple[str, ...] = ()
    """Names of styles to put around the words; whoever completes the request does so and leaves none."""
    base: str = ""
    """sha256 of the base's weights that the request was made for; empty means whichever is loaded."""
    init_image: str | None = None
    mask: str | None = None
    strength: float = spec(
        1.0, doc="Without effect: pictures begin from noise alone.", minimum=0, maximum=1, advanced=True
    )
    embeddings: tuple[EmbeddingUse, ...] = ()
    clip_skip: int = spec(
        1,
        doc="Which layer of the text encoder is read, from its end: 1 is the last, 2 the one before it.",
        minimum=1,
        maximum=12,
        advanced=True,
    )
    emphasis: str = spec(
        "original", doc="How weights in brackets, like (red:1.3), act on the words.", choices=EMPHASES, advanced=True
    )
    pad_prompts: bool = spec(
        False, doc="Fill the shorter of prompt and negative prompt up to the longer with empty words.", advanced=True
    )
    old_scheduling: bool = spec(
        False, doc="Count the steps of [from:to:when] as A1111 did before version 1.6.", advanced=True
    )
    dynamic: bool = spec(
        False,
        doc="Draw one of {red|blue} and a line of the wildcard __name__ by the seed, when the job is sent.",
        advanced=True,
    )
    """Whoever completes the request does so, and leaves the drawn text and False."""
    guidance_rescale: float = spec(
        0.0,
        doc="How much of the contrast that guidance adds is taken back, 0 to 1; strong or many LoRAs then burn less.",
        minimum=0,
        maximum=1,
        advanced=True,
    )
    """Lin et al. 2023 (arXiv 2305.08891), section 3.4. Old requests do not have it, so 0 where it is left out."""

    def __post_init__(self) -> None:
        check(self)
        check_texts(self.prompt, self.negative_prompt)
        named = (("base", self.base), ("init_image", self.init_image), ("mask", self.mask))
        for name, text in (*named, *(("styles", style) for style in self.styles)):
            if text is not None:
                check_text(text, name)
        if not self.prompt.strip():
            raise InvalidInput(
                f"The prompt was given as {self.prompt!r}; write at least one word of what you want to see.",
                code="prompt_empty",
                given=self.prompt,
            )
