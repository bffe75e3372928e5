"""What the paper asks a language model about each task, without any training on the task.

Source: GPT-1 section 5, "Zero-shot behaviors", and figure 2 (right). What the paper leaves open is
a field of `ZeroShotConfig`; the default is the plainest reading.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from gpt1.errors import ConfigError, DataError, TokenizerError
from gpt1.evaluation.label_words import Queries, word_queries
from gpt1.tokenizer import END_OF_TEXT, NEWLINE_PIECE, Tokenizer

Row: TypeAlias = Mapping[str, Any]
"""One row of a data file, by column."""

CONTEXT_PIECES = {"end_of_text": END_OF_TEXT, "newline": NEWLINE_PIECE, "period": ".</w>"}
"""Tokens a first token can be predicted from."""


@dataclass(frozen=True, kw_only=True)
class ZeroShotConfig:
    """What the paper does not say, as options; the defaults are its rules read plainly."""

    reduction: Literal["mean", "sum"] = "mean"
    """What becomes of the log-probabilities of several tokens: their mean, or their sum."""
    first_token: Literal["skip", "end_of_text", "newline", "period"] = "skip"
    """cola: the first token of a sentence is left out, or predicted from this one token."""
    words: tuple[str, ...] = ("negative", "positive")
    """sst2: the words for class 0 and class 1."""
    template: str = "{text} very"
    """sst2: what is read before the word."""
    scored: Literal["after", "full"] = "after"
    """dprd, wsc273: the tokens after the candidate, or the whole sentence from its second token."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How a task is asked and judged.

    Attributes:
        columns: What a row has to have.
        queries: Makes the prompts and candidates of rows, in order; the candidates of one row may
            each have a prompt of their own.
        label: Number of the right candidate, or the class.
        options: Fields of `ZeroShotConfig` that make a difference.
        variants: What `--compare-options` tries besides the defaults.
        threshold: Whether a row has one candidate, whose score is compared with a fitted threshold;
            else the best of several candidates is the answer.
        best: Score of the best single model figure 2 is scaled by, as a fraction; None: not known.
        best_is: Where that figure is from.
    """

    columns: tuple[str, ...]
    queries: Callable[[Tokenizer, Sequence[Row], ZeroShotConfig], Queries]
    label: Callable[[Row], int]
    options: tuple[str, ...]
    variants: tuple[dict[str, Any], ...]
    best: float | None
    best_is: str
    threshold: bool = False

    def check(self, row: Row, where: str) -> None:
        """Refuse a row that cannot be used.

        Args:
            row: Of a data file.
            where: It is, for the message.

        Raises:
            DataError: If a column is missing or empty, or the label is none of the answers.
        """
        missing = [name for name in self.columns if row.get(name) in (None, "", [])]
        if missing:
            raise DataError(
                f"{where}: no {missing[0]!r} among its columns {list(row)}; "
                f"needed are {', '.join(self.columns)}"
            )
        answers = len(row["options"]) if "options" in self.columns else 2
        try:
            known = 0 <= self.label(row) < answers
        except (TypeError, ValueError):
            known = False
        if not known:
            label = row[self.columns[-1]]
            raise DataError(f"{where}: the label {label!r} names none of the {answers} answers")


def _class(row: Row) -> int:
    return int(row["label"])


def _letter(row: Row) -> int:
    return "ABCDEFGHIJ".index(row["answer"])


def cola(tokenizer: Tokenizer, rows: Sequence[Row], config: ZeroShotConfig) -> Queries:
    """The sentence is the continuation: of its own first token, or of a token put before it."""
    sentences = tokenizer.encode_batch(row["sentence"] for row in rows)
    if [] in sentences:
        raise DataError(f"sentence {sentences.index([])} has no tokens; leave it out")
    if config.first_token == "skip":
        return Queries([ids[:1] for ids in sentences], [[ids[1:]] for ids in sentences])
    context = context_token(tokenizer, config.first_token)
    return Queries([[context]] * len(sentences), [[ids] for ids in sentences])


def context_token(tokenizer: Tokenizer, name: str) -> int:
    """The id behind which a first token is predicted.

    Raises:
        ConfigError: If the vocabulary has no such token.
    """
    if name not in CONTEXT_PIECES:
        allowed = ", ".join(["skip", *CONTEXT_PIECES])
        raise ConfigError(f"first_token is {name!r} but must be one of {allowed}")
    try:
        return tokenizer.token_id(CONTEXT_PIECES[name])
    except TokenizerError:
        raise ConfigError(
            f"first_token is {name!r} but the vocabulary has no {CONTEXT_PIECES[name]!r}; use skip"
        ) from None


def sst2(tokenizer: Tokenizer, rows: Sequence[Row], config: ZeroShotConfig) -> Queries:
    """Which of two words follows the sentence with "very" behind it?"""
    return word_queries(tokenizer, [row["sentence"] for row in rows], config.words, config.template)


def race(tokenizer: Tokenizer, rows: Sequence[Row], config: ZeroShotConfig) -> Queries:
    """Which answer follows passage and question? Nothing stands between them."""
    articles = tokenizer.encode_batch(row["article"] for row in rows)
    questions = tokenizer.encode_batch(row["question"] for row in rows)
    prompts = [a + q for a, q in zip(articles, questions, strict=True)]
    return Queries(prompts, [tokenizer.encode_batch(row["options"]) for row in rows])


def winograd(tokenizer: Tokenizer, rows: Sequence[Row], config: ZeroShotConfig) -> Queries:
    """Which candidate, put in the place of the pronoun, makes the rest of the sentence likelier?

    The candidate is put in as it is spelled: the tokenizer lower-cases it anyway. The sentence is
    tokenized as a whole; the scored tokens are those that begin behind the candidate.
    """
    if config.scored not in ("after", "full"):
        raise ConfigError(f"scored is {config.scored!r} but must be one of after, full")
    prompts, continuations = [], []
    for number, row in enumerate(rows):
        start, end = _span(row, number)
        for option in row["options"]:
            text = row["text"][:start] + option + row["text"][end:]
            ids, _, offsets = tokenizer.encode_with_offsets(text)
            behind = sum(begin < start + len(option) for begin, _ in offsets)
            first = behind if config.scored == "after" else 1
            prompts.append(ids[:first])
            continuations.append([ids[first:]])
    return Queries(prompts, continuations)


def _span(row: Row, number: int) -> tuple[int, int]:
    """First character of the pronoun, and the one behind its last."""
    match row["span"]:
        case [int(start), int(end)] if 0 <= start < end <= len(row["text"]):
            return start, end
    raise DataError(
        f"row {number} has the span {row['span']!r} but needs [start, end) of the pronoun in its "
        f"text of {len(row['text'])} characters"
    )


RULES: dict[str, Rule] = {
    "cola": Rule(
        columns=("sentence", "label"),
        queries=cola,
        label=_class,
        options=("reduction", "first_token"),
        variants=tuple(
            {"first_token": first_token, "reduction": reduction}
            for first_token in ("skip", "period", "newline", "end_of_text")
            for reduction in ("mean", "sum")
        )[1:],
        threshold=True,
        best=0.350,
        best_is="the best before GPT-1 in the paper's table 4",
    ),
    "sst2": Rule(
        columns=("sentence", "label"),
        queries=sst2,
        label=_class,
        options=("words", "template", "reduction"),
        variants=(
            {"reduction": "sum"},
            {"words": ("bad", "good")},
            {"words": ("terrible", "great")},
            {"words": ("awful", "wonderful")},
            {"words": ("dull", "interesting")},
            {"template": "{text}"},
            {"template": "{text} it is very", "words": ("bad", "good")},
        ),
        best=0.932,
        best_is="the best before GPT-1 in the paper's table 4",
    ),
    "race": Rule(
        columns=("article", "question", "options", "answer"),
        queries=race,
        label=_letter,
        options=("reduction",),
        variants=({"reduction": "sum"},),
        best=0.590,
        best_is="GPT-1 fine-tuned, table 3: the best before it is an ensemble of nine models",
    ),
    "dprd": Rule(
        columns=("text", "span", "options", "label"),
        queries=winograd,
        label=_class,
        options=("scored", "reduction"),
        variants=(
            {"reduction": "sum"},
            {"scored": "full"},
            {"scored": "full", "reduction": "sum"},
        ),
        best=None,
        best_is="the paper does not name it",
    ),
}
RULES["wsc273"] = dataclasses.replace(RULES["dprd"], best_is="not a task of the paper")
