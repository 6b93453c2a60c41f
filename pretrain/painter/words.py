"""The tables of words and colours that portraits are made of."""

from __future__ import annotations

from pretrain.painter.colours import Colour

HAIR_COLOURS: dict[str, Colour] = {
    "black": (42, 38, 52),
    "brown": (104, 62, 40),
    "light brown": (190, 140, 92),
    "blonde": (248, 218, 112),
    "red": (200, 48, 48),
    "orange": (240, 132, 50),
    "pink": (246, 148, 186),
    "purple": (142, 94, 200),
    "blue": (70, 118, 222),
    "aqua": (96, 214, 218),
    "green": (84, 178, 106),
    "silver": (168, 176, 196),
    "white": (240, 240, 246),
}
EYE_COLOURS: dict[str, Colour] = {
    "blue": (46, 116, 232),
    "green": (46, 166, 88),
    "brown": (128, 76, 42),
    "red": (212, 40, 52),
    "purple": (138, 70, 206),
    "yellow": (236, 180, 32),
    "aqua": (40, 190, 200),
    "pink": (236, 96, 150),
}
SKINS: dict[str, Colour] = {
    "pale skin": (255, 238, 228),
    "light skin": (254, 220, 196),
    "tan skin": (226, 170, 126),
    "dark skin": (152, 100, 70),
}
CLOTH_COLOURS: dict[str, Colour] = {
    "red": (212, 56, 60),
    "blue": (66, 106, 204),
    "green": (70, 154, 98),
    "yellow": (244, 204, 76),
    "white": (244, 244, 250),
    "black": (54, 52, 64),
    "pink": (246, 150, 184),
    "purple": (142, 96, 196),
    "aqua": (110, 212, 214),
}
HAIR_STYLES = (
    "long hair",
    "short hair",
    "bob cut",
    "twintails",
    "ponytail",
    "twin braids",
    "single braid",
    "double bun",
    "wavy hair",
    "curly hair",
)
HAIR_WEIGHTS = (0.20, 0.10, 0.12, 0.12, 0.09, 0.08, 0.10, 0.06, 0.08, 0.05)
STYLES_WITH_INNER_HAIR = ("long hair", "wavy hair", "bob cut", "single braid")
STYLES_WITH_TIPS = ("long hair", "wavy hair", "twintails", "ponytail")
BANGS = ("blunt bangs", "swept bangs", "parted bangs", "messy bangs")
MOUTHS = ("smile", "open mouth", "frown", "closed mouth", "surprised", "wavy mouth", "tongue out")
MOUTH_WEIGHTS = (0.28, 0.26, 0.10, 0.14, 0.08, 0.07, 0.07)
GIRL_CLOTHES = (
    "school uniform",
    "sailor collar",
    "t-shirt",
    "hoodie",
    "dress",
    "sweater",
    "kimono",
    "collared shirt",
    "overalls",
    "idol costume",
    "maid outfit",
    "off shoulders",
)
GIRL_CLOTHES_WEIGHTS = (0.09, 0.08, 0.07, 0.08, 0.09, 0.08, 0.08, 0.07, 0.07, 0.15, 0.07, 0.07)
CLOSE_UP_CLOTHES = (
    "school uniform",
    "sailor collar",
    "t-shirt",
    "hoodie",
    "sweater",
    "kimono",
    "collared shirt",
)
BARE_ARMS = ("t-shirt", "sailor collar", "dress", "overalls", "idol costume", "maid outfit", "off shoulders")
BOY_CLOTHES = ("school uniform", "t-shirt", "hoodie", "sweater", "kimono", "collared shirt", "overalls")
ACCESSORIES = (
    "hair bow",
    "hair flower",
    "headphones",
    "beret",
    "hairband",
    "straw hat",
    "hair clip",
    "crown",
)
BOY_ACCESSORIES = ("headphones", "beret", "straw hat")
HATS = ("beret", "straw hat", "headphones", "crown", "hairband")
COLOURED_ACCESSORIES = ("hair bow", "hair flower", "headphones", "beret", "hairband")
FRAMINGS = ("portrait", "close-up", "upper body", "cowboy shot")
FRAMING_WEIGHTS = (0.46, 0.18, 0.20, 0.16)
FRILLED_CLOTHES = ("idol costume", "maid outfit")
ANIMAL_EARS = ("cat ears", "fox ears", "bunny ears")  # never in the base set
