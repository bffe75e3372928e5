"""What differs between the tokenizer modes, and what it costs a model."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from gpt1.config import GPTConfig
from gpt1.errors import DataError
from gpt1.evaluation import tokenizer_diff
from gpt1.evaluation.scoring import perplexity
from gpt1.evaluation.tokenizer_diff import WordDifference, compare_modes, mode_losses
from gpt1.model import GPT
from gpt1.tokenizer import Tokenizer

TEXTS = ["I can't go.", "We go", "you can't\nor can't you...", "I'm here"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """All words of both modes are pieces."""
    texts = [*TEXTS, "I can ' t go . . . i ' m"] * 3
    return Tokenizer.train(texts, vocab_size=200, mode="original")


def test_texts_tokens_and_words_are_counted(tokenizer: Tokenizer) -> None:
    found = compare_modes(TEXTS, tokenizer)
    assert (found.texts, found.differing) == (4, 3)
    for mode, tokens in (("original", found.original_tokens), ("bert", found.bert_tokens)):
        assert tokens == sum(map(len, tokenizer.with_mode(mode).encode_batch(TEXTS)))
    first, *rest = found.words
    assert (first.word, first.count) == ("can't", 3)
    assert "".join(first.original).replace("</w>", " ") == "ca n't "
    assert "".join(first.bert).replace("</w>", " ") == "can ' t "
    assert WordDifference("\n", 1, ("\n</w>",), ()) in rest
    assert {"...", "'m"} <= {word.word for word in rest}


def test_the_words_listed_are_as_many_as_asked_for(tokenizer: Tokenizer) -> None:
    assert len(compare_modes(TEXTS, tokenizer, top=2).words) == 2


def test_texts_are_read_once_and_lazily(tokenizer: Tokenizer) -> None:
    def texts() -> Iterator[str]:
        yield from TEXTS * 1000

    assert compare_modes(texts(), tokenizer).differing == 3000


def test_rare_words_are_forgotten_where_there_are_too_many(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizer_diff, "MOST_WORDS", 4)
    texts = [*["can't"] * 3, "a's b...", "c's 'em", "I'd we've"]
    assert compare_modes(texts, tokenizer).words[0].word == "can't"
    assert len(compare_modes(texts, tokenizer).words) <= 4


def test_no_text_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(DataError, match="there is no text to compare"):
        compare_modes([], tokenizer)


def test_the_losses_are_those_of_the_ids_of_each_mode(tokenizer: Tokenizer) -> None:
    torch.manual_seed(0)
    shape = GPTConfig(n_layer=1, n_head=1, n_embd=8, n_positions=16, vocab_size=len(tokenizer))
    model = GPT(shape)
    losses = dict(mode_losses(model, TEXTS, tokenizer))
    assert list(losses) == ["original", "bert"]
    for mode, loss in losses.items():
        ids = tokenizer.with_mode(mode).encode_batch(TEXTS)
        assert loss == perplexity(model, zip(TEXTS, ids, strict=True))
