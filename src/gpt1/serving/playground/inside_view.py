"""The view that looks inside: surprisal, attention of every head, and the logit lens of a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from gpt1.errors import DataError
from gpt1.evaluation.explanation_page import html_page
from gpt1.language_model import LanguageModel
from gpt1.serving.models import Models
from gpt1.serving.playground import snippets
from gpt1.serving.playground.drawing import frame_html, note_html
from gpt1.serving.playground.events import QUIET, answering, drawing, server_of
from gpt1.serving.playground.writing import checked

MOST_TOKENS = 160
"""Tokens of a text that are drawn: the maps of all heads grow with their square."""

TEXT = "The little girl was happy because she had found her dog."


class InsideView:
    """The view, drawn where this is made.

    Args:
        models: Its language models are looked into.
    """

    def __init__(self, models: Models) -> None:
        self._models = models
        names = list(models.engines)
        self._model = gr.Dropdown(names, value=names[0], label="Model", visible=len(names) > 1)
        self._text = gr.Textbox(TEXT, label="Text", lines=3, max_length=8000)
        with gr.Row(elem_classes="g-buttons"):
            self._look = gr.Button("Look inside", variant="primary")
        self._page = drawing(note_html("Attention, the logit lens and surprisal appear here."))
        self._code = drawing()

    def connect(self) -> None:
        """Let the view react."""
        inputs: set[Any] = {self._model, self._text}
        self._look.click(answering(self._shown), inputs, [self._page, self._code], **QUIET)

    async def _shown(self, values: Mapping[Any, Any], request: gr.Request) -> list[Any]:
        name, text = values[self._model], checked(values[self._text])
        lm = self._models.engine(name).lm
        page = await self._models.work(lambda: _page(lm, text))
        body = {"model": name, "input": text, "lens": True, "attention": {"layer": 1}}
        code = snippets.code_html(
            snippets.curl(server_of(request), "/v1/explain", body),
            snippets.http_program(server_of(request), "/v1/explain", body),
        )
        return [frame_html(page, "Inside the model", has_scripts=True), code]


def _page(lm: LanguageModel, text: str) -> str:
    """The page of a text.

    Raises:
        DataError: If the text has no tokens, or too many.
    """
    ids = lm.tokenizer.encode(text)
    limit = min(MOST_TOKENS, lm.model.config.n_positions)
    if not 1 <= len(ids) <= limit:
        raise DataError(f"the text has {len(ids)} tokens but must have 1 to {limit} to be drawn")
    return html_page(lm.explain(ids))
