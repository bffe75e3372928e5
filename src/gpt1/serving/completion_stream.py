"""A completion as server-sent events: text as soon as it is final."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gpt1.errors import Gpt1Error
from gpt1.serving.completion_job import ClientLeft, CompletionJob
from gpt1.serving.engine import Update
from gpt1.serving.errors import describe

DONE = b"data: [DONE]\n\n"


class CompletionStream(Response):
    """Sends what a job gives, and closes it.

    Args:
        job: That has started.
        head: Fields that all events have.
        first: The first updates of the job.
    """

    media_type = "text/event-stream"

    def __init__(
        self, job: CompletionJob, head: dict[str, Any], first: list[tuple[int, Update]]
    ) -> None:
        self.status_code, self.background = 200, None
        # No proxy is to hold back what a client waits for.
        self.init_headers({"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        self._job, self._first = job, first
        options = job.body.stream_options
        self._tells_usage = options is not None and bool(options.include_usage)
        # What all events have in common is written once.
        self._head = f"data: {json.dumps(head)[:-1]}"
        self._start = f'{self._head}, "choices": [{{"index": '
        self._end = '}], "usage": null}\n\n' if self._tells_usage else "}]}\n\n"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send, by ASGI."""
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        try:
            await send(start)
            await self._send_all(send)
        except ClientLeft:
            pass
        finally:
            self._job.close()

    async def _send_all(self, send: Send) -> None:
        updates = self._first
        try:
            while updates:
                if events := "".join(map(self._event, updates)):
                    await send(_part(events.encode()))
                updates = await self._job.updates()
        except ClientLeft:
            raise
        except Gpt1Error as error:
            last = f"data: {json.dumps(describe(error)[1])}\n\n".encode()
        else:
            last = self._usage() + DONE
        await send(_part(last, more=False))

    def _event(self, indexed: tuple[int, Update]) -> str:
        """What an update tells the client: nothing as long as its text is not certain."""
        index, update = indexed
        choice, ended = self._job.choices[index], update.finish_reason is not None
        text = choice.text()
        new, logprobs = choice.new_text(text), choice.new_logprobs(text, ended=ended)
        if not (new or ended or (logprobs and logprobs["tokens"])):
            return ""
        reason = json.dumps(choice.finish_reason if ended else None)
        scored = "null" if logprobs is None else json.dumps(logprobs)
        fields = f'{index}, "text": {json.dumps(new)}, "logprobs": {scored}'
        return f'{self._start}{fields}, "finish_reason": {reason}{self._end}'

    def _usage(self) -> bytes:
        if not self._tells_usage:
            return b""
        usage = json.dumps(self._job.usage())
        return f'{self._head}, "choices": [], "usage": {usage}}}\n\n'.encode()


def _part(data: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}
