"""`/v1/completions`: text that continues prompts, as OpenAI's API gives it."""

from __future__ import annotations

import time
import uuid
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from gpt1 import __version__
from gpt1.serving.answering import language_model
from gpt1.serving.completion_choice import Choice
from gpt1.serving.completion_job import ClientLeft, CompletionJob
from gpt1.serving.completion_schemas import CompletionRequest, CompletionResponse
from gpt1.serving.completion_stream import CompletionStream
from gpt1.serving.errors import ERRORS

CLIENT_LEFT = 499
"""Status for logs: the client of it sees no answer."""

STREAM: dict[str, Any] = {"content": {"text/event-stream": {"schema": {"type": "string"}}}}

router = APIRouter()


@router.post(
    "/v1/completions", response_model=CompletionResponse, responses={200: STREAM, **ERRORS}
)
async def create_completion(body: CompletionRequest, request: Request) -> Response:
    """Continue prompts.

    With `stream`, the answer is a stream of server-sent events, each with what is new of the text;
    the last is `[DONE]`.
    """
    state = request.app.state
    body.check(state.config)
    name, _ = language_model(request, body.model)
    job = CompletionJob(state.models.engine(name), body, state.config)
    try:
        await job.start(state.handover, request.receive)
        first = await job.updates()  # before the answer begins: an error has its status then
        if body.stream:
            return CompletionStream(job, _head(name), first)
        while await job.updates():
            pass
    except ClientLeft:
        job.close()
        return Response(status_code=CLIENT_LEFT)
    except BaseException:
        job.close()
        raise
    job.close()
    choices = [_choice(index, choice) for index, choice in enumerate(job.best())]
    return JSONResponse({**_head(name), "choices": choices, "usage": job.usage()})


def _head(name: str) -> dict[str, Any]:
    return {
        "id": f"cmpl-{uuid.uuid4().hex}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": name,
        "system_fingerprint": f"gpt1-{__version__}",
    }


def _choice(index: int, choice: Choice) -> dict[str, Any]:
    text = choice.text()
    return {
        "index": index,
        "text": text,
        "logprobs": choice.new_logprobs(text, ended=True),
        "finish_reason": choice.finish_reason,
    }
