"""Texts that models write, a token at a time, through the engines of the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from gpt1.errors import DataError
from gpt1.evaluation.explaining import token_texts
from gpt1.generation.stopping import GeneratedToken
from gpt1.serving.engine import Engine, Update

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from gpt1.generation.settings import Settings
    from gpt1.tokenizer import Tokenizer

PROMPT_CHARS = 8000
"""Longest text that is taken from the page."""


@dataclass(frozen=True)
class Written:
    """What a model has written so far.

    Attributes:
        tokens: With their probabilities.
        text: Of them, as far as it is final.
        finish_reason: As of a `Completion`.
    """

    tokens: tuple[GeneratedToken, ...] = ()
    text: str = ""
    finish_reason: Literal["stop", "length"] | None = None


@dataclass(frozen=True)
class Draft:
    """A prompt, what was written behind it, and the place that is looked at.

    Attributes:
        model: Name of the model.
        prompt_ids: Token ids of the prompt.
        tokens: Behind it.
        place: Number of the token that is looked at; ``len(tokens)`` is behind the text.
        kept: How many of the tokens were there when the model was asked for the rest.
        unseen: Letters at the end that are not final yet, or belong to a stop string.
    """

    model: str = ""
    prompt_ids: tuple[int, ...] = ()
    tokens: tuple[GeneratedToken, ...] = field(default=(), repr=False)
    place: int = 0
    kept: int = 0
    unseen: int = 0

    @property
    def ids(self) -> list[int]:
        """All token ids."""
        return [*self.prompt_ids, *(token.id for token in self.tokens)]

    @property
    def ids_before(self) -> list[int]:
        """Token ids in front of the place."""
        return self.ids[: len(self.prompt_ids) + self.place]

    @property
    def at(self) -> GeneratedToken | None:
        """The token at the place; None behind the text."""
        return self.tokens[self.place] if self.place < len(self.tokens) else None

    def texts(self, tokenizer: Tokenizer) -> tuple[str, list[str]]:
        """The prompt as the model read it, and what each token adds to it for people."""
        texts = token_texts(tokenizer, self.ids)
        prompt, written = texts[: len(self.prompt_ids)], texts[len(self.prompt_ids) :]
        return "".join(prompt), _beginning(written, letters("".join(written)) - self.unseen)

    def grown(self, tokenizer: Tokenizer, written: Written) -> Draft:
        """The draft with what was written behind it.

        Args:
            tokenizer: Of the model.
            written: By the model.
        """
        tokens = (*self.tokens, *written.tokens)
        longer = replace(self, tokens=tokens, place=len(tokens), kept=len(self.tokens), unseen=0)
        _, texts = longer.texts(tokenizer)
        new = "".join(texts[len(self.tokens) :])
        return replace(longer, unseen=max(0, letters(new) - letters(written.text)))


def letters(text: str) -> int:
    """Number of characters that are not spaces: spacing does not change it."""
    return len(text) - text.count(" ")


def _beginning(texts: list[str], visible: int) -> list[str]:
    """Texts up to so many letters."""
    kept = []
    for text in texts:
        if visible <= 0:
            break
        end = 0
        while end < len(text) and visible > 0:
            visible -= letters(text[end])
            end += 1
        kept.append(text[:end])
    return kept


def checked(text: str) -> str:
    """A text from the page.

    Raises:
        DataError: If it is too long.
    """
    if len(text) > PROMPT_CHARS:
        raise DataError(
            f"the text has {len(text)} characters but may have {PROMPT_CHARS} here; shorten it"
        )
    return text


def frame_s(written: Sequence[Written]) -> float:
    """Seconds to show texts before there are longer ones: a page draws all their tokens anew."""
    return max(0.04, sum(len(one.tokens) for one in written) / 10_000)


async def write(
    asked: Sequence[tuple[Engine, Sequence[int]]],
    timeout_s: float,
    **settings: Unpack[Settings],
) -> AsyncGenerator[list[Written], None]:
    """Continue a text with each of some engines, all at the same time.

    Args:
        asked: Engines, and the token ids each is to continue.
        timeout_s: Seconds after which to give up.
        **settings: As for `Engine.submit`.

    Yields:
        What each has written, whenever there is more, no more often than a page can show it. Who
        stops listening frees the slots.

    Raises:
        Gpt1Error: As `Engine.submit` does, or what ended a text.
    """
    settings["logprobs"] = 0  # of the tokens themselves
    loop = asyncio.get_running_loop()
    news: asyncio.Queue[tuple[int, Update]] = asyncio.Queue()

    def listener(number: int) -> Callable[[Update], object]:
        return lambda update: loop.call_soon_threadsafe(news.put_nowait, (number, update))

    written = [Written() for _ in asked]
    requests = []
    try:
        for number, (engine, ids) in enumerate(asked):
            request = engine.submit(ids, listener(number), timeout_s=timeout_s, **settings)
            requests.append(request)
        while True:
            number, update = await news.get()
            if update.error is not None:
                raise update.error
            known = requests[number].completions[0].logprobs or []
            count = len(written[number].tokens) + update.tokens
            text = written[number].text + update.text
            written[number] = Written(tuple(known[:count]), text, update.finish_reason)
            if not news.empty():
                continue
            yield list(written)
            if all(one.finish_reason for one in written):
                break
            await asyncio.sleep(frame_s(written))
    finally:
        for request in requests:
            request.cancel()
