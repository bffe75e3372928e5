"""``/v1/classify`` and ``/v1/choose``: what task models make of texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from gpt1.evaluation.attribution import attribute, word_spans
from gpt1.evaluation.predicting import predict
from gpt1.serving.answering import answer, check_count, served
from gpt1.serving.errors import ApiError
from gpt1.serving.models import ServedTask, UnknownModel
from gpt1.serving.openapi import POST_ERRORS
from gpt1.serving.request_body import RequestBody
from gpt1.tasks import example

MOST_WORDS = 512
"""Words of a request that may each be left out in turn: a prediction for every one."""

router = APIRouter()


class Pair(RequestBody):
    """Two texts."""

    first: str
    second: str


class ClassifyRequest(RequestBody):
    """What to classify, or to predict a value for."""

    input: (
        str
        | Pair
        | Annotated[list[str], Field(min_length=1)]
        | Annotated[list[Pair], Field(min_length=1)]
    ) = Field(description="What the model was trained on, a text or a pair of them; or several.")
    model: str | None = Field(
        None, description="A task model of classes or values; default: the first."
    )
    words: bool = Field(False, description="Tell which words mattered.")
    method: Literal["leave_one_out", "gradient"] = Field(
        "leave_one_out",
        description="How to find out: by leaving each word out in turn, or, sooner, by gradients.",
    )


class Word(BaseModel):
    """What a word did to the prediction."""

    text: str
    score: float = Field(description="Change of the log-odds of the label, or of the value.")
    without: float | None = Field(
        description="Probability of the label, or the value, without the word; null for gradients."
    )
    segment: int = Field(description="0: the text, or the first of a pair; 1: the second.")
    start: int = Field(description="Its first character in the text.")
    end: int = Field(description="The character behind its last.")


class Prediction(BaseModel):
    """What was predicted: a label with the probabilities of all, or a value."""

    index: int
    label: str | None = None
    probabilities: dict[str, float] | None = None
    value: float | None = None
    words: list[Word] | None = None


class ClassifyAnswer(BaseModel):
    """Predictions in the order of the input."""

    object: Literal["list"] = "list"
    data: list[Prediction]
    model: str


class ChooseRequest(RequestBody):
    """A context, and what may follow it."""

    context: str | Annotated[list[str], Field(min_length=1)] = Field(
        description="A text, or parts of one such as a passage and a question."
    )
    options: list[str] = Field(min_length=2, description="What to choose from.")
    model: str | None = Field(None, description="A task model of choices; default: the first.")


class ChooseAnswer(BaseModel):
    """The most probable option."""

    object: Literal["choice"] = "choice"
    model: str
    index: int = Field(description="Its number, from 0.")
    option: str
    probabilities: list[float] = Field(description="Of all options, in their order.")


@router.post("/v1/classify", response_model=ClassifyAnswer, responses=POST_ERRORS)
async def classify(body: ClassifyRequest, request: Request) -> Response:
    """Classify texts or pairs, or predict values for them; say which words mattered."""
    name, task = _task(request, body.model, ("class", "value"))
    given = body.input if isinstance(body.input, list) else [body.input]
    check_count(request, len(given), "input")
    examples = [_example(item, number, name, task) for number, item in enumerate(given)]
    if body.words and body.method == "leave_one_out":
        _check_words(examples)
    return await answer(request, lambda: _classify(name, task, examples, body))


@router.post("/v1/choose", response_model=ChooseAnswer, responses=POST_ERRORS)
async def choose(body: ChooseRequest, request: Request) -> Response:
    """Choose what follows a context."""
    name, task = _task(request, body.model, ("choice",))
    check_count(request, len(body.options), "options")
    chosen = example.choice(body.context, body.options)

    def compute() -> ChooseAnswer:
        [record] = predict(task.model, task.tokenizer, [chosen]).records()
        number = record["prediction"]
        return ChooseAnswer(
            model=name,
            index=number,
            option=body.options[number],
            probabilities=record["probabilities"],
        )

    return await answer(request, compute)


def _task(request: Request, name: str | None, kinds: Sequence[str]) -> tuple[str, ServedTask]:
    """A task model whose head is of one of the kinds, and its name; None stands for the first.

    Raises:
        UnknownModel: If there is none.
    """
    models = served(request)
    fitting = [key for key, task in models.tasks.items() if task.model.head.kind in kinds]
    listed = ", ".join(map(repr, fitting)) or "none"
    if name is None and not fitting:
        raise UnknownModel(f"no task model that predicts a {' or '.join(kinds)} is served here")
    name = fitting[0] if name is None else name
    task = models.task(name)
    if name not in fitting:
        raise UnknownModel(
            f"{name!r} predicts a {task.model.head.kind}, not a {' or '.join(kinds)}; "
            f"of that kind are: {listed}"
        )
    return name, task


def _example(item: str | Pair, number: int, name: str, task: ServedTask) -> example.Example:
    layout = task.model.head.layout
    if isinstance(item, str) and layout == "text":
        return example.text(item)
    if isinstance(item, Pair) and layout != "text":
        make = example.pair if layout == "pair" else example.similarity
        return make(item.first, item.second)
    wanted = "one text" if layout == "text" else '{"first": ..., "second": ...}'
    raise ApiError(
        400,
        f"input {number} is {'one text' if isinstance(item, str) else 'a pair'} but {name!r} "
        f"reads {wanted}",
        param="input",
    )


def _check_words(examples: Sequence[example.Example]) -> None:
    count = sum(1 for item in examples for _ in word_spans(item))
    if count > MOST_WORDS:
        raise ApiError(
            400,
            f"input has {count} words, but at most {MOST_WORDS} can be left out in turn; "
            "send fewer, or method gradient",
            param="words",
        )


def _classify(
    name: str, task: ServedTask, examples: Sequence[example.Example], body: ClassifyRequest
) -> ClassifyAnswer:
    predictions = predict(task.model, task.tokenizer, examples)
    is_value = task.model.head.kind == "value"
    data = []
    for number, record in enumerate(predictions.records()):
        label: Any = record["prediction"]
        data.append(
            Prediction(
                index=number,
                label=None if is_value else label,
                probabilities=record.get("probabilities"),
                value=label if is_value else None,
                words=_words(task, examples[number], body) if body.words else None,
            )
        )
    return ClassifyAnswer(data=data, model=name)


def _words(task: ServedTask, item: example.Example, body: ClassifyRequest) -> list[Word]:
    found = attribute(task.model, task.tokenizer, item, method=body.method)
    return [
        Word(
            text=word.text,
            score=word.score,
            without=word.without,
            segment=word.place.segment,
            start=word.place.start,
            end=word.place.end,
        )
        for word in found
    ]
