"""Simple things without people, by name."""

from __future__ import annotations

from pretrain.painter.things.animals import paint_bird, paint_butterfly, paint_fish, paint_penguin, paint_whale
from pretrain.painter.things.nature import (
    paint_apple,
    paint_flower,
    paint_heart,
    paint_moon,
    paint_mushroom,
    paint_star,
    paint_strawberry,
    paint_tree,
)
from pretrain.painter.things.objects import (
    paint_balloon,
    paint_car,
    paint_cup,
    paint_cupcake,
    paint_house,
    paint_ice_cream,
    paint_microphone,
    paint_ribbon,
    paint_umbrella,
)

PAINTERS = {
    "bird": paint_bird,
    "penguin": paint_penguin,
    "whale": paint_whale,
    "fish": paint_fish,
    "butterfly": paint_butterfly,
    "apple": paint_apple,
    "strawberry": paint_strawberry,
    "flower": paint_flower,
    "tree": paint_tree,
    "house": paint_house,
    "star": paint_star,
    "heart": paint_heart,
    "moon": paint_moon,
    "mushroom": paint_mushroom,
    "cupcake": paint_cupcake,
    "ice cream": paint_ice_cream,
    "umbrella": paint_umbrella,
    "balloon": paint_balloon,
    "car": paint_car,
    "cup": paint_cup,
    "ribbon": paint_ribbon,
    "microphone": paint_microphone,
}
