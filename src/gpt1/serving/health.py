"""Whether the server is alive and takes requests, what it does, and what it can be asked."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from gpt1.serving.answering import served
from gpt1.serving.errors import ApiError
from gpt1.serving.metrics import Metrics
from gpt1.serving.openapi import UNAVAILABLE
from gpt1.serving.openapi_page import html_page

router = APIRouter()


class Health(BaseModel):
    """All is well."""

    status: Literal["ok"] = "ok"


@router.get("/health", responses=UNAVAILABLE)
async def health(request: Request) -> Health:
    """Whether the server is alive; if not, it has to be started again."""
    failed = [name for name, e in served(request).engines.items() if e.failure is not None]
    if failed:
        raise ApiError(503, f"the engine of {failed[0]!r} has failed; start the server again")
    return Health()


@router.get("/ready", responses=UNAVAILABLE)
async def ready(request: Request) -> Health:
    """Whether the server takes requests: not once it is about to stop."""
    models, state = served(request), request.app.state
    if models.draining or getattr(state, "draining", False):
        raise ApiError(503, "the server is about to stop and takes no more requests")
    return await health(request)


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request) -> Response:
    """Figures for Prometheus."""
    figures: Metrics = request.app.state.metrics
    return Response(figures.text(), media_type=CONTENT_TYPE_LATEST)


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """The OpenAPI document for people; it needs no other host and no script."""
    return HTMLResponse(html_page(request.app.openapi()))
