"""The view that classifies: what a task model predicts, and which words drove it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import gradio as gr

from gpt1.errors import DataError
from gpt1.evaluation.attribution import Method, attribute, word_spans
from gpt1.evaluation.attribution_page import METHODS, html_page
from gpt1.evaluation.predicting import predict
from gpt1.serving.models import Models, ServedTask
from gpt1.serving.playground import snippets
from gpt1.serving.playground.drawing import frame_html, note_html, shares_html
from gpt1.serving.playground.events import QUIET, answering, drawing, server_of
from gpt1.serving.playground.writing import checked
from gpt1.tasks import example
from gpt1.tasks.example import Example

MOST_WORDS = 256
"""Words that are left out in turn: each is one more prediction."""

MOST_OPTIONS = 16

Values = Mapping[Any, Any]

LABELS = {
    "text": ("Text", None, None),
    "pair": ("First text", "Second text", None),
    "similarity": ("First text", "Second text", None),
    "choice": ("Context", None, "Options, one a line"),
}
"""What is asked for, by the layout of the model: labels of the three fields, None for none."""


class ClassifyView:
    """The view, drawn where this is made.

    Args:
        models: Its task models predict.
    """

    def __init__(self, models: Models) -> None:
        self._models = models
        names = list(models.tasks)
        self._model = gr.Dropdown(names, value=names[0], label="Task model")
        self._fields = [gr.Textbox(**field) for field in self._fields_of(names[0])]
        self._method = gr.Radio(
            [(METHODS[method], method) for method in get_args(Method)],
            value="leave_one_out",
            label="Words are scored by",
        )
        with gr.Row(elem_classes="g-buttons"):
            self._classify = gr.Button("Classify", variant="primary")
        self._shares = drawing(note_html("The prediction, and the words that mattered."))
        self._page = drawing()
        self._code = drawing()

    def _fields_of(self, name: str) -> list[dict[str, Any]]:
        """How the three fields look for a model."""
        labels = LABELS[self._models.task(name).model.head.layout]
        return [
            {"label": label or "", "visible": label is not None, "lines": 3, "max_length": 8000}
            for label in labels
        ]

    def connect(self) -> None:
        """Let the view react."""

        async def fields(name: str) -> list[Any]:
            return [gr.update(**field) for field in self._fields_of(name)]

        inputs: set[Any] = {self._model, self._method, *self._fields}
        self._model.change(answering(fields), self._model, self._fields, **QUIET)
        self._classify.click(
            answering(self._shown), inputs, [self._shares, self._page, self._code], **QUIET
        )

    async def _shown(self, values: Values, request: gr.Request) -> list[Any]:
        name, method = values[self._model], values[self._method]
        task = self._models.task(name)
        texts = [checked(values[field] or "") for field in self._fields]
        given = _example(task, *texts)
        if method == "leave_one_out" and (words := len(list(word_spans(given)))) > MOST_WORDS:
            raise DataError(
                f"there are {words} words but at most {MOST_WORDS} can be left out in turn; "
                "score them by gradients, or shorten the text"
            )
        shares, page = await self._models.work(lambda: _drawn(task, given, method))
        path, body = _request(name, given, method)
        code = snippets.code_html(
            snippets.curl(server_of(request), path, body),
            snippets.http_program(server_of(request), path, body),
        )
        frame = frame_html(page, "Which words drove the prediction", has_scripts=False)
        return [shares, frame, code]


def _example(task: ServedTask, first: str, second: str, options: str) -> Example:
    """What is to be classified.

    Raises:
        DataError: If a part of it is missing.
    """
    layout = task.model.head.layout
    for label, text in zip(LABELS[layout], (first, second, options), strict=True):
        if label is not None and not text.strip():
            raise DataError(f"the field {label!r} is empty; write something there")
    if layout == "choice":
        lines = [line.strip() for line in options.splitlines() if line.strip()]
        if len(lines) > MOST_OPTIONS:
            raise DataError(f"there are {len(lines)} options but may be {MOST_OPTIONS}")
        return example.choice(first, lines)
    if layout == "text":
        return example.text(first)
    make = example.pair if layout == "pair" else example.similarity
    return make(first, second)


def _drawn(task: ServedTask, given: Example, method: Method) -> tuple[str, str]:
    """The probabilities, and the page of the words."""
    [record] = predict(task.model, task.tokenizer, [given]).records()
    attribution = attribute(task.model, task.tokenizer, given, method=method)
    found = record.get("probabilities")
    if found is None:
        title, shares = f"Predicted value: {record['prediction']:.4g}", []
    elif isinstance(found, dict):
        title, shares = "Prediction", [(str(name), share) for name, share in found.items()]
    else:
        options = ["".join(parts) for parts in given.segments[1:]]
        title, shares = "Prediction", list(zip(options, found, strict=True))
    return shares_html(title, shares), html_page(attribution)


def _request(name: str, given: Example, method: Method) -> tuple[str, dict[str, Any]]:
    """The path and the body of the same request."""
    parts = ["".join(segment) for segment in given.segments]
    if given.layout == "choice":
        return "/v1/choose", {"model": name, "context": parts[0], "options": parts[1:]}
    inputs: Any = (
        parts[0] if given.layout == "text" else dict(zip(("first", "second"), parts, strict=True))
    )
    return "/v1/classify", {"model": name, "input": inputs, "words": True, "method": method}
