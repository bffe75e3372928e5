"""Vectors of examples, against hidden states of single texts in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gpt1.config import GPTConfig
from gpt1.errors import ConfigError, TokenizerError
from gpt1.evaluation import features
from gpt1.evaluation.features import Pooling, example_features
from gpt1.model import GPT
from gpt1.tasks.example import choice, pair, similarity, text
from gpt1.tokenizer import Tokenizer
from tasks.worlds import WORDS, new_tokenizer, texts

TOKENIZER = new_tokenizer()
BARE = Tokenizer.train([" ".join(WORDS)] * 4, vocab_size=120)


def new_model() -> GPT:
    shape = GPTConfig(
        vocab_size=TOKENIZER.vocab_size, n_positions=16, n_embd=16, n_layer=2, n_head=2
    )
    model = GPT(shape.replace(initializer_range=0.3))
    model.reset_parameters(torch.Generator().manual_seed(0))
    return model.eval()


MODEL = new_model()
EXACT = new_model().double()
S, D, E = (TOKENIZER.token_id(name) for name in ("_start_", "_delimiter_", "_classify_"))


def states(ids: list[int]) -> NDArray[np.float64]:
    with torch.no_grad():
        return EXACT.hidden(torch.tensor([ids]))[0].numpy()


@settings(max_examples=20)
@given(items=st.lists(texts(), min_size=1, max_size=6), most=st.integers(1, 60))
def test_vectors_are_those_of_each_text_alone(items: list[str], most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "BATCH_TOKENS", most)
        for pooling in ("last", "mean"):
            found = example_features(MODEL, BARE, [text(item) for item in items], pooling)
            for vector, item in zip(found, items, strict=True):
                alone = states(BARE.encode(item))
                expected = alone[-1] if pooling == "last" else alone.mean(axis=0)
                np.testing.assert_allclose(vector, expected, atol=1e-4)
    assert found.dtype == np.float32


def test_extract_is_what_the_head_of_the_task_reads() -> None:
    a, b = TOKENIZER.encode("the cat"), TOKENIZER.encode("a red dog")
    [one] = example_features(MODEL, TOKENIZER, [text("the cat")], "extract")
    np.testing.assert_allclose(one, states([S, *a, E])[-1], atol=1e-4)
    [both] = example_features(MODEL, TOKENIZER, [similarity("the cat", "a red dog")], "extract")
    expected = states([S, *a, D, *b, E])[-1] + states([S, *b, D, *a, E])[-1]
    np.testing.assert_allclose(both, expected, atol=1e-4)


def test_pairs_are_read_one_behind_the_other_and_similarities_in_both_orders() -> None:
    a, b = BARE.encode("the cat"), BARE.encode("a red dog")
    items = [pair("the cat", "a red dog"), similarity("the cat", "a red dog")]
    one, both = example_features(MODEL, BARE, items, "mean")
    np.testing.assert_allclose(one, states([*a, *b]).mean(axis=0), atol=1e-4)
    expected = states([*a, *b]).mean(axis=0) + states([*b, *a]).mean(axis=0)
    np.testing.assert_allclose(both, expected, atol=1e-4)


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_long_texts_are_cut_and_a_text_without_tokens_is_zero(pooling: Pooling) -> None:
    long, empty = example_features(MODEL, BARE, [text("cat " * 99), text("")], pooling)
    alone = states(BARE.encode("cat " * 14))
    np.testing.assert_allclose(
        long, alone[-1] if pooling == "last" else alone.mean(axis=0), atol=1e-4
    )
    assert not empty.any()


def test_no_example_gives_no_vector() -> None:
    assert example_features(MODEL, BARE, [], "mean").shape == (0, 16)


def test_what_has_no_vector_is_refused() -> None:
    with pytest.raises(ConfigError, match="pooling is 'max' but must be one of 'last', 'mean', 'e"):
        example_features(MODEL, BARE, [text("a")], "max")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="a choice has a vector for each option"):
        example_features(MODEL, BARE, [choice("a", ["b", "c"])], "mean")
    with pytest.raises(TokenizerError, match="_start_"):
        example_features(MODEL, BARE, [text("a")], "extract")
