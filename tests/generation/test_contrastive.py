"""Contrastive search: equal to its formula, and each prompt independent of the others."""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    LogitsProcessorList,
    MinNewTokensLengthLogitsProcessor,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
)

from gpt1.config import GenerationConfig
from gpt1.errors import CheckpointError, ConfigError, DataError
from gpt1.generation.contrastive import ContrastiveDecoder
from gpt1.generation.decode import Decoder
from gpt1.model import GPT
from lively import lively_model
from twin import twin

VOCAB = 40
MODEL = lively_model(VOCAB)
USUAL: dict[str, Any] = {"penalty_alpha": 0.6, "top_k": 4}


def decode(
    model: GPT, prompts: list[list[int]], suppress: Collection[int] = (), **settings: Any
) -> list[list[int]]:
    ids: list[list[int]] = [[] for _ in prompts]
    for step in ContrastiveDecoder(model, prompts, GenerationConfig(**settings), suppress=suppress):
        for sequence, token in step:
            ids[sequence].append(token)
    return ids


class Plain:
    """Contrastive search as the paper writes it: a full pass of the model for each candidate.

    With GPT-2 in place of GPT-1 it gives what ``generate`` of transformers 4.46 does.
    """

    def __init__(self, model: GPT) -> None:
        self.twin = twin(model).double()
        self.n_positions = model.config.n_positions

    def read(self, context: list[int]) -> tuple[Any, Any]:
        """Logits ``(V,)`` and unit hidden states ``(T, D)``."""
        with torch.no_grad():
            output = self.twin(torch.tensor([context]), output_hidden_states=True)
        states = output.hidden_states[-1][0].numpy()
        return output.logits[:, -1], states / np.linalg.norm(states, axis=1, keepdims=True)

    def next_context(self, context: list[int], token: int) -> list[int]:
        context = [*context, token]
        full = len(context) > self.n_positions
        return context[-max(1, self.n_positions // 2) :] if full else context

    def decode(
        self, prompt: list[int], config: GenerationConfig, processors: LogitsProcessorList
    ) -> list[int]:
        context, ids = prompt[-self.n_positions :], list(prompt)
        assert config.penalty_alpha is not None
        for _ in range(config.max_new_tokens):
            logits = processors(torch.tensor([ids]), self.read(context)[0])[0].numpy()
            probs = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
            worth = {}
            for token in np.argsort(-probs)[: config.top_k].tolist():
                _, states = self.read(self.next_context(context, token))
                similarity = max(states[:-1] @ states[-1], default=-1.0)
                worth[token] = (1 - config.penalty_alpha) * probs[token]
                worth[token] -= config.penalty_alpha * similarity
            token = max(worth, key=lambda token: worth[token])
            if token in config.stop_ids:
                break
            ids.append(token)
            context = self.next_context(context, token)
        return ids[len(prompt) :]


@pytest.mark.parametrize("seed", range(40))
def test_contrastive_search_follows_its_formula_also_beyond_the_positions(seed: int) -> None:
    source = random.Random(seed)
    model = lively_model(VOCAB, n_positions=source.choice([1, 2, 3, 7, 16, 64, 64]), seed=seed)
    prompts = [
        [source.randrange(VOCAB) for _ in range(source.randint(1, 20))]
        for _ in range(source.randint(1, 3))
    ]
    config = GenerationConfig(
        penalty_alpha=source.choice([0.0, 0.1, 0.4, 0.6, 0.9, 1.0]),
        top_k=source.randint(1, 6),
        max_new_tokens=source.randint(1, 20),
        stop_ids=tuple(source.sample(range(VOCAB), 2)),
    )
    plain = Plain(model)
    ids: list[list[int]] = [[] for _ in prompts]
    for step in ContrastiveDecoder(model, prompts, config):
        for sequence, token in step:
            ids[sequence].append(token)
    assert ids == [plain.decode(prompt, config, LogitsProcessorList()) for prompt in prompts]


def test_settings_of_the_text_so_far_apply_before_the_candidates_are_chosen() -> None:
    model, stop_ids = lively_model(VOCAB, n_positions=64), list(range(20))
    plain = Plain(model)
    for prompt in ([1, 2, 3], [4], [5, 5, 6, 7, 5]):
        theirs = LogitsProcessorList(
            [
                RepetitionPenaltyLogitsProcessor(1.3),
                NoRepeatNGramLogitsProcessor(2),
                MinNewTokensLengthLogitsProcessor(len(prompt), 9, stop_ids),
            ]
        )
        chosen: dict[str, Any] = {"stop_ids": tuple(stop_ids), "max_new_tokens": 30, **USUAL}
        expected = plain.decode(prompt, GenerationConfig(**chosen), theirs)
        ours = {"repetition_penalty": 1.3, "no_repeat_ngram_size": 2, "min_new_tokens": 9}
        assert decode(model, [prompt], **chosen, **ours) == [expected]
        assert len(expected) >= 9


ragged = st.lists(
    st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=20), min_size=1, max_size=5
)


@settings(max_examples=40, deadline=None)
@given(ragged, st.integers(1, 24), st.integers(1, 5), st.sets(st.integers(0, VOCAB - 1)))
def test_a_prompt_does_not_depend_on_the_batch(
    prompts: list[list[int]], max_new_tokens: int, top_k: int, stop_ids: set[int]
) -> None:
    chosen: dict[str, Any] = {
        "max_new_tokens": max_new_tokens,
        "penalty_alpha": 0.6,
        "top_k": top_k,
        "stop_ids": tuple(stop_ids),
    }
    alone = [decode(MODEL, [prompt], **chosen)[0] for prompt in prompts]
    assert decode(MODEL, prompts, **chosen) == alone


@pytest.mark.parametrize(
    "chosen", [{"penalty_alpha": 0.6, "top_k": 1}, {**USUAL, "penalty_alpha": 0.0}]
)
def test_one_candidate_or_no_penalty_is_greedy_search(chosen: dict[str, Any]) -> None:
    prompts = [[1, 2], [3], [4, 5, 6]]
    greedy: list[list[int]] = [[] for _ in prompts]
    for step in Decoder(MODEL, prompts, GenerationConfig()):
        for sequence, token in step:
            greedy[sequence].append(token)
    assert decode(MODEL, prompts, **chosen) == greedy


def test_a_step_reads_each_candidate_once() -> None:
    model = lively_model(VOCAB)
    shapes: list[tuple[int, ...]] = []
    model.register_forward_pre_hook(lambda _, args: shapes.append(tuple(args[0].shape)))
    decode(model, [[1, 2, 3], [4]], max_new_tokens=3, **USUAL)
    assert shapes == [(2, 3), (8, 1), (8, 1), (8, 1)]


def test_end_finishes_a_sequence_and_leaves_the_others_alone() -> None:
    prompts = [[1, 2], [3], [4, 5]]
    config = GenerationConfig(max_new_tokens=6, **USUAL)
    free = decode(MODEL, prompts, max_new_tokens=6, **USUAL)
    decoder = ContrastiveDecoder(MODEL, prompts, config)
    decoder.end(2)
    assert decoder.step() == [(0, free[0][0]), (1, free[1][0])]
    decoder.end(0)
    assert list(decoder) == [[(1, token)] for token in free[1][1:]]
    assert decoder.running == []


def test_stop_ids_of_the_caller_and_of_the_config_both_count() -> None:
    (free,) = decode(MODEL, [[1, 2]], max_new_tokens=8, **USUAL)
    expected = free[: free.index(free[3])]
    for ours, callers in (((free[3],), ()), ((), (free[3],))):
        config = GenerationConfig(max_new_tokens=8, stop_ids=ours, **USUAL)
        steps = ContrastiveDecoder(MODEL, [[1, 2]], config, stop_ids=callers)
        assert [token for step in steps for _, token in step] == expected


@pytest.mark.parametrize("allowed", [(3,), (3, 14), (3, 14, 15, 16, 17)])
def test_suppressed_ids_are_never_generated_even_where_candidates_are_few(
    allowed: tuple[int, ...],
) -> None:
    suppress = [token for token in range(VOCAB) if token not in allowed]
    (ids,) = decode(MODEL, [[1, 2]], suppress, max_new_tokens=40, **USUAL)
    assert set(ids) <= set(allowed)
    assert len(ids) == 40


def test_settings_that_forbid_every_token_are_refused() -> None:
    with pytest.raises(ConfigError, match="the settings forbid every token there is; relax"):
        decode(MODEL, [[1]], range(VOCAB), **USUAL)


@pytest.mark.parametrize("chosen", [{}, {"top_k": 4}])
def test_a_config_without_its_settings_is_refused(chosen: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"penalty_alpha is None and top_k is .* needs both"):
        ContrastiveDecoder(MODEL, [[1]], GenerationConfig(**chosen))


def test_more_candidates_than_tokens_are_all_tokens() -> None:
    chosen: dict[str, Any] = {"penalty_alpha": 0.6, "max_new_tokens": 5}
    everything = decode(MODEL, [[1, 2]], top_k=VOCAB, **chosen)
    assert decode(MODEL, [[1, 2]], top_k=10 * VOCAB, **chosen) == everything


def test_bfloat16_weights_generate() -> None:
    model = lively_model(VOCAB).to(torch.bfloat16)
    assert len(decode(model, [[1, 2, 3]], max_new_tokens=30, **USUAL)[0]) == 30


def test_nothing_to_continue_gives_nothing() -> None:
    assert decode(MODEL, [], **USUAL) == []


def test_dropout_is_off_while_generating_and_on_again_after() -> None:
    model = lively_model(VOCAB).train()
    assert decode(model, [[1, 2, 3]], **USUAL) == decode(MODEL, [[1, 2, 3]], **USUAL)
    assert model.training


def test_a_prompt_without_tokens_is_refused() -> None:
    with pytest.raises(DataError, match="prompt 1 has no tokens"):
        decode(MODEL, [[1], []], **USUAL)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_numbers_are_reported(value: float) -> None:
    model = lively_model(VOCAB)
    with torch.no_grad():
        model.tokens_embed.weight[5] = value
    with pytest.raises(CheckpointError, match=r"scores are not finite numbers.*damaged"):
        decode(model, [[1, 2]], **USUAL)
