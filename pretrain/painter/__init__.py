"""Own-drawn chibi portraits and things with exact captions. All is drawn by this code, nothing by others.

`sample_portrait` chooses attributes, `render` draws them, `caption` says what is there; `held_out` has what LoRAs
teach. The same seed gives the same pixels. Needs `skia-python`.
"""

from pretrain.painter.attributes import Portrait, choose_lights, other_colour, pick, sample_portrait, wears_headdress
from pretrain.painter.captions import caption, count_tokens, portrait_tags
from pretrain.painter.held_out import (
    CHARACTER,
    HELD_OUT_WORDS,
    IDENTITY_TAGS,
    Item,
    character_item,
    draw,
    ears_item,
    named_character,
    style_item,
    with_ears,
    without_ear_tags,
    without_ears,
    without_identity,
)
from pretrain.painter.places import PATTERNS, PLAIN, SCENES, STAGE_LIGHTS
from pretrain.painter.portrait import render
from pretrain.painter.sets import base_item
from pretrain.painter.styles import BASE_STYLES, COLOURLESS_STYLES, FAULTS, HELD_OUT_STYLES
from pretrain.painter.subjects import Subject, render_subject, sample_subject, subject_caption
from pretrain.painter.things import PAINTERS
from pretrain.painter.words import (
    ACCESSORIES,
    ANIMAL_EARS,
    BANGS,
    CLOTH_COLOURS,
    EYE_COLOURS,
    FRAMINGS,
    GIRL_CLOTHES,
    HAIR_COLOURS,
    HAIR_STYLES,
    HATS,
    MOUTHS,
    STYLES_WITH_TIPS,
)

THINGS = tuple(PAINTERS)

__all__ = [
    "ACCESSORIES",
    "ANIMAL_EARS",
    "BANGS",
    "BASE_STYLES",
    "CHARACTER",
    "CLOTH_COLOURS",
    "COLOURLESS_STYLES",
    "EYE_COLOURS",
    "FAULTS",
    "FRAMINGS",
    "GIRL_CLOTHES",
    "HAIR_COLOURS",
    "HAIR_STYLES",
    "HATS",
    "HELD_OUT_STYLES",
    "HELD_OUT_WORDS",
    "IDENTITY_TAGS",
    "MOUTHS",
    "PATTERNS",
    "PLAIN",
    "SCENES",
    "STAGE_LIGHTS",
    "STYLES_WITH_TIPS",
    "THINGS",
    "Item",
    "Portrait",
    "Subject",
    "base_item",
    "caption",
    "character_item",
    "choose_lights",
    "count_tokens",
    "draw",
    "ears_item",
    "named_character",
    "other_colour",
    "pick",
    "portrait_tags",
    "render",
    "render_subject",
    "sample_portrait",
    "sample_subject",
    "style_item",
    "subject_caption",
    "wears_headdress",
    "with_ears",
    "without_ear_tags",
    "without_ears",
    "without_identity",
]
