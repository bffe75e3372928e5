"""Requests that are refused before the application sees them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpt1.serving.errors import ApiError, body

KINDS = {429: "rate_limit_error", 503: "server_error"}
"""What OpenAI calls a status; others are a mistake in the request."""


class Refusal(ApiError):
    """A request that is refused, and its connection with it.

    Args:
        status: HTTP status.
        message: For people.
        code: For programs.
        headers: Of the answer.
        more: Whether the client may still be sending.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        more: bool = True,
    ) -> None:
        super().__init__(status, message, code=code)
        self.headers, self.more = dict(headers or {}), more

    @classmethod
    def too_large(cls, most: int, *, more: bool = True) -> Refusal:
        """Of a body above a number of bytes."""
        message = f"the body has more than {most} bytes; send less, or less at a time"
        return cls(413, message, code="body_too_large", more=more)

    @property
    def content(self) -> Any:
        """The JSON of the answer."""
        kind = KINDS.get(self.status, "invalid_request_error")
        return body(str(self), kind, self.param, self.code)
