"""The page's server: an ASGI application around Gradio with identities, guards, file routes and calls."""

from lora_studio.web.serve import serve

__all__ = ["serve"]
