"""The HTTP application: routes over models."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from gpt1 import __version__
from gpt1.serving.config import ServingConfig
from gpt1.serving.errors import add_error_handlers
from gpt1.serving.models import Models
from gpt1.serving.playground.mounting import mount_playground


def create_app(models: Models, config: ServingConfig | None = None) -> FastAPI:
    """An application that serves models; it stops their engines when it is shut down.

    Args:
        models: What to serve.
        config: Limits; default: those of `ServingConfig`.
    """
    config = config or ServingConfig()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await models.drain(config.drain_s)

    app = FastAPI(title="gpt1", version=__version__, lifespan=lifespan)
    app.state.models, app.state.config = models, config
    add_error_handlers(app)
    if config.playground:  # after all routes: it takes what is left
        mount_playground(app, models, config)
    return app
