"""The OpenAPI document: true about errors, which are never FastAPI's own."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel


class ErrorDetail(BaseModel):
    """What is wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """An error, as OpenAI's API tells it."""

    error: ErrorDetail


REASONS = {
    400: "The request is wrong; param says where.",
    404: "There is no such model, or it is of another kind.",
    413: "The request is too large.",
    429: "There is too much to do; try again after Retry-After seconds.",
    500: "The server failed at this request.",
    503: "The server cannot answer requests.",
    504: "The request was not done in the time it had.",
}
"""What each status means."""


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route says about its errors.

    Args:
        statuses: Keys of `REASONS`.

    Returns:
        The argument ``responses`` of the route.
    """
    return {
        status: {"model": ErrorBody, "description": REASONS[status]} for status in sorted(statuses)
    }


POST_ERRORS = errors(400, 404, 413, 429, 500, 504)
"""Errors of routes that ask a model."""


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of an application; the same object each time."""
    if app.openapi_schema is None:
        found = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
        )
        _leave_out_422(found)
        app.openapi_schema = found
    return app.openapi_schema


def _leave_out_422(found: dict[str, Any]) -> None:
    """Requests that do not fit their schema are answered with 400 here."""
    for operations in found["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
    schemas = found.get("components", {}).get("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
