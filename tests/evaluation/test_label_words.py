"""Classification by label words against the softmax written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt1.errors import ConfigError
from gpt1.evaluation.label_words import classify_by_words
from gpt1.language_model import LanguageModel
from lively import lively_model, small_tokenizer

TOKENIZER = small_tokenizer()
LM = LanguageModel(lively_model(TOKENIZER.vocab_size, n_positions=40), TOKENIZER)
TEXTS = ["The fox", "it isn't the dog", "Why?", "he said"]


def probability(prompt: str, word: str) -> float:
    """Geometric mean over the tokens of the word, by `LanguageModel.score`."""
    tail = len(TOKENIZER.encode(word))
    values = LM.score(f"{prompt} {word}").log_probs[-tail:]
    return float(np.exp(np.mean(values)))  # type: ignore[arg-type]


def test_the_likeliest_word_is_the_label() -> None:
    words = ["lazy", "brown fox", "said"]
    found = classify_by_words(LM, TEXTS, words, template="so {text} very")
    for text, label, shares in zip(TEXTS, found.labels, found.probabilities, strict=True):
        plain = {word: probability(f"so {text} very", word) for word in words}
        total = sum(plain.values())
        assert shares == pytest.approx({w: p / total for w, p in plain.items()}, abs=1e-4)
        assert label == max(plain, key=plain.__getitem__)
    assert found.cut == 0


def test_class_names_may_differ_from_their_words() -> None:
    plain = classify_by_words(LM, TEXTS, ["lazy", "quick"])
    named = classify_by_words(LM, TEXTS, {"slow": "lazy", "fast": "quick"})
    names = {"lazy": "slow", "quick": "fast"}
    assert named.labels == [names[label] for label in plain.labels]


def test_calibration_divides_by_the_empty_text() -> None:
    words = ["lazy", "quick", "said"]
    found = classify_by_words(LM, TEXTS, words, template="{text} it is", calibrate=True)
    assert len(found.labels) == len(TEXTS)
    for text, shares in zip(TEXTS, found.probabilities, strict=True):
        ratio = {w: probability(f"{text} it is", w) / probability("it is", w) for w in words}
        total = sum(ratio.values())
        assert shares == pytest.approx({w: r / total for w, r in ratio.items()}, abs=1e-4)


@given(st.permutations(["lazy", "quick fox", "said", "nose"]))
def test_the_order_of_labels_changes_nothing(words: list[str]) -> None:
    expected = classify_by_words(LM, TEXTS, sorted(words))
    found = classify_by_words(LM, TEXTS, words)
    for one, other in zip(found.probabilities, expected.probabilities, strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_the_sum_is_the_probability_of_the_whole_word() -> None:
    [shares] = classify_by_words(LM, ["it"], ["lazy", "brown fox"], reduction="sum").probabilities
    lazy, brown_fox = probability("it very", "lazy"), probability("it very", "brown fox")
    brown_fox **= len(TOKENIZER.encode("brown fox"))
    lazy **= len(TOKENIZER.encode("lazy"))
    assert shares["lazy"] == pytest.approx(lazy / (lazy + brown_fox), abs=1e-4)


def test_long_texts_lose_their_beginning_and_are_counted() -> None:
    long = "the quick fox " * 30
    found = classify_by_words(LM, [long + "the lazy dog", "he"], ["lazy", "quick"])
    other = classify_by_words(LM, ["nose " + long + "the lazy dog"], ["lazy", "quick"])
    assert (found.cut, other.cut) == (1, 1)
    assert found.probabilities[0] == pytest.approx(other.probabilities[0], abs=1e-5)


def test_no_texts_give_nothing() -> None:
    assert classify_by_words(LM, [], ["lazy", "quick"]).labels == []


@pytest.mark.parametrize(
    ("texts", "labels", "template", "message"),
    [
        (["a"], ["lazy"], "{text} very", "there is 1 label word but a choice needs at least 2"),
        (["a"], ["lazy", "quick"], "very", r"the template is 'very' but must hold \{text\}"),
        (["a"], ["lazy", " "], "{text} very", "the label word ' ' has no tokens"),
        ([""], ["lazy", "quick"], "{text}", "leaves nothing to read for an empty text"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    texts: list[str], labels: list[str], template: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        classify_by_words(LM, texts, labels, template=template)
