"""The view that compares: two models, such as before and after fine-tuning, continue one prompt."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import gradio as gr

from gpt1.serving.config import ServingConfig
from gpt1.serving.models import Models
from gpt1.serving.playground import snippets
from gpt1.serving.playground.drawing import (
    card_html,
    figures_html,
    legend_html,
    note_html,
    tokens_html,
)
from gpt1.serving.playground.events import QUIET, answering, drawing, server_of, streaming
from gpt1.serving.playground.sampling import Sampling
from gpt1.serving.playground.writing import Draft, Written, checked, write

PROMPT = "My dog and I"
SIDES = ("Left", "Right")

Values = Mapping[Any, Any]


class CompareView:
    """The view, drawn where this is made.

    Args:
        models: Two of its engines write, or one twice.
        config: Its limits hold.
    """

    def __init__(self, models: Models, config: ServingConfig) -> None:
        self._models, self._config = models, config
        names = list(models.engines)
        self._prompt = gr.Textbox(PROMPT, label="Prompt", lines=2, max_length=8000)
        with gr.Row(elem_classes="g-buttons"):
            self._write = gr.Button("Write with both", variant="primary")
            self._stop = gr.Button("Stop")
        with gr.Row(elem_classes="g-columns"):
            sides = [self._draw_side(*side) for side in zip(SIDES, (names * 2)[:2], strict=True)]
        self._chosen, self._texts = zip(*sides, strict=True)
        gr.HTML(legend_html(), apply_default_css=False)
        with gr.Accordion("Sampling", open=False), gr.Group(elem_classes="g-controls wide"):
            self._sampling = Sampling(config)
        self._code = drawing()
        self._inputs = {self._prompt, *self._chosen, *self._sampling.components}

    def _draw_side(self, side: str, name: str) -> tuple[Any, Any]:
        with gr.Column(min_width=300):
            chosen = gr.Dropdown(list(self._models.engines), value=name, label=f"{side} model")
            text = drawing(card_html(note_html("What this model writes.")))
        return chosen, text

    def connect(self, page: gr.Blocks) -> None:
        """Let the view react.

        Args:
            page: That it is on.
        """
        run = self._write.click(streaming(self._written), self._inputs, list(self._texts), **QUIET)
        self._stop.click(None, cancels=[run], **QUIET)
        code = answering(self._shown_code)
        page.load(code, self._inputs, self._code, **QUIET)
        for given in (self._prompt, *self._chosen, *self._sampling.components):
            given.change(code, self._inputs, self._code, trigger_mode="always_last", **QUIET)

    async def _written(self, values: Values) -> AsyncGenerator[list[str], None]:
        """Both texts, as they grow."""
        settings = self._sampling.settings(values)
        prompt = checked(values[self._prompt])
        engines = [self._models.engine(values[chosen]) for chosen in self._chosen]
        prompts = [engine.lm.prompt_ids(prompt) for engine in engines]
        asked = list(zip(engines, prompts, strict=True))
        async with aclosing(write(asked, self._config.timeout_s, **settings)) as steps:
            async for both in steps:
                yield [
                    self._text_html(values[chosen], ids, written)
                    for chosen, ids, written in zip(self._chosen, prompts, both, strict=True)
                ]

    def _text_html(self, name: str, ids: list[int], written: Written) -> str:
        tokenizer = self._models.engine(name).lm.tokenizer
        draft = Draft(model=name, prompt_ids=tuple(ids)).grown(tokenizer, written)
        log_probs = [token.log_prob for token in draft.tokens]
        text = tokens_html(*draft.texts(tokenizer), log_probs, can_choose=False)
        return card_html(text + figures_html(log_probs))

    async def _shown_code(self, values: Values, request: gr.Request) -> str:
        settings = self._sampling.settings(values)
        bodies = [
            snippets.completion(values[chosen], checked(values[self._prompt]), settings)
            for chosen in self._chosen
        ]
        server = server_of(request)
        commands = [snippets.curl(server, "/v1/completions", body) for body in bodies]
        return snippets.code_html("\n\n".join(commands), snippets.openai_program(server, bodies))
