"""What the judge is asked about a picture, and the exact answers that the painter's attributes give.

It knows the painter's attributes only, neither pixels nor networks. An answer that the picture does not show (the
colour of closed eyes, any colour in a pencil drawing, a star no larger than the blocks of pixel art) is `UNKNOWN`: the
loss and the figures leave it out.
"""

from __future__ import annotations

from pretrain.painter import (
    ANIMAL_EARS,
    BASE_STYLES,
    CLOTH_COLOURS,
    COLOURLESS_STYLES,
    EYE_COLOURS,
    GIRL_CLOTHES,
    HAIR_COLOURS,
    HELD_OUT_STYLES,
    PATTERNS,
    PLAIN,
    SCENES,
    Portrait,
    Subject,
)

UNKNOWN = -1
NO_YES = ("absent", "present")
TRAITS = (
    "twin braids",
    "silver hair with pink tips",
    "heterochromia red blue",
    "star mark on cheek",
    "yellow crescent hairpin",
    "black idol costume",
)
HEADS: dict[str, tuple[str, ...]] = {
    "kind": ("girl", "boy", "no humans"),
    "ears": ("none", *ANIMAL_EARS),
    "hair": tuple(HAIR_COLOURS),
    "eyes": tuple(EYE_COLOURS),
    "clothes": tuple(GIRL_CLOTHES),
    "clothes colour": tuple(CLOTH_COLOURS),
    "background": (*PLAIN, *PATTERNS, *SCENES, "stage"),
    "style": (*BASE_STYLES, *HELD_OUT_STYLES),
    **dict.fromkeys(TRAITS, NO_YES),
}
LINE_STYLES = ("sketch style", "neon style")  # paper or night behind everything: plain grounds cannot be told apart


def answers(picture: Portrait | Subject) -> dict[str, int]:
    """The index of the right label for every head of HEADS, or UNKNOWN."""
    if isinstance(picture, Subject):
        words = {"kind": "no humans", "ears": "none", "style": picture.style, "background": _background(picture)}
        words |= dict.fromkeys(TRAITS, "absent")
    else:
        words = _portrait_words(picture)
    return {head: labels.index(words[head]) if words.get(head) else UNKNOWN for head, labels in HEADS.items()}


def _portrait_words(a: Portrait) -> dict[str, str]:
    """The right labels of a portrait; a head that cannot be answered has an empty word or none."""
    colours = a.style not in COLOURLESS_STYLES
    eyes_seen = colours and a.eyes != "closed" and a.glasses != "sunglasses"
    black_lines = a.style == "neon style" and a.hair_colour == "black"  # drawn in grey, as silver is
    return {
        "kind": "boy" if a.boy else "girl",
        "ears": a.ears or "none",
        "hair": a.hair_colour if colours and not black_lines else "",
        "eyes": a.eye_colour if eyes_seen and not a.second_eye_colour else "",
        "clothes": a.clothes,
        "clothes colour": a.clothes_colour if colours else "",
        "background": _background(a),
        "style": a.style,
        **_trait_words(a, colours, eyes_seen),
    }


def _trait_words(a: Portrait, colours: bool, eyes_seen: bool) -> dict[str, str]:
    """The six fixed traits of the character; mirrored eyes count as well, since pictures may be mirrored."""
    eyes = {a.eye_colour, a.second_eye_colour}
    crescent, idol = a.hairpin == "crescent hairpin", a.clothes == "idol costume"
    found = {
        "twin braids": (True, a.hair_style == "twin braids"),
        "silver hair with pink tips": (colours, a.hair_colour == "silver" and a.tips_colour == "pink"),
        "heterochromia red blue": (
            eyes_seen and (a.eyes == "open" or not a.second_eye_colour),
            eyes == {"red", "blue"},
        ),
        "star mark on cheek": (colours and a.style != "pixel art style", a.cheek_star),
        "yellow crescent hairpin": (colours or not crescent, crescent and a.hairpin_colour == "yellow"),
        "black idol costume": (colours or not idol, idol and a.clothes_colour == "black"),
    }
    return {trait: NO_YES[there] if seen else "" for trait, (seen, there) in found.items()}


def _background(a: Portrait | Subject) -> str:
    """The background as far as the style shows it."""
    line = a.style in LINE_STYLES
    hidden = a.background in PLAIN and (line or a.style in COLOURLESS_STYLES)
    hidden = hidden or (line and a.background == "gradient background")
    return "" if hidden else a.background
