"""``/v1/score`` and ``/v1/explain``: how likely a text is, and what was expected in its places."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from gpt1.evaluation.explaining import Explanation
from gpt1.evaluation.scoring import Score
from gpt1.language_model import LanguageModel
from gpt1.serving.answering import Usage, answer, check_count, language_model, limits, n_positions
from gpt1.serving.errors import ApiError
from gpt1.serving.openapi import POST_ERRORS
from gpt1.serving.request_body import RequestBody

MOST_ALTERNATIVES = 20
"""Alternatives a place that an explanation may have."""

DIGITS = 6
"""Decimals of attention weights."""

router = APIRouter()


class ScoreRequest(RequestBody):
    """What to score."""

    input: str | Annotated[list[str], Field(min_length=1)] = Field(
        description="A text, or several; long ones are read in overlapping windows."
    )
    model: str | None = Field(None, description="A language model; default: the first.")


class TextScore(BaseModel):
    """How likely a text is; in nats, but for bits."""

    index: int
    ids: list[int] = Field(description="Token ids.")
    tokens: list[str] = Field(description="Their strings in the vocabulary.")
    log_probs: list[float | None] = Field(
        description="Of each token given those before it; null for the first."
    )
    sum: float = Field(description="Of the log-probabilities.")
    bits: float = Field(description="The text's surprisal: -sum, in bits.")
    num_tokens: int = Field(description="Tokens that are scored: all but the first.")


class ScoreAnswer(BaseModel):
    """Scores in the order of the texts."""

    object: Literal["list"] = "list"
    data: list[TextScore]
    model: str
    usage: Usage


@router.post("/v1/score", response_model=ScoreAnswer, responses=POST_ERRORS)
async def score(body: ScoreRequest, request: Request) -> Response:
    """Log-probability of every token of each text."""
    name, lm = language_model(request, body.model)
    texts = [body.input] if isinstance(body.input, str) else body.input
    check_count(request, len(texts), "input")
    texts_of_full_length = limits(request).max_prompts
    return await answer(request, lambda: _score(name, lm, texts, texts_of_full_length))


def _score(name: str, lm: LanguageModel, texts: list[str], full: int) -> ScoreAnswer:
    count = sum(map(len, lm.tokenizer.encode_batch(texts)))
    most = full * n_positions(lm)
    if count > most:
        raise ApiError(
            400,
            f"input has {count} tokens but a request may have {most}; send several requests",
            param="input",
            code="context_length_exceeded",
        )
    scores = lm.score(texts)
    data = [_text_score(lm, number, found) for number, found in enumerate(scores)]
    return ScoreAnswer(data=data, model=name, usage=Usage(prompt_tokens=count, total_tokens=count))


def _text_score(lm: LanguageModel, index: int, found: Score) -> TextScore:
    return TextScore(
        index=index,
        ids=found.ids,
        tokens=lm.tokenizer.pieces(found.ids),
        log_probs=found.log_probs,
        sum=found.sum,
        bits=abs(found.sum) / math.log(2),
        num_tokens=found.num_tokens,
    )


class AttentionMap(RequestBody):
    """Which attention to show."""

    layer: int = Field(ge=1, description="From 1.")
    head: int | None = Field(None, ge=1, description="From 1; default: the mean of all heads.")


class ExplainRequest(RequestBody):
    """What to explain."""

    input: str | Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = Field(
        description="A text, or its token ids, of as many tokens as the model reads at once."
    )
    model: str | None = Field(None, description="A language model; default: the first.")
    top: int = Field(5, ge=1, le=MOST_ALTERNATIVES, description="Alternatives a place.")
    lens: bool = Field(False, description="What each layer would have put behind each token.")
    attention: AttentionMap | None = Field(None, description="Show where a layer looked.")


class Alternative(BaseModel):
    """A token that could be in a place."""

    id: int
    piece: str
    probability: float


class ExplainedToken(BaseModel):
    """What was expected in the place of a token; the figures of the first are null."""

    position: int
    id: int
    piece: str
    text: str
    probability: float | None
    surprisal: float | None = Field(description="In bits.")
    rank: int | None = Field(description="1 if no token was more probable.")
    alternatives: list[Alternative]


class ExplainAnswer(BaseModel):
    """What the model expected in each place of a text."""

    object: Literal["explanation"] = "explanation"
    model: str
    text: str
    bits_per_token: float | None
    tokens: list[ExplainedToken]
    next: list[Alternative] = Field(description="The tokens most likely to follow.")
    lens: list[list[Alternative]] | None = Field(
        description="[n][t]: what layer n would put behind token t; layer 0 is the embeddings."
    )
    attention: list[list[float]] | None = Field(
        description="Row t: weights on the tokens 0 to t, which sum to 1."
    )
    usage: Usage


@router.post("/v1/explain", response_model=ExplainAnswer, responses=POST_ERRORS)
async def explain(body: ExplainRequest, request: Request) -> Response:
    """Probability, rank and alternatives of every token; on request, lens and attention."""
    name, lm = language_model(request, body.model)
    return await answer(request, lambda: _explain(name, lm, body))


def _explain(name: str, lm: LanguageModel, body: ExplainRequest) -> ExplainAnswer:
    ids = lm.tokenizer.encode(body.input) if isinstance(body.input, str) else body.input
    if not 1 <= len(ids) <= n_positions(lm):
        raise ApiError(
            400,
            f"input has {len(ids)} tokens but an explanation is of 1 to {n_positions(lm)}; "
            "send a part of it",
            param="input",
            code="context_length_exceeded" if ids else None,
        )
    found = lm.explain(ids, body.top)
    lens = [[best._asdict() for best in layer] for layer in found.lens] if body.lens else None
    attention = _attention(found, body.attention) if body.attention else None
    usage = Usage(prompt_tokens=len(ids), total_tokens=len(ids))
    return ExplainAnswer.model_validate(
        {**found.to_dict(), "model": name, "lens": lens, "attention": attention, "usage": usage}
    )


def _attention(found: Explanation, wanted: AttentionMap) -> list[list[float]]:
    maps = found.attentions
    for what, number, count in (
        ("layer", wanted.layer, maps.shape[0]),
        ("head", wanted.head or 1, maps.shape[1]),
    ):
        if number > count:
            raise ApiError(
                400,
                f"attention.{what} is {number} but the model has {count} {what}s; "
                f"choose 1 to {count}",
                param=f"attention.{what}",
            )
    layer = maps[wanted.layer - 1]
    chosen = layer.mean(axis=0) if wanted.head is None else layer[wanted.head - 1]
    return [
        [round(weight, DIGITS) for weight in row[: t + 1]] for t, row in enumerate(chosen.tolist())
    ]
