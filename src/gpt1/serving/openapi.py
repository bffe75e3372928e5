"""The OpenAPI document: true about errors, which are never FastAPI's own."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from gpt1.serving.errors import ERRORS, ErrorBody

POST_ERRORS: dict[int | str, dict[str, Any]] = {
    **ERRORS,
    413: {"model": ErrorBody, "description": "The request is too large."},
}
"""Errors of routes that ask a model."""

UNAVAILABLE: dict[int | str, dict[str, Any]] = {
    503: {"model": ErrorBody, "description": "The server cannot answer requests."}
}
"""Errors of routes that tell how the server is."""


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
