"""Errors as OpenAI's API tells them: a status, and ``{"error": {message, type, param, code}}``."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from gpt1.errors import Gpt1Error
from gpt1.serving.engine import DeadlineExceeded, Overloaded
from gpt1.serving.models import UnknownModel

logger = logging.getLogger(__name__)

RETRY_AFTER_S = 1
"""What a client is told to wait when there is too much to do."""

STATUS: dict[type[Gpt1Error], tuple[int, str, str | None]] = {
    Overloaded: (429, "rate_limit_error", "overloaded"),
    DeadlineExceeded: (504, "timeout_error", "deadline_exceeded"),
    UnknownModel: (404, "invalid_request_error", "model_not_found"),
}
"""Status, type and code of our errors; others are a mistake in the request."""


class ErrorDetails(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """The answer to a request that failed."""

    error: ErrorDetails


ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": description}
    for status, description in {
        400: "The request is refused.",
        404: "There is no such model.",
        429: "There is too much to do: try again after Retry-After seconds.",
        500: "The server failed.",
        504: "The request was not done in its time.",
    }.items()
}
"""Answers of an endpoint that generates, for its documentation."""


class ApiError(Gpt1Error):
    """A request that is refused.

    Args:
        status: HTTP status.
        message: For people.
        param: Name of the parameter that is wrong.
        code: For programs.
    """

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code


def body(message: str, kind: str, param: str | None = None, code: str | None = None) -> Any:
    """The JSON of an error."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def describe(error: Gpt1Error) -> tuple[int, Any]:
    """Status and JSON of one of our errors."""
    if isinstance(error, ApiError):
        kind = "invalid_request_error" if error.status < 500 else "server_error"
        return error.status, body(str(error), kind, error.param, error.code)
    status, kind, code = STATUS.get(type(error), (400, "invalid_request_error", None))
    return status, body(str(error), kind, None, code)


def _most_specific(error: RequestValidationError) -> tuple[str | None, str]:
    """Where a request is wrong, and why.

    Of a value that may be of several types there are errors for each. What the client meant is the
    type that fails deepest in the value, not by being another type, and in the fewest places.
    """
    entries = error.errors()
    found = [_path(entry["loc"][1:], error.body) for entry in entries]
    counts = Counter(types for _, types in found)

    def order(number: int) -> tuple[int, bool, int]:
        path, types = found[number]
        return -len(path), entries[number]["type"].endswith("_type"), counts[types]

    best = min(range(len(found)), key=order)
    return ".".join(map(str, found[best][0])) or None, entries[best]["msg"]


def _path(location: Sequence[Any], value: Any) -> tuple[list[Any], tuple[Any, ...]]:
    """The steps of a location that lead into a value, and those that name types."""
    path, types = [], []
    for position, step in enumerate(location):
        if _has(value, step):
            path.append(step)
            value = value[step]
        elif isinstance(value, dict) and position == len(location) - 1:
            path.append(step)  # it is missing
        else:
            types.append(step)
    return path, tuple(types)


def _has(value: Any, step: Any) -> bool:
    if isinstance(value, list):
        return isinstance(step, int) and step < len(value)
    return isinstance(value, dict) and step in value


def add_error_handlers(app: FastAPI) -> None:
    """Answer every error in OpenAI's shape."""

    @app.exception_handler(Gpt1Error)
    async def ours(_: Request, error: Gpt1Error) -> JSONResponse:
        status, content = describe(error)
        headers = {"Retry-After": str(RETRY_AFTER_S)} if status == 429 else None
        return JSONResponse(content, status, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        param, reason = _most_specific(error)
        message = f"{param or 'the body'}: {reason}"
        if param is None and "json" not in request.headers.get("content-type", ""):
            message = "the body is not marked as JSON: send Content-Type: application/json"
        return JSONResponse(body(message, "invalid_request_error", param), 400)

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> JSONResponse:
        content = body(str(error.detail), "invalid_request_error")
        return JSONResponse(content, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def bug(_: Request, error: Exception) -> JSONResponse:
        logger.error("a request failed", exc_info=error)
        return JSONResponse(body("the server failed at this request", "server_error"), 500)
