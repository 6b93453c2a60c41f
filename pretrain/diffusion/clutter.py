"""Long prompts as people write them: the tags among words that nobody taught, some in weights, over several chunks.

Captions are short and say nothing but what is there. A prompt of daily use has a hundred words more (praise, body
parts, camera, things to avoid) that the base cannot know, weights from 0.6 to 1.5, and runs over several chunks of 75
tokens. A base that never saw such a conditioning paints it as noise. Here it learns to find its own words in it, and
that words alone that mean nothing to it are no words at all.

Chunks and weights are AUTOMATIC1111's (stable-diffusion-webui v1.10.1, modules/sd_hijack_clip.py and sd_emphasis.py):
each chunk has its own begin and end, z' = w z · mean(z) / mean(w z). It does not know pictures or models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pretrain.diffusion.captions import TagTokens
from pretrain.recipe import Captions

_PRAISE = """best illustration; very aesthetic; absurdres; highres; 8k wallpaper; extremely detailed; ultra high
res; award winning; official art; beautiful; perfect lighting; intricate; sharp focus; professional;
trending; photorealistic; hdr; unreal engine; octane render; cinematic lighting; volumetric light;
ray tracing; film grain; vivid colors; rim light; soft shadows; glow; sparkle; light particles; lens
flare; bokeh; depth of field; chromatic aberration; god rays; fantasy"""
_BODY = """medium chest; slender; petite; collarbone; bare legs; knees; fingers; fingernails; long eyelashes;
eyelashes; glossy lips; nose; teeth; fangs; ahoge; sidelocks; hair between eyes; inner hair;
gradient hair; floating hair; head tilt; thigh strap; thighhighs; pantyhose; garter; socks; boots;
gloves; sleeves; belt; pocket; zipper; buttons; lace; cape; armor; jewelry; earrings; necklace;
bracelet; ring; watch; headphones; wings; tail; halo; horns; tattoo; freckles; tears"""
_VIEW = """cowboy shot; from above; from below; from side; close up; full body; wide shot; dynamic angle; dutch
angle; looking at viewer; looking back; looking down; arms up; hands on hips; crossed arms; peace
sign; sitting; standing; lying; running; jumping; dancing; singing; waving; pov; fisheye; motion
blur; silhouette; backlight; scenery; crowd; audience; lasers; spotlight; fireworks; lanterns;
petals; feathers; bubbles; smoke; water drops; reflection; shadow; mist; castle"""
_AVOIDED = """nsfw; text; watermark; signature; username; logo; cropped; out of frame; jpeg artifacts; error;
duplicate; mutation; mutated; deformed; disfigured; ugly; gross proportions; bad anatomy; bad hands;
bad feet; bad proportions; extra limbs; extra arms; extra legs; extra digit; extra fingers; fewer
digits; missing arms; missing fingers; fused fingers; too many fingers; strange eyes; cross eyed;
poorly drawn; poorly drawn face; cloned face; long neck; large head; malformed limbs; normal
quality; monster; pregnant; multiple views; comic panel; 3d; realistic; sepia; overexposed"""
STRAY = tuple(
    dict.fromkeys(
        " ".join(word.split())
        for group in (_PRAISE, _BODY, _VIEW, _AVOIDED)
        for word in group.split(";")
        if word.strip()
    )
)
"""Words of daily use that stand for nothing in the painter's pictures. Those of what LoRAs teach are not among them."""
_SYLLABLES = "ba ce di fo gu ha ji ko lu me ni po qua ri so tu ve wi xa yo ze bra cle dro fli gra kla pre sta tri"


def stray_words(known: Sequence[str], count: int = 150) -> list[str]:
    """`STRAY`, and `count` words of syllables that are no words; none of them is a tag of `known`."""
    rng = np.random.default_rng(0)
    made = [
        " ".join("".join(rng.choice(_SYLLABLES.split(), rng.integers(1, 5))) for _ in range(rng.integers(1, 3)))
        for _ in range(count)
    ]
    taken = set(known)
    return [word for word in dict.fromkeys([*STRAY, *made]) if word not in taken]


@dataclass(frozen=True)
class Chunks:
    """One long prompt: tokens and their weights, both (chunks, length)."""

    ids: list[list[int]]
    weights: list[list[float]]


def chunk_count(rng: np.random.Generator, recipe: Captions) -> int:
    """In how many chunks the prompts of a step are read; 0 where they are plain captions."""
    return int(rng.integers(1, recipe.chunks + 1)) if rng.random() < recipe.long else 0


def long_prompt(
    tags: Sequence[str],
    strays: Sequence[str],
    chunks: int,
    tokens: TagTokens,
    rng: np.random.Generator,
    recipe: Captions,
) -> Chunks:
    """The tags in their order with stray words between, as many as fit in; half of those without a tag stay empty."""
    room = tokens.room * chunks
    own = sum(tokens.count(tag) + 1 for tag in tags)
    wanted = rng.uniform(0.2, 1.0) * room if tags or rng.random() < 0.5 else 0.0
    chosen: list[str] = []
    while strays:
        word = strays[int(rng.integers(len(strays)))]
        own += tokens.count(word) + 1
        # A tag is never divided, so a chunk may end early.
        if own > min(wanted, room - 6 * (chunks - 1)):
            break
        chosen.append(word)
    places = set(rng.permutation(len(tags) + len(chosen))[: len(chosen)].tolist())
    mine, others = iter(tags), iter(chosen)
    words = [next(others) if place in places else next(mine) for place in range(len(tags) + len(chosen))]
    return _laid_out([(word, _weight(rng, recipe)) for word in words], chunks, tokens)


def _weight(rng: np.random.Generator, recipe: Captions) -> float:
    if rng.random() >= recipe.weighted:
        return 1.0
    return float(rng.uniform(0.6, 0.95) if rng.random() < 0.15 else rng.uniform(1.05, recipe.heaviest))


def _laid_out(words: Sequence[tuple[str, float]], chunks: int, tokens: TagTokens) -> Chunks:
    """Word after word with commas between, each whole in one chunk; what does not fit in the last chunk is left out."""
    filled: list[tuple[list[int], list[float]]] = [([], [])]
    for word, weight in words:
        ids = tokens.tag(word)
        if len(filled[-1][0]) + len(ids) + 1 > tokens.room:
            if len(filled) == chunks:
                break
            filled.append(([], []))
        filled[-1][0].extend([*ids, *tokens.tag(",")])
        filled[-1][1].extend([weight] * len(ids) + [1.0])
    filled += [([], []) for _ in range(chunks - len(filled))]
    rows = [tokens.framed(ids) for ids, _ in filled]
    weights = [[1.0, *given, *[1.0] * (tokens.length - 1 - len(given))] for _, given in filled]
    return Chunks(rows, weights)


def weighted(states: Tensor, weights: Tensor) -> Tensor:
    """states (n, length, width) of chunks times the weights (n, length) of their tokens, each chunk's mean restored.

    Where that would change a chunk more than fourfold, its mean being next to 0, it is left weighted.
    """
    heavy = states * weights[..., None]
    ratio = (states.mean((1, 2)) / heavy.mean((1, 2))).detach()
    usable = ratio.isfinite() & (ratio > 0.25) & (ratio < 4)
    return heavy * torch.where(usable, ratio, torch.ones_like(ratio))[:, None, None]
