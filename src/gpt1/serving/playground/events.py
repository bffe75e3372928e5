"""How the parts of the page call Python."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from html import escape
from pathlib import Path
from typing import Any, TypeAlias

import gradio as gr

from gpt1.errors import Gpt1Error
from gpt1.serving.playground.snippets import Server

Steps: TypeAlias = "AsyncGenerator[Any, None]"

SCRIPT = (Path(__file__).parents[2] / "assets" / "playground.js").read_text(encoding="utf-8")
"""Runs in every drawing: choosing, copying, moving by keys."""

QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
"""Of events: no overlay over what is drawn, and no documented endpoint."""


def drawing(value: str = "", **options: Any) -> gr.HTML:
    """A place for HTML, which may have elements to choose.

    Its event ``choose`` brings ``choice``, what an element has as its ``data-choice``.
    """
    return gr.HTML(value, js_on_load=SCRIPT, apply_default_css=False, padding=False, **options)


@contextmanager
def told() -> Iterator[None]:
    """Tell people what is wrong with what they gave."""
    try:
        yield
    except Gpt1Error as error:
        raise gr.Error(escape(str(error)), title="Not like this", print_exception=False) from error


def answering(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """A handler whose errors are told."""

    @functools.wraps(function)
    async def handler(*args: Any) -> Any:
        with told():
            return await function(*args)

    return handler


def streaming(function: Callable[..., Steps]) -> Callable[..., Steps]:
    """A handler that yields, and whose errors are told."""

    @functools.wraps(function)
    async def handler(*args: Any) -> Steps:
        async with aclosing(function(*args)) as steps:
            with told():
                async for step in steps:
                    yield step

    return handler


def server_of(request: gr.Request) -> Server:
    """Where the browser reached the server, and whether it was asked for a key."""
    assert request.request is not None
    address = str(request.request.base_url).rstrip("/")
    return Server(address, "authorization" in request.request.headers)
