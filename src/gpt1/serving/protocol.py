"""HTTP connections with limits, for clients that send slowly, read slowly, or do nothing."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gpt1.serving.refusal import Refusal
from gpt1.serving.safety import SafetyConfig


class LimitedProtocol(HttpToolsProtocol):
    """Uvicorn's, which lets a client take any time for its headers, and any number of them.

    A connection is idle until it has sent all headers of a request, and again when that is
    answered.
    """

    safety: SafetyConfig
    idle: dict[LimitedProtocol, None]
    """Of the server: connections that are idle, those that are it longest first."""

    _timer: asyncio.TimerHandle | None = None
    _stall: asyncio.TimerHandle | None = None
    _header_bytes = 0
    _is_in_headers = False
    _refusal: Refusal | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, in place of an idle one if there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self.safety.max_connections:
            oldest = next(iter(self.idle), None)
            if oldest is None:
                message = "the server has as many connections as it takes; try again in a moment"
                self._refuse(Refusal(503, message, headers={"Retry-After": "1"}))
                return
            oldest.transport.abort()
            oldest._forget()
        self._wait_for_headers()

    def data_received(self, data: bytes) -> None:
        """Read on, unless it is too much."""
        if self._refusal is not None:
            return
        if self._timer is None and self._is_free:
            self._wait_for_headers()
        super().data_received(data)
        if self._is_in_headers and self._refusal is None:
            self._header_bytes += len(data)
            if self._header_bytes > self.safety.max_header_bytes:
                self._refuse(self._too_large())

    def on_message_begin(self) -> None:
        """A request begins."""
        self._is_in_headers, self._header_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Headers are there: the request is the application's."""
        self._is_in_headers = False
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self.safety.max_header_bytes:
            self._refusal = self._too_large()
            raise self._refusal  # ends the parser, which calls `send_400_response`
        self._forget()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """The request is answered; without another, the connection is idle."""
        super().on_response_complete()
        if not self.transport.is_closing() and self._is_free:
            self.idle[self] = None

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, in the shape of every error."""
        self._refuse(self._refusal or Refusal(400, "this is no HTTP request", code="invalid_http"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of all that waited for the client."""
        self._forget()
        self.resume_writing()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not read as fast as it is written to."""
        super().pause_writing()
        self._stall = self.loop.call_later(self.safety.stall_s, self.transport.abort)

    def resume_writing(self) -> None:
        """It has read."""
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
        super().resume_writing()

    @property
    def _is_free(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _wait_for_headers(self) -> None:
        self.idle[self] = None
        self._timer = self.loop.call_later(self.safety.header_s, self._is_late)

    def _is_late(self) -> None:
        self._timer = None
        if self._is_in_headers:
            message = f"the headers did not come within {self.safety.header_s:g} s"
            self._refuse(Refusal(408, message, code="timeout"))
        else:
            self.transport.close()

    def _forget(self) -> None:
        """It is not idle, or no more."""
        self.idle.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_large(self) -> Refusal:
        most = self.safety.max_header_bytes
        return Refusal(431, f"the headers have more than {most} bytes", code="headers_too_large")

    def _refuse(self, refusal: Refusal) -> None:
        """Answer without the application, and close."""
        self._forget()
        self._refusal = refusal
        content = json.dumps(refusal.content).encode()
        headers = {
            "content-type": "application/json",
            "content-length": str(len(content)),
            "connection": "close",
            **refusal.headers,
        }
        lines = [f"HTTP/1.1 {refusal.status} {HTTPStatus(refusal.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.transport.write("\r\n".join([*lines, "", ""]).encode() + content)
        self.transport.close()


def limited_protocol(safety: SafetyConfig) -> type[LimitedProtocol]:
    """The protocol of one server."""
    idle: dict[LimitedProtocol, None] = {}
    attributes: dict[str, Any] = {"safety": safety, "idle": idle}
    return type("LimitedProtocolOfServer", (LimitedProtocol,), attributes)
