"""The steps that look at a model, beside values computed by transformers."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from gpt1.config import GPTConfig
from gpt1.language_model import LanguageModel
from gpt1.model import GPT
from gpt1.reproduce import first_steps
from gpt1.reproduce.findings import Section
from gpt1.reproduce.published import RELEASED, SENTENCE, Published
from gpt1.reproduce.tutorial_recipe import marked
from gpt1.tokenizer import Tokenizer

Expect = Callable[[Published], list[Section]]


@pytest.fixture
def walk(lm: LanguageModel, jokes: list[str], known_joke: str) -> Expect:
    """All steps that compare, beside given values."""
    original = lm.tokenizer.with_mode("original")
    texts = [*jokes, known_joke]
    return lambda expected: [
        first_steps.tokens(lm, original, expected),
        first_steps.parameters(lm, expected),
        first_steps.scores(lm, expected),
        first_steps.greedy(lm, expected),
        first_steps.joke(lm, original, texts, expected),
    ]


def test_every_comparison_with_transformers_passes(walk: Expect, published: Published) -> None:
    checks = [check for section in walk(published) for check in section.checks]
    assert [check.what for check in checks if check.passed is False] == []
    assert sum(check.passed is True for check in checks) == 12


@pytest.mark.parametrize(
    ("field", "value", "failed"),
    [
        ("parameters", 1, ["trainable numbers"]),
        ("sentence_ids", [1, 2], [f'ids of "{SENTENCE}"']),
        ("first_logits", [0.0, 0.0, 0.0], ["logits[0, 0, :3]"]),
        ("last_logits", [0.0, 0.0, 0.0], ["logits[0, -1, :3]"]),
        ("first_probability", 0.0, ["its probability"]),
        ("loss", 0.0, ["loss with labels = inputs, nats"]),
        ("greedy_ids", [1], ["new ids by generate", "new ids by the loop"]),
        ("joke_ids", 1, ["how many"]),
        ("marker_ids", 1, ["spent on the marker"]),
    ],
)
def test_another_value_fails_and_only_it(
    walk: Expect, published: Published, field: str, value: Any, failed: list[str]
) -> None:
    wrong = dataclasses.replace(published, **{field: value})
    assert [name for section in walk(wrong) for name in section.failed] == failed


def test_other_weights_of_the_same_shape_fail(lm: LanguageModel, published: Published) -> None:
    torch.manual_seed(1)
    other = LanguageModel(GPT(lm.model.config), lm.tokenizer)
    assert published.applies_to(other.model.config)
    assert len(first_steps.scores(other, published).failed) == 4


@pytest.mark.parametrize(
    "change", [{"vocab_size": 40_479}, {"n_layer": 6}, {"n_embd": 384}, {"n_positions": 256}]
)
def test_expected_values_are_for_one_shape(change: dict[str, Any]) -> None:
    assert RELEASED.applies_to(GPTConfig(embd_pdrop=0.0))
    assert not RELEASED.applies_to(GPTConfig(**change))


def test_the_released_shape_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        assert GPT(RELEASED.config).num_parameters() == RELEASED.parameters


def test_without_expected_values_only_the_two_ways_to_decode_are_compared(
    lm: LanguageModel,
) -> None:
    section = first_steps.greedy(lm, None)
    assert [check.what for check in section.checks if check.passed is not None] == ["both agree"]


def test_the_loop_ends_at_the_end_of_text_and_never_writes_another_special_token(
    lm: LanguageModel,
) -> None:
    tokenizer = Tokenizer(lm.tokenizer.with_mode("bert")._marked.to_str(), "bert")
    end, start = tokenizer.add_special_tokens(["<|endoftext|>", "_start_"])
    model = GPT(lm.model.config)
    model.grow_vocabulary(tokenizer.vocab_size + 3)
    prompt = tokenizer.encode(SENTENCE)
    state = model.eval()(torch.tensor([prompt]), output_hidden_states=True).hidden_states[-1]
    with torch.no_grad():
        for factor, row in ((1, end), (2, start), (3, tokenizer.vocab_size)):
            model.tokens_embed.weight[row] = factor * state[0, -1]
    longest = LanguageModel(model, tokenizer)
    assert first_steps.greedy_ids(longest, prompt, 5) == []
    assert first_steps.greedy(longest, None).failed == []


def test_shapes_are_those_of_the_model(lm: LanguageModel) -> None:
    ours = {check.what: check.ours for check in first_steps.outputs(lm).checks}
    count = len(lm.tokenizer.encode(SENTENCE))
    assert ours == {
        "fields": "logits",
        "fields with labels": "loss",
        "logits": f"(1, {count}, {lm.model.config.vocab_size})",
        "hidden_states": f"3 x (1, {count}, 16)",
        "attentions": f"2 x (1, 2, {count}, {count})",
    }


def test_the_tutorials_joke_is_looked_for_where_its_ids_are_known(
    jokes: list[str], known_joke: str, published: Published
) -> None:
    texts = [*jokes, f" {known_joke[:20]} no", f"{known_joke}\n"]
    assert first_steps.example_joke(texts, published) == (known_joke, True)
    assert first_steps.example_joke(texts, None) == (jokes[0], False)
    assert first_steps.example_joke(jokes, published) == (jokes[0], False)


def test_another_joke_has_no_expected_number_of_ids(
    lm: LanguageModel, jokes: list[str], published: Published
) -> None:
    original = lm.tokenizer.with_mode("original")
    section = first_steps.joke(lm, original, jokes, published)
    compared = [check.what for check in section.checks if check.passed is not None]
    assert compared == ["spent on the marker"]
    assert "does not hold the tutorial's own joke" in section.remarks[0]


@pytest.fixture(scope="module")
def released_vocabulary(shared_data: Path) -> LanguageModel:
    """The released vocabulary under a narrow random model."""
    tokenizer = Tokenizer.load(shared_data / "openai-bpe", "bert")
    shape = GPTConfig(vocab_size=len(tokenizer), n_layer=1, n_head=1, n_embd=4, n_positions=64)
    return LanguageModel(GPT(shape), tokenizer)


def test_the_released_vocabulary_gives_the_published_ids(
    released_vocabulary: LanguageModel, jokes: list[str]
) -> None:
    lm = released_vocabulary
    original = lm.tokenizer.with_mode("original")
    assert first_steps.tokens(lm, original, RELEASED).checks[0].passed
    checks = {c.what: c for c in first_steps.joke(lm, original, jokes, RELEASED).checks}
    assert checks["spent on the marker"].passed
    assert checks["spent on the marker"].expected == 8


def test_marked_jokes_have_the_ids_of_transformers_and_others_in_mode_original(
    released_vocabulary: LanguageModel, shared_data: Path
) -> None:
    folder, ours = shared_data / "openai-bpe", released_vocabulary.tokenizer
    vocabulary = json.loads((folder / "encoder_bpe_40000.json").read_text(encoding="utf-8"))
    lines = (folder / "vocab_40000.bpe").read_text(encoding="utf-8").split("\n")[1:]
    merges = [tuple(line.split()) for line in lines if line]
    theirs = transformers.OpenAIGPTTokenizer(vocab=vocabulary, merges=merges)
    texts = [marked(f"I'm sure the {who} can't ... “wait”!") for who in ("hen", "cat")]
    expected = [theirs.encode(text) for text in texts]
    assert ours.encode_batch(texts) == expected
    assert all(
        a != b
        for a, b in zip(ours.with_mode("original").encode_batch(texts), expected, strict=True)
    )
