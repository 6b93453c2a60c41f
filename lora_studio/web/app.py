"""The ASGI application: Gradio's page in the middle, our routes beside it, and the guards around both.

    Guard > Identity > Page > [calls, uploads, files, static] > Gradio

The page talks to our routes alone. Gradio's events would lose running work on a reload and a whole form on an outage
(measured with 6.31), so no component has a Python handler and Gradio's own endpoints stay closed.
"""

from __future__ import annotations

import gradio as gr
from fastapi import FastAPI
from starlette.types import ASGIApp

from lora_studio.engine.protocol import Engine
from lora_studio.settings import Settings
from lora_studio.store import Workspace
from lora_studio.ui import build_app
from lora_studio.ui.actions import actions
from lora_studio.ui.studio import Studio
from lora_studio.ui.theme import theme
from lora_studio.web.calls import call_route
from lora_studio.web.files import file_routes
from lora_studio.web.guard import Guard
from lora_studio.web.identity import Identity
from lora_studio.web.page import Page
from lora_studio.web.static import head, static_routes, version
from lora_studio.web.uploads import upload_routes


def create_app(settings: Settings, workspace: Workspace, engine: Engine) -> ASGIApp:
    """The whole application, ready to be served on a loopback address."""
    name = version()
    studio = Studio(engine, workspace, settings, name)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.router.routes.extend(
        [call_route(studio, actions()), *upload_routes(studio), *file_routes(studio), *static_routes(name)]
    )
    mounted = gr.mount_gradio_app(
        app,
        build_app(),
        path="/",
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        show_error=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        theme=theme(),
    )
    return Guard(Identity(Page(mounted, head(name))), one_name=settings.host == "127.0.0.1")
