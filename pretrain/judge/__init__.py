"""The judge: says what a picture shows, so that claims about the base and its LoRAs can be counted."""

from pretrain.judge.judge import Judge, load_judge

__all__ = ["Judge", "load_judge"]
