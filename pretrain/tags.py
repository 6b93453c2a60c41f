"""The tags of a caption: how they are divided, and which stand in front. It does not know pictures or tokens."""

from __future__ import annotations

from pretrain.painter.styles import FAULTS

WHO = ("1girl", "1boy", "no humans")
QUALITY = ("masterpiece", "best quality", "detailed", "cute", "worst quality", "low quality", *FAULTS)


def split(caption: str) -> list[str]:
    """The tags of a caption."""
    return [tag for part in caption.split(",") if (tag := part.strip())]


def is_head(tag: str) -> bool:
    """Whether a tag says the quality, the style or who is there."""
    return tag.endswith(" style") or tag in WHO or tag in QUALITY
