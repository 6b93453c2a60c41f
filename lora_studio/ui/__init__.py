"""The screens: Gradio Blocks, components that own their DOM, texts in two languages, and what pages may ask for."""

from lora_studio.ui.app import build_app

__all__ = ["build_app"]
