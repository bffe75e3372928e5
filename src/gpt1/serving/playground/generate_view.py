"""The view that writes: a text coloured by probability, and what else could stand in its places."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from html import escape
from typing import Any

import gradio as gr
import numpy as np

from gpt1.errors import DataError
from gpt1.evaluation.explanation_page import readable
from gpt1.generation.settings import generation_config
from gpt1.generation.stopping import GeneratedToken
from gpt1.serving.config import ServingConfig
from gpt1.serving.models import Models
from gpt1.serving.playground import snippets
from gpt1.serving.playground.distribution import Expectations
from gpt1.serving.playground.drawing import (
    card_html,
    expectation_html,
    legend_html,
    note_html,
    tokens_html,
)
from gpt1.serving.playground.events import (
    QUIET,
    answering,
    drawing,
    server_of,
    streaming,
)
from gpt1.serving.playground.sampling import Sampling
from gpt1.serving.playground.writing import Draft, checked, write

PROMPT = "Once upon a time"
EMPTY = "Press Write, and each token appears in the colour of its probability."

Values = Mapping[Any, Any]


class GenerateView:
    """The view, drawn where this is made.

    Args:
        models: Its engines write.
        config: Its limits hold.
    """

    def __init__(self, models: Models, config: ServingConfig) -> None:
        self._models, self._config = models, config
        self._expectations = {
            name: Expectations(engine.lm) for name, engine in models.engines.items()
        }
        with gr.Row(elem_classes="g-columns"):
            with gr.Column(scale=3, min_width=300):
                self._draw_writing()
                self._code = drawing(elem_classes="g-last")
            with gr.Column(scale=2, min_width=300):
                self._next = drawing()
                with gr.Group(elem_classes="g-controls"):
                    self._sampling = Sampling(config)
        self._inputs = {self._model, self._prompt, self._draft, *self._sampling.components}
        self._drawn = [self._draft, self._text, self._next, self._code]

    def _draw_writing(self) -> None:
        names = list(self._models.engines)
        self._draft = gr.State(Draft())
        self._model = gr.Dropdown(names, value=names[0], label="Model", visible=len(names) > 1)
        self._prompt = gr.Textbox(PROMPT, label="Prompt", lines=3, max_length=8000)
        with gr.Row(elem_classes="g-buttons"):
            self._write = gr.Button("Write", variant="primary")
            self._more = gr.Button("Write more")
            self._stop = gr.Button("Stop")
        self._text = drawing(self._text_html(Draft()))

    def connect(self, page: gr.Blocks) -> None:
        """Let the view react.

        Args:
            page: That it is on; when it is opened, the view shows what follows the prompt.
        """
        inputs, drawn = self._inputs, self._drawn
        begin = answering(self._begin)
        page.load(begin, inputs, drawn, **QUIET)
        edits: list[Any] = [self._prompt.change, self._model.change]
        for changed in edits:
            changed(begin, inputs, drawn, trigger_mode="always_last", **QUIET)
        look = answering(self._look)
        for control in self._sampling.components:
            control.change(
                look, inputs, [self._next, self._code], trigger_mode="always_last", **QUIET
            )
        self._text.choose(answering(self._place), inputs, drawn, **QUIET)
        starts: list[tuple[Any, Any]] = [
            (self._write.click, self._write_new),
            (self._more.click, self._write_more),
            (self._next.choose, self._choose),
        ]
        runs = [on(streaming(handler), inputs, drawn, **QUIET) for on, handler in starts]
        for on, _ in starts:  # whoever starts ends what the others started
            others = [run for run, (other, _) in zip(runs, starts, strict=True) if other is not on]
            on(None, cancels=others, **QUIET)
        self._stop.click(answering(self._show), inputs, drawn, cancels=runs, **QUIET)

    # ------------------------------------------------------------ what happens

    async def _begin(self, values: Values, request: gr.Request) -> list[Any]:
        """A new prompt, with nothing behind it."""
        return await self._shown(self._new(values), values, request)

    async def _show(self, values: Values, request: gr.Request) -> list[Any]:
        return await self._shown(values[self._draft], values, request)

    async def _look(self, values: Values, request: gr.Request) -> list[Any]:
        """Other settings."""
        return (await self._shown(values[self._draft], values, request))[2:]

    async def _place(self, values: Values, event: gr.EventData, request: gr.Request) -> list[Any]:
        """Another token of the text to look at, or, chosen again, the end of the text."""
        draft, number = values[self._draft], _number(event)
        if not 0 <= number < len(draft.tokens):
            raise DataError(f"there is no token {number}; choose one of the text")
        place = len(draft.tokens) if number == draft.place else number
        return await self._shown(replace(draft, place=place), values, request)

    async def _write_new(
        self, values: Values, request: gr.Request
    ) -> AsyncGenerator[list[Any], None]:
        async for shown in self._written(self._new(values), values, request):
            yield shown

    async def _write_more(
        self, values: Values, request: gr.Request
    ) -> AsyncGenerator[list[Any], None]:
        draft = values[self._draft]
        draft = replace(draft, place=len(draft.tokens)) if draft.prompt_ids else self._new(values)
        async for shown in self._written(draft, values, request):
            yield shown

    async def _choose(
        self, values: Values, event: gr.EventData, request: gr.Request
    ) -> AsyncGenerator[list[Any], None]:
        """Another token in the place that is looked at, and a text behind it."""
        draft = values[self._draft] if values[self._draft].prompt_ids else self._new(values)
        expectations = self._expectations[draft.model]
        token = expectations.check(_number(event))
        before, _ = await self._models.work(
            lambda: expectations.probabilities(draft.ids_before, generation_config())
        )
        piece = self._models.engine(draft.model).lm.tokenizer.pieces([token])[0]
        log_prob = float(np.log(max(before[token], np.finfo(np.float64).tiny)))
        tokens = (*draft.tokens[: draft.place], GeneratedToken(token, piece, log_prob, []))
        draft = replace(draft, tokens=tokens, place=len(tokens))
        async for shown in self._written(draft, values, request):
            yield shown

    def _new(self, values: Values) -> Draft:
        name = values[self._model]
        ids = self._models.engine(name).lm.prompt_ids(checked(values[self._prompt]))
        return Draft(model=name, prompt_ids=tuple(ids))

    async def _written(
        self, draft: Draft, values: Values, request: gr.Request
    ) -> AsyncGenerator[list[Any], None]:
        """Write behind a draft."""
        settings = self._sampling.settings(values)
        engine = self._models.engine(draft.model)
        grown = draft
        async with aclosing(
            write([(engine, draft.ids)], self._config.timeout_s, **settings)
        ) as steps:
            async for [written] in steps:
                grown = draft.grown(engine.lm.tokenizer, written)
                yield [grown, self._text_html(grown), gr.skip(), gr.skip()]
        yield await self._shown(grown, values, request)

    # ------------------------------------------------------------ what is shown

    async def _shown(self, draft: Draft, values: Values, request: gr.Request) -> list[Any]:
        settings = self._sampling.settings(values)
        config = generation_config(**settings)
        here = None if draft.at is None else draft.at.id
        expectations = self._expectations[draft.model]
        expected = await self._models.work(lambda: expectations(draft.ids_before, config, here))
        prompt: Any = draft.ids[: len(draft.prompt_ids) + draft.kept]
        if not draft.kept:
            prompt = values[self._prompt]
        body = snippets.completion(draft.model, prompt, settings)
        code = snippets.code_html(
            snippets.curl(server_of(request), "/v1/completions", body),
            snippets.openai_program(server_of(request), [body]),
        )
        place = _place_name(draft)
        return [draft, self._text_html(draft), expectation_html(expected, place, here), code]

    def _text_html(self, draft: Draft) -> str:
        if not draft.tokens:
            return card_html(note_html(EMPTY))
        tokenizer = self._models.engine(draft.model).lm.tokenizer
        prompt, texts = draft.texts(tokenizer)
        log_probs = [token.log_prob for token in draft.tokens]
        return card_html(tokens_html(prompt, texts, log_probs, draft.place) + legend_html())


def _number(event: gr.EventData) -> int:
    """What was chosen in a drawing."""
    choice = event._data.get("choice") if isinstance(event._data, dict) else None
    if not (isinstance(choice, str) and choice.isascii() and choice.isdigit()):
        raise DataError("nothing was chosen; choose a token")
    return int(choice)


def _place_name(draft: Draft) -> str:
    """Where a draft is looked at, as HTML."""
    if draft.at is not None:
        return f"In place of “{escape(readable(draft.at.piece))}”"
    return "What comes next" if draft.tokens else "What comes first"
