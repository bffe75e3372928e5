"""``/v1/embeddings``: a vector for each text, as OpenAI's API gives them."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import Response
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from gpt1.evaluation.features import pooled_states
from gpt1.generation.decode import check_ids
from gpt1.language_model import LanguageModel
from gpt1.serving.answering import Usage, answer, check_count, language_model
from gpt1.serving.errors import ApiError
from gpt1.serving.openapi import POST_ERRORS
from gpt1.serving.request_body import RequestBody

Text: TypeAlias = Annotated[str, Field(min_length=1)]
Ids: TypeAlias = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]

router = APIRouter()


class EmbeddingRequest(RequestBody):
    """What to turn into vectors."""

    input: (
        Text
        | Annotated[list[Text], Field(min_length=1)]
        | Ids
        | Annotated[list[Ids], Field(min_length=1)]
    ) = Field(description="A text, its token ids, or a list of either.")
    model: str | None = Field(None, description="A language model; default: the first.")
    encoding_format: Literal["float", "base64"] = Field(
        "float", description="base64: of little-endian float32."
    )
    dimensions: int | None = Field(
        None, description="Has to be the width of the model if it is given."
    )
    pooling: Literal["mean", "last"] = Field(
        "mean", description="Mean of the states of all tokens, or the state of the last."
    )
    user: str | None = Field(None, description="Ignored.")


class Embedding(BaseModel):
    """The vector of a text."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingAnswer(BaseModel):
    """Vectors in the order of the texts."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: Usage


@router.post("/v1/embeddings", response_model=EmbeddingAnswer, responses=POST_ERRORS)
async def embeddings(body: EmbeddingRequest, request: Request) -> Response:
    """Turn texts into vectors: states of the last block, averaged over the tokens."""
    name, lm = language_model(request, body.model)
    inputs = _inputs(body.input)
    check_count(request, len(inputs), "input")
    return await answer(request, lambda: _embed(name, lm, inputs, body))


def _inputs(given: str | list[str] | list[int] | list[list[int]]) -> list[str | list[int]]:
    """Texts, or token ids, one by one."""
    if isinstance(given, str):
        return [given]
    if isinstance(given[0], int):
        return [given]
    return given  # type: ignore[return-value]


def _embed(
    name: str, lm: LanguageModel, inputs: Sequence[str | list[int]], body: EmbeddingRequest
) -> EmbeddingAnswer:
    config = lm.model.config
    if body.dimensions not in (None, config.n_embd):
        raise ApiError(
            400,
            f"dimensions is {body.dimensions} but the vectors of {name!r} have {config.n_embd}; "
            "leave it out",
            param="dimensions",
        )
    rows = [lm.tokenizer.encode(item) if isinstance(item, str) else item for item in inputs]
    _check_rows(rows, lm.tokenizer.vocab_size, config.n_positions)
    vectors = pooled_states(lm.model, rows, body.pooling)
    read = sum(map(len, rows))
    data = [
        Embedding(index=index, embedding=_written(vector, body.encoding_format))
        for index, vector in enumerate(vectors)
    ]
    return EmbeddingAnswer(
        data=data, model=name, usage=Usage(prompt_tokens=read, total_tokens=read)
    )


def _check_rows(rows: Sequence[Sequence[int]], vocab_size: int, n_positions: int) -> None:
    check_ids("input", rows, vocab_size)
    for number, row in enumerate(rows):
        if not row:
            raise ApiError(
                400, f"input {number} has no tokens; give at least one word", param="input"
            )
        if len(row) > n_positions:
            raise ApiError(
                400,
                f"input {number} has {len(row)} tokens but the model reads {n_positions}; "
                "send parts of it",
                param="input",
                code="context_length_exceeded",
            )


def _written(vector: NDArray[np.float32], encoding: str) -> list[float] | str:
    if encoding == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    floats: list[float] = vector.tolist()
    return floats
