"""LoRA Studio: train LoRA adapters and compose them by their weights, on one shared base pipeline."""

__version__ = "0.1.0"
