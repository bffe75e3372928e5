"""The playground in the application of a server, and what of Gradio can be reached there."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.routing import Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gpt1.errors import MissingExtraError

if TYPE_CHECKING:
    from gpt1.serving.config import ServingConfig
    from gpt1.serving.models import Models

NEEDED = re.compile(
    r"/(?:|config|theme\.css|favicon\.ico|manifest\.json|(?:assets|static)/.+|gradio_api/(?:"
    r"queue/(?:join|data)|heartbeat/\w+|cancel|reset|startup-events))"
)
"""What the page asks for. The rest of Gradio takes files, lists endpoints or calls other hosts."""

POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
"""The browser reaches no other host; Gradio compiles what runs in its drawings."""


def mount_playground(app: FastAPI, models: Models, config: ServingConfig) -> None:
    """Show the playground at ``/``. Routes have to be added before: it takes all that is left.

    Every open page holds a connection. A server that stops calls ``app.state.end_pages()``, in its
    event loop, to end these.

    Args:
        app: Gets the page.
        models: What there is to play with.
        config: Its limits hold.

    Raises:
        MissingExtraError: If Gradio is not installed.
    """
    try:
        import gradio
    except ImportError:
        raise MissingExtraError(
            'the playground needs Gradio, which is not installed: pip install "gpt1[playground]"; '
            "or leave it out"
        ) from None
    from gpt1.serving.playground.page import build, style, theme

    async def mount() -> None:
        gradio.mount_gradio_app(
            app,
            build(models, config),
            "/",
            css=style(),
            theme=theme(),
            footer_links=[],
            run_history=False,
            ssr_mode=False,
            mcp_server=False,
            enable_monitoring=False,
            pwa=False,
            show_error=False,
            max_file_size=1,
        )

    # Where no event loop runs, Gradio makes some and never closes them.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, mount()).result()
    mounted = app.routes[-1]
    assert isinstance(mounted, Mount)
    app.state.end_pages = mounted.app.stop_event.set  # type: ignore[attr-defined]
    mounted.app = OnlyNeeded(mounted.app)


class OnlyNeeded:
    """Lets through to Gradio what its page needs, and nothing else.

    Args:
        app: Gradio's.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer by ASGI."""
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if scope["type"] != "http" or not NEEDED.fullmatch(path):
            raise HTTPException(404)

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["content-security-policy"] = POLICY
            await send(message)

        await self._app(scope, receive, send_with_policy)
