"""The steps of the tutorial that only look at a model: tokens, scores, greedy text, a joke."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from gpt1.backbone import require_gpt
from gpt1.language_model import LanguageModel
from gpt1.model import GPTOutput
from gpt1.reproduce.findings import Check, Section
from gpt1.reproduce.published import (
    JOKE_END,
    JOKE_START,
    LOGITS_TOLERANCE,
    PRINTED_TOLERANCE,
    SENTENCE,
    TOTAL_IDS,
    Published,
)
from gpt1.reproduce.tutorial_recipe import END_MARKER, marked
from gpt1.tokenizer import Tokenizer


def tokens(lm: LanguageModel, original: Tokenizer, published: Published | None) -> Section:
    """Ids of the example sentence, in both modes.

    Args:
        lm: With the tokenizer of mode ``bert``, which the tutorial has.
        original: The same vocabulary, in the authors' mode.
        published: Expected values, or None.
    """
    ids = lm.tokenizer.encode(SENTENCE)
    return Section.of_checks(
        "Tokens",
        [
            Check(f'ids of "{SENTENCE}"', ids, published.sentence_ids if published else None),
            Check("pieces", " ".join(lm.tokenizer.pieces(ids))),
            Check("ids in mode original", original.encode(SENTENCE)),
        ],
        "Expected are the ids of transformers' tokenizer, which mode bert has; mode original "
        "splits words as the authors did.",
    )


def parameters(lm: LanguageModel, published: Published | None) -> Section:
    """Number of weights."""
    count = lm.model.num_parameters()
    return Section.of_checks(
        "Parameters",
        [Check("trainable numbers", count, published.parameters if published else None)],
    )


def outputs(lm: LanguageModel) -> Section:
    """What a forward pass returns, and in what shapes."""
    ids = _sentence(lm)
    with torch.inference_mode():
        plain = lm.model(ids)
        full = lm.model(ids, output_hidden_states=True, output_attentions=True)
        scored = lm.model(ids, labels=ids)
    return Section.of_checks(
        "Output",
        [
            Check("fields", _fields(plain)),
            Check("fields with labels", _fields(scored)),
            Check("logits", _shape(full.logits)),
            Check("hidden_states", f"{len(full.hidden_states)} x {_shape(full.hidden_states[0])}"),
            Check("attentions", f"{len(full.attentions)} x {_shape(full.attentions[0])}"),
        ],
        "With labels gpt1 returns the loss alone and never holds all logits.",
    )


@torch.inference_mode()
def scores(lm: LanguageModel, published: Published | None) -> Section:
    """Logits, the probability of the next token, the loss."""
    ids = _sentence(lm)
    logits = lm.model(ids).logits[0]
    best = logits[-1].softmax(-1).max(-1)
    return Section.of_checks(
        "Scores",
        [
            Check(
                "logits[0, 0, :3]",
                logits[0, :3].tolist(),
                published.first_logits if published else None,
                LOGITS_TOLERANCE,
            ),
            Check(
                "logits[0, -1, :3]",
                logits[-1, :3].tolist(),
                published.last_logits if published else None,
                LOGITS_TOLERANCE,
            ),
            Check("most likely next token", lm.tokenizer.pieces([int(best.indices)])[0]),
            Check(
                "its probability",
                float(best.values),
                published.first_probability if published else None,
                PRINTED_TOLERANCE,
            ),
            Check(
                "loss with labels = inputs, nats",
                float(lm.model(ids, labels=ids).loss),
                published.loss if published else None,
                PRINTED_TOLERANCE,
            ),
        ],
    )


def greedy(lm: LanguageModel, published: Published | None) -> Section:
    """The most likely text, by `LanguageModel.generate` and by a loop written out."""
    prompt = lm.tokenizer.encode(SENTENCE)
    count = max(1, TOTAL_IDS - len(prompt))
    [[completion]] = lm.complete(SENTENCE, max_new_tokens=count)
    loop = greedy_ids(lm, prompt, count)
    expected = published.greedy_ids if published else None
    return Section.of_checks(
        "Greedy text",
        [
            Check("new ids by generate", completion.ids, expected),
            Check("new ids by the loop", loop, expected),
            Check("both agree", completion.ids == loop, True),
            Check("ids in all", len(prompt) + len(loop), TOTAL_IDS if published else None),
            Check("text", lm.tokenizer.decode([*prompt, *loop])),
        ],
    )


@torch.inference_mode()
def greedy_ids(lm: LanguageModel, prompt: Sequence[int], count: int) -> list[int]:
    """Continue a prompt by hand: take the highest score, feed it back, keep keys and values.

    Args:
        lm: The model.
        prompt: Token ids.
        count: New ids at most; the end-of-text token ends them earlier and is left out.

    Returns:
        The new ids.
    """
    cache = require_gpt(lm.model, "a cache").new_cache(1, len(prompt) + count)
    end = lm.tokenizer.end_of_text_id
    # Special tokens do not belong in a text, and a table may have rows no token is named after.
    ordinary = set(range(lm.tokenizer.vocab_size)) - set(lm.tokenizer.special_tokens.values())
    allowed = torch.tensor(sorted(ordinary | ({end} if end is not None else set())))
    ids: list[int] = []
    newest = list(prompt)
    while len(ids) < count:
        logits = lm.model(torch.tensor([newest], device=lm.model.device), cache=cache).logits
        cache.advance(len(newest))
        best = int(allowed[logits[0, -1].cpu()[allowed].argmax()])
        if best == end:
            break
        ids.append(best)
        newest = [best]
    return ids


def example_joke(jokes: Sequence[str], published: Published | None) -> tuple[str, bool]:
    """The tutorial's joke where the data has it, else the first; and which it is.

    Args:
        jokes: All of the data, at least one.
        published: Expected values, or None: then any joke does.

    Returns:
        The joke, and whether its number of ids is known.
    """
    if published:
        for joke in jokes:
            if joke.startswith(JOKE_START) and joke.strip().endswith(JOKE_END):
                return joke.strip(), True
    return jokes[0], False


def joke(
    lm: LanguageModel, original: Tokenizer, jokes: Sequence[str], published: Published | None
) -> Section:
    """One joke as the tutorial feeds it, and as gpt1 does.

    Args:
        lm: With the tokenizer of mode ``bert``.
        original: The same vocabulary, in the authors' mode.
        jokes: All of the data.
        published: Expected values, or None.
    """
    text, is_known = example_joke(jokes, published)
    ids = lm.tokenizer.encode(marked(text))
    marker = lm.tokenizer.encode(END_MARKER)
    in_original = original.encode(marked(text))
    rows = [
        Check("joke", text),
        Check("ids, marker typed as text", ids),
        Check("how many", len(ids), published.joke_ids if published and is_known else None),
        Check("spent on the marker", len(marker), published.marker_ids if published else None),
        Check("shape", shown_shape([1, len(ids)])),
        Check("pieces of the marker", " ".join(lm.tokenizer.pieces(marker))),
        Check("how many with gpt1's marker, one id", len(ids) - len(marker) + 1),
        Check("ids in mode original", in_original),
        Check("mode original gives the same", in_original == ids),
    ]
    remarks = []
    if published and not is_known:
        remarks.append(
            f'The data does not hold the tutorial\'s own joke, "{JOKE_START} ... {JOKE_END}", so '
            "this is another one; its number of ids is not published."
        )
    return Section.of_checks("A joke", rows, *remarks)


def shown_shape(sizes: Sequence[int]) -> str:
    """``(1, 30)``."""
    return f"({', '.join(map(str, sizes))})"


def _shape(tensor: torch.Tensor) -> str:
    return shown_shape(tensor.shape)


def _fields(output: GPTOutput) -> str:
    return ", ".join(name for name, value in output._asdict().items() if value is not None)


def _sentence(lm: LanguageModel) -> torch.Tensor:
    return torch.tensor([lm.tokenizer.encode(SENTENCE)], device=lm.model.device)
