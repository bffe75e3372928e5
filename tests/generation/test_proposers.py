"""Guesses: what the text said before, and what a smaller model says."""

from __future__ import annotations

import random

import pytest
import torch

from gpt1.config import GenerationConfig
from gpt1.errors import ConfigError
from gpt1.generation.processors import Array
from gpt1.generation.proposers import DraftModel, PromptLookup, Text
from gpt1.generation.readers import Network
from gpt1.generation.scores import Scores
from gpt1.model import GPT
from gpt1.native_checkpoint import from_module
from lively import lively_model

VOCAB = 80


def looked_up(ids: list[int], count: int) -> list[int]:
    [proposal] = PromptLookup().propose([Text(0, ids, len(ids))], [count])
    assert proposal.cost == 0
    return proposal.ids


@pytest.mark.parametrize(
    ("ids", "count", "expected"),
    [
        ([1, 2, 3, 4, 5, 6, 1, 2, 3], 3, [4, 5, 6]),
        ([1, 2, 3, 4, 5, 6, 1, 2, 3], 0, []),
        ([9, 2, 3, 4, 7, 2, 3], 2, [4, 7]),  # two tokens are enough,
        ([1, 2, 3, 4, 9, 2, 3, 5, 1, 2, 3], 1, [4]),  # but three count more
        ([2, 3, 4, 2, 3, 5, 2, 3], 1, [5]),  # and the last place counts
        ([2, 4, 2], 3, []),  # one is too few
        ([1, 2, 3, 1, 2, 3], 7, [1, 2, 3, 1, 2, 3, 1]),  # round in circles
        ([5, 5, 5], 4, [5, 5, 5, 5]),
        ([1], 2, []),
        ([1, 2], 2, []),
    ],
)
def test_a_look_up_copies_what_followed(ids: list[int], count: int, expected: list[int]) -> None:
    assert looked_up(ids, count) == expected


def test_a_look_up_of_growing_texts_is_that_of_whole_ones() -> None:
    source = random.Random(0)
    growing = PromptLookup()
    texts: list[list[int]] = [[], []]
    for _ in range(150):
        for ids in texts:
            ids.append(source.randrange(4))
        counts = [source.randrange(5), source.randrange(5)]
        if source.random() < 0.5:
            found = growing.propose([Text(i, texts[i], 1) for i in (0, 1)], counts)
            whole = [looked_up(ids, count) for ids, count in zip(texts, counts, strict=True)]
            assert [proposal.ids for proposal in found] == whole


def plain_scores() -> Scores:
    return Scores(VOCAB, GenerationConfig())


def greedy(model: GPT, ids: list[int], count: int) -> list[int]:
    """The continuation by whole passes over the text."""
    text = list(ids)
    with torch.no_grad():
        for _ in range(count):
            text.append(int(model(torch.tensor([text])).logits[0, -1].argmax()))
    return text[len(ids) :]


DRAFT = lively_model(VOCAB, n_positions=64, seed=1)


@pytest.mark.parametrize("draft", [DRAFT, from_module(DRAFT)], ids=["torch", "native"])
def test_a_draft_model_goes_on_from_whatever_the_texts_became(draft: Network) -> None:
    source = random.Random(1)
    proposer = DraftModel(draft, draft, plain_scores())
    assert proposer.price == 1
    texts = {n: [source.randrange(VOCAB) for _ in range(3 + 4 * n)] for n in range(3)}
    for turn in range(8):
        if turn == 4:
            del texts[1]
        counts = [source.randint(0, 4) for _ in texts]
        found = proposer.propose([Text(n, ids, 1) for n, ids in texts.items()], counts)
        for ids, count, proposal in zip(texts.values(), counts, found, strict=True):
            assert proposal.ids == greedy(DRAFT, ids, count)
            ids += proposal.ids[: source.randint(0, count)]
            ids.append(source.randrange(VOCAB))


def test_a_draft_model_tells_what_a_proposal_took() -> None:
    large = lively_model(VOCAB, n_positions=64, n_layer=4)
    proposer = DraftModel(DRAFT, large, plain_scores())
    block, output = 12 * 32**2, VOCAB * 32
    assert proposer.price == (2 * block + output) / (4 * block + output)
    halved = from_module(lively_model(VOCAB, n_positions=64).bfloat16())
    assert DraftModel(halved, large, plain_scores()).price == pytest.approx(0.7 * proposer.price)
    [first] = proposer.propose([Text(0, [1, 2, 3], 1)], [3])
    assert first.cost == pytest.approx(3 * proposer.price)
    [second] = proposer.propose([Text(0, [1, 2, 3, 79, 79], 1)], [1])
    assert second.cost > proposer.price  # two tokens were new
    assert proposer.propose([Text(0, [1, 2, 3, 79, 79, 5], 1)], [0])[0] == ([], 0)


@pytest.mark.parametrize("n_positions", [1, 2, 5, 8])
def test_a_draft_model_reads_the_end_of_a_text_that_is_too_long_for_it(n_positions: int) -> None:
    draft = lively_model(VOCAB, n_positions=n_positions, seed=2)
    proposer = DraftModel(from_module(draft), draft, plain_scores())
    ids = list(range(20))
    for _ in range(12):
        [proposal] = proposer.propose([Text(0, ids, 20)], [3])
        assert proposal.ids
        seen = ids[-max(1, n_positions // 2) :]
        assert proposal.ids[0] == greedy(draft, seen, 1)[0] or n_positions > 2
        ids += [*proposal.ids[:1], 7]


def test_a_draft_model_follows_the_settings() -> None:
    [first] = greedy(DRAFT, [1, 2, 3], 1)
    scores = Scores(VOCAB, GenerationConfig(), suppress=[first])
    [proposal] = DraftModel(DRAFT, DRAFT, scores).propose([Text(0, [1, 2, 3], 3)], [1])
    assert proposal.ids != [first]


def test_a_draft_model_of_another_vocabulary_is_refused() -> None:
    with pytest.raises(ConfigError, match="assistant_model has 81 tokens but the model has 80"):
        DraftModel(lively_model(81), DRAFT, plain_scores())


def test_logits_may_be_of_any_library(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: list[type] = []

    def noting(logits: Array, *_: object) -> Array:
        kinds.append(type(logits))
        return logits

    for draft in (DRAFT, from_module(DRAFT)):
        DraftModel(draft, draft, noting).propose([Text(0, [1], 1)], [2])  # type: ignore[arg-type]
    assert len(set(kinds)) == 2
