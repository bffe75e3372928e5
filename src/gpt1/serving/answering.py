"""What routes of models have in common: finding the model, limits, computing beside the rest."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import Request
from fastapi.responses import Response
from pydantic import BaseModel

from gpt1.language_model import LanguageModel
from gpt1.serving.config import ServingConfig
from gpt1.serving.errors import ApiError
from gpt1.serving.models import Models, UnknownModel


class Usage(BaseModel):
    """How much was read."""

    prompt_tokens: int
    total_tokens: int


def served(request: Request) -> Models:
    """The models of the application that a request came to."""
    models: Models = request.app.state.models
    return models


def limits(request: Request) -> ServingConfig:
    """The settings of the application that a request came to."""
    config: ServingConfig = request.app.state.config
    return config


def language_model(request: Request, name: str | None) -> tuple[str, LanguageModel]:
    """A language model and its name.

    Args:
        request: Says which application.
        name: Of the model; None stands for the first.

    Raises:
        UnknownModel: If there is none of that name.
    """
    models = served(request)
    if name is None and not models.engines:
        raise UnknownModel("no language model is served here")
    name = next(iter(models.engines)) if name is None else name
    return name, models.engine(name).lm


def n_positions(lm: LanguageModel) -> int:
    """How many tokens a model reads at once."""
    return lm.generator.config.n_positions


def check_count(request: Request, count: int, param: str) -> None:
    """Refuse more texts than a request may hold.

    Args:
        request: Says which application, and so which limit.
        count: Texts there are.
        param: Where they are.

    Raises:
        ApiError: If there are too many.
    """
    most = limits(request).max_prompts
    if count > most:
        raise ApiError(
            400,
            f"{param} holds {count} texts but a request may hold {most}; send several requests",
            param=param,
        )


async def answer(request: Request, compute: Callable[[], BaseModel]) -> Response:
    """Compute an answer, and write it as JSON, without holding up other requests.

    Args:
        request: What is answered.
        compute: Runs in the thread for such work.

    Raises:
        Overloaded: If too much waits already.
        DeadlineExceeded: If it took longer than a request may.
        Gpt1Error: As `compute` does.
    """

    def content() -> bytes:
        return compute().model_dump_json().encode()

    body = await served(request).work(content, limits(request).timeout_s)
    return Response(body, media_type="application/json")
