"""Which words drove a prediction: each is left out in turn, or weighed by gradients.

A word's score says how far it moves the log-odds of a label, ``ln p / (1 - p)``, or a predicted
value: above 0 it speaks for the label or for a higher value, below 0 against it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gpt1.atomic import write_text_atomic
from gpt1.backbone import evaluation_mode
from gpt1.config import HeadConfig
from gpt1.errors import ConfigError
from gpt1.evaluation.predicting import Predictions, predict
from gpt1.task_model import TaskModel
from gpt1.tasks.batches import TaskBatch, collate
from gpt1.tasks.encoding import SPECIAL_TOKENS, Encoded, Special, arrange
from gpt1.tasks.example import Example, Label
from gpt1.tokenizer import Tokenizer

if TYPE_CHECKING:
    from rich.console import RenderableType

Method: TypeAlias = Literal["leave_one_out", "gradient"]
"""How words are scored."""

_WORD = re.compile(r"\S+")


class Span(NamedTuple):
    """Where a word is: characters ``start`` to ``end`` of a part of a segment of an example."""

    segment: int
    part: int
    start: int
    end: int


class Word(NamedTuple):
    """What a word did to the prediction.

    Attributes:
        text: As it stands in the text, between spaces.
        score: How far it moves the log-odds of the label, in nats, or the value, in its units.
        without: Probability of the label, or the value, without the word; None for gradients.
        place: Where it is.
    """

    text: str
    score: float
    without: float | None
    place: Span


@dataclass(frozen=True)
class Attribution:
    """The words of an example, with what each did to what was predicted for it.

    Rich prints it in colour (``rich.print(attribution)``), `save_html` draws a page.

    Attributes:
        example: What was explained.
        words: In the order of the text.
        method: How they were scored.
        prediction: The most probable class or number of an option, or the value.
        label: Of which the scores are: a class or the number of an option; None for a value.
        figure: Probability of the label, or the value.
    """

    example: Example
    words: tuple[Word, ...]
    method: Method
    prediction: Any
    label: Any
    figure: float

    def __len__(self) -> int:
        return len(self.words)

    def __iter__(self) -> Iterator[Word]:
        return iter(self.words)

    @property
    def scores(self) -> NDArray[np.float64]:
        """``(N,)``: of the words, in the order of the text."""
        return np.array([word.score for word in self.words], np.float64)

    def strongest(self, count: int | None = None) -> list[Word]:
        """The words that did most, for or against; all of them by default."""
        return sorted(self.words, key=lambda word: -abs(word.score))[:count]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        words = [{**word._asdict(), "place": word.place._asdict()} for word in self.words]
        return {
            "prediction": self.prediction,
            "label": self.label,
            "value" if self.label is None else "probability": self.figure,
            "method": self.method,
            "words": words,
        }

    def save_html(self, path: str | Path, title: str | None = None) -> None:
        """Write a page that needs no network.

        Raises:
            CheckpointError: If the file cannot be written.
        """
        from gpt1.evaluation.attribution_page import html_page

        write_text_atomic(path, html_page(self, title))

    def __rich__(self) -> RenderableType:
        from gpt1.evaluation.attribution_terminal import drawing

        return drawing(self)


def attribute(
    model: TaskModel,
    tokenizer: Tokenizer,
    example: Example,
    label: Label | None = None,
    method: Method = "leave_one_out",
) -> Attribution:
    """Score every word of an example by what it did to the prediction.

    Args:
        model: Any device.
        tokenizer: Of the model.
        example: Of the layout the model was trained on.
        label: Explain this class, or the option with this number; default: what is predicted.
        method: "leave_one_out" predicts once more for each word, without it and the space behind
            it, and takes the difference. "gradient" takes the gradient at each token's embedding
            times the embedding, summed over the tokens of the word: two passes for any text, but
            only the first-order effect.

    Returns:
        The scores.

    Raises:
        ConfigError: If there is no such method, or no such label, or a label is asked for where a
            value is predicted.
    """
    if method not in get_args(Method):
        raise ConfigError(
            f"method is {method!r} but must be one of {', '.join(map(repr, get_args(Method)))}"
        )
    spans = list(word_spans(example))
    left_out = [without(example, spans, n) for n in range(len(spans))]
    variants = [example, *left_out] if method == "leave_one_out" else [example]
    predictions = predict(model, tokenizer, variants)
    output = _output(predictions, label)
    figures = _figures(predictions, output)
    changed: Sequence[float | None]
    if method == "leave_one_out":
        support = _support(torch.from_numpy(predictions.logits), output, model.head).numpy()
        scores, changed = support[0] - support[1:], figures[1:]
    else:
        scores = _gradient_scores(model, tokenizer, example, spans, output)
        changed = [None] * len(spans)
    return Attribution(
        example=example,
        words=tuple(map(_word, [example] * len(spans), spans, scores.tolist(), changed)),
        method=method,
        prediction=predictions.labels[0],
        label=None if output is None else _names(predictions)[output],
        figure=figures[0],
    )


def _word(example: Example, place: Span, score: float, without: float | None) -> Word:
    text = example.segments[place.segment][place.part][place.start : place.end]
    return Word(text, score, without, place)


def word_spans(example: Example) -> Iterator[Span]:
    """Where the words are, in the order of the segments: what stands between white space."""
    for segment, parts in enumerate(example.segments):
        for part, text in enumerate(parts):
            for found in _WORD.finditer(text):
                yield Span(segment, part, *found.span())


def without(example: Example, spans: Sequence[Span], number: int) -> Example:
    """The example without one of its words, and without the white space up to the next.

    Args:
        example: Of any layout.
        spans: All its words, from `word_spans`.
        number: Of the word; before the last of a text the space in front goes instead.
    """
    segment, part, start, end = spans[number]
    same = [span for span in spans if span[:2] == (segment, part)]
    later = [span.start for span in same if span.start > start]
    earlier = [span.end for span in same if span.start < start]
    if later:
        end = later[0]
    elif earlier:
        start = earlier[-1]
    segments = [list(parts) for parts in example.segments]
    text = segments[segment][part]
    segments[segment][part] = text[:start] + text[end:]
    return replace(example, segments=tuple(map(tuple, segments)))


def _names(predictions: Predictions) -> list[Label]:
    """What the outputs are called; only options that are there are among them."""
    if predictions.head.kind == "class":
        return list(predictions.head.classes)
    return list(range(int(np.isfinite(predictions.logits[0]).sum())))


def _output(predictions: Predictions, label: Label | None) -> int | None:
    """Number of the output that is explained; None for a value."""
    if predictions.head.kind == "value":
        if label is not None:
            raise ConfigError(
                f"label is {label!r} but the model predicts a value, which has no labels; omit it"
            )
        return None
    names = _names(predictions)
    if label is None:
        return int(predictions.numbers[0])
    if label not in names:
        raise ConfigError(f"label is {label!r} but must be one of {', '.join(map(str, names))}")
    return names.index(label)


def _figures(predictions: Predictions, output: int | None) -> list[float]:
    if output is None:
        return [float(value) for value in predictions.values]
    return [float(p) for p in predictions.probabilities[:, output]]


def _support(logits: Tensor, output: int | None, head: HeadConfig) -> Tensor:
    """``(N,)``: log-odds of an output, or the value but for a constant, of ``(N, O)`` logits."""
    if output is None:
        return logits[:, 0] * head.label_std
    others = [number for number in range(logits.shape[1]) if number != output]
    return logits[:, output] - logits[:, others].logsumexp(dim=1)


def _gradient_scores(
    model: TaskModel,
    tokenizer: Tokenizer,
    example: Example,
    spans: Sequence[Span],
    output: int | None,
) -> NDArray[np.float64]:
    """``(words,)``: gradient times embedding, over the tokens of each word."""
    ids, owners, parts = _tokens_of_words(tokenizer, example, spans)
    # Tokens are numbered; the special ones are the last of the table: -1, -2 and -3.
    places = arrange(example, parts, model.config.n_positions, Special(-1, -2, -3))
    table = np.array([*ids, *map(tokenizer.token_id, reversed(SPECIAL_TOKENS))], np.int64)
    sequences = tuple(tuple(table[list(sequence)].tolist()) for sequence in places.sequences)
    batch = collate([Encoded(sequences, 0)], np.zeros(1, np.int64), share_context=False)
    products = embedding_products(
        model,
        batch.to(model.device),
        lambda logits: _support(logits, output, model.head)[0],
    )
    scores = np.zeros(len(spans))
    for row, sequence in zip(products.double().cpu().numpy(), places.sequences, strict=True):
        for product, token in zip(row, sequence, strict=False):
            if token >= 0 and owners[token] >= 0:
                scores[owners[token]] += product
    return scores


def _tokens_of_words(
    tokenizer: Tokenizer, example: Example, spans: Sequence[Span]
) -> tuple[list[int], list[int], list[list[list[int]]]]:
    """Ids of all tokens, the word each belongs to (-1: none), and their numbers in each part."""
    ids: list[int] = []
    owners: list[int] = []
    parts: list[list[list[int]]] = []
    for segment, texts in enumerate(example.segments):
        parts.append([])
        for part, text in enumerate(texts):
            words = [n for n, span in enumerate(spans) if span[:2] == (segment, part)]
            encoding = tokenizer.encode_with_offsets(text)
            parts[-1].append(list(range(len(ids), len(ids) + len(encoding.ids))))
            ids.extend(encoding.ids)
            owners.extend(_owner(begin, words, spans) for begin, _ in encoding.offsets)
    return ids, owners, parts


def _owner(begin: int, words: Sequence[int], spans: Sequence[Span]) -> int:
    """The last word that begins no later than a token, so that a newline goes with one as well."""
    before = [word for word in words if spans[word].start <= begin]
    return before[-1] if before else next(iter(words), -1)


def embedding_products(
    model: TaskModel, batch: TaskBatch, target: Callable[[Tensor], Tensor]
) -> Tensor:
    """Gradient times embedding at each token, positions left out.

    Args:
        model: Its weights get no gradients.
        batch: On the device of the model.
        target: A scalar, of the logits.

    Returns:
        ``(R, T)``.
    """
    embedded: list[Tensor] = []

    def cut(module: nn.Module, arguments: object, output: Tensor) -> Tensor:
        embedded.append(output.detach().requires_grad_())
        return embedded[0]

    handle = model.backbone.tokens_embed.register_forward_hook(cut)
    try:
        with evaluation_mode(model), torch.enable_grad():
            [gradient] = torch.autograd.grad(target(model(batch).logits), embedded)
    finally:
        handle.remove()
    return (gradient * embedded[0]).sum(dim=-1).detach()
