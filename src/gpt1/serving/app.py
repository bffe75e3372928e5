"""The HTTP application: routes over models."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI

from gpt1 import __version__
from gpt1.serving import classifying, completions, embeddings, health, model_list, scoring
from gpt1.serving.config import ServingConfig
from gpt1.serving.errors import add_error_handlers
from gpt1.serving.handover import Handover
from gpt1.serving.metrics import Metrics, RequestTimes
from gpt1.serving.models import Models
from gpt1.serving.openapi import document
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
        # A server that drained has waited already.
        await models.drain(0 if getattr(app.state, "draining", False) else config.drain_s)

    # FastAPI's own pages load scripts from another host; `health` has one that does not.
    app = FastAPI(
        title="gpt1", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    app.state.models, app.state.config = models, config
    app.state.handover = Handover()
    app.state.metrics = Metrics(models)
    app.openapi = partial(document, app)  # type: ignore[method-assign]
    add_error_handlers(app)
    for module in (completions, model_list, embeddings, scoring, classifying, health):
        app.include_router(module.router)
    app.add_middleware(RequestTimes, metrics=app.state.metrics)
    if config.playground:  # after all routes: it takes what is left
        mount_playground(app, models, config)
    return app
