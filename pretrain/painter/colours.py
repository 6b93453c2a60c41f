"""Colours and how they are mixed. A colour is (red, green, blue), each 0 to 255."""

from __future__ import annotations

Colour = tuple[int, int, int]


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """Colour a with the given share of colour b."""
    red, green, blue = (round(x * (1 - share) + y * share) for x, y in zip(a, b, strict=True))
    return red, green, blue


def dark(colour: Colour, share: float = 0.3) -> Colour:
    """A darker, slightly purple tone of a colour."""
    return mix(colour, (34, 16, 44), share)


def light(colour: Colour, share: float = 0.4) -> Colour:
    """A lighter tone of a colour."""
    return mix(colour, (255, 255, 255), share)


def vivid(colour: Colour, factor: float) -> Colour:
    """The colour with its saturation multiplied."""
    grey = sum(colour) / 3
    red, green, blue = (int(max(0, min(255, grey + (x - grey) * factor))) for x in colour)
    return red, green, blue
