"""The decoding loop: equal to transformers, and each row independent of the others."""

from __future__ import annotations

import logging
import random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import OpenAIGPTConfig, OpenAIGPTLMHeadModel

from gpt1.config import GenerationConfig
from gpt1.errors import CheckpointError, ConfigError, DataError
from gpt1.generation.decode import Decoder, evaluation_mode
from gpt1.model import GPT
from lively import lively_model

VOCAB = 80
MODEL = lively_model(VOCAB)


def decode(
    model: GPT, prompts: list[list[int]], suppress: tuple[int, ...] = (), **settings: Any
) -> list[list[int]]:
    """The new ids of every sequence."""
    config = GenerationConfig(**settings)
    ids: list[list[int]] = [[] for _ in range(len(prompts) * config.n)]
    for step in Decoder(model, prompts, config, suppress=suppress):
        for sequence, token in step:
            ids[sequence].append(token)
    return ids


def theirs(model: GPT) -> OpenAIGPTLMHeadModel:
    c = model.config
    config = OpenAIGPTConfig(
        vocab_size=c.vocab_size,
        n_positions=c.n_positions,
        n_embd=c.n_embd,
        n_layer=c.n_layer,
        n_head=c.n_head,
    )
    other = OpenAIGPTLMHeadModel(config).eval()
    other.transformer.load_state_dict(model.state_dict())
    return other


def random_prompts(count: int, longest: int, seed: int = 0) -> list[list[int]]:
    source = random.Random(seed)
    return [
        [source.randrange(VOCAB) for _ in range(source.randint(1, longest))] for _ in range(count)
    ]


def test_greedy_equals_transformers_token_for_token() -> None:
    model = lively_model(VOCAB, n_positions=40)
    other = theirs(model)
    prompts = random_prompts(50, longest=16)
    ours = decode(model, prompts, max_new_tokens=24)
    for prompt, ids in zip(prompts, ours, strict=True):
        input_ids = torch.tensor([prompt])
        output = other.generate(
            input_ids,
            attention_mask=torch.ones_like(input_ids),
            do_sample=False,
            max_new_tokens=24,
            pad_token_id=0,
        )
        assert output[0, len(prompt) :].tolist() == ids
    assert len({token for ids in ours for token in ids}) > 20
    assert len({tuple(ids) for ids in ours}) > 40


ragged = st.lists(
    st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=20), min_size=1, max_size=5
)
sampling = st.fixed_dictionaries(
    {"seed": st.integers(0, 2**64)},
    optional={
        "temperature": st.floats(0.1, 3.0),
        "top_k": st.integers(1, 100),
        "top_p": st.floats(0.05, 1.0),
    },
).filter(lambda chosen: len(chosen) > 1)


@settings(max_examples=40, deadline=None)
@given(ragged, st.integers(1, 24), st.sets(st.integers(0, VOCAB - 1), max_size=10))
def test_greedy_rows_do_not_depend_on_the_batch(
    prompts: list[list[int]], max_new_tokens: int, stop_ids: set[int]
) -> None:
    options: dict[str, Any] = {"max_new_tokens": max_new_tokens, "stop_ids": tuple(stop_ids)}
    alone = [decode(MODEL, [prompt], **options)[0] for prompt in prompts]
    assert decode(MODEL, prompts, **options) == alone


@settings(max_examples=40, deadline=None)
@given(ragged, st.integers(1, 24), st.integers(1, 3), st.sets(st.integers(0, 9)), sampling)
def test_sampled_rows_do_not_depend_on_the_batch(
    prompts: list[list[int]], max_new_tokens: int, n: int, stop_ids: set[int], how: dict[str, Any]
) -> None:
    options = {"max_new_tokens": max_new_tokens, "n": n, "stop_ids": tuple(stop_ids), **how}
    alone = [ids for prompt in prompts for ids in decode(MODEL, [prompt], **options)]
    assert decode(MODEL, prompts, **options) == alone


def test_continuations_do_not_depend_on_how_many_there_are() -> None:
    options: dict[str, Any] = {"temperature": 1.0, "seed": 4, "max_new_tokens": 10}
    three = decode(MODEL, [[1, 2, 3]], n=3, **options)
    assert decode(MODEL, [[1, 2, 3]], n=2, **options) == three[:2]
    assert len({tuple(ids) for ids in three}) == 3


def plain_logits(model: GPT, context: list[int]) -> Tensor:
    return model(torch.tensor([context])).logits[0, -1]


@pytest.mark.parametrize("n_positions", [1, 2, 3, 7, 8])
@pytest.mark.parametrize("prompt_length", [1, 5, 30])
def test_a_full_context_slides_to_its_last_half(n_positions: int, prompt_length: int) -> None:
    model = lively_model(VOCAB, n_positions=n_positions, seed=3)
    prompt = random_prompts(1, 1)[0] + list(range(prompt_length - 1))
    context, expected = prompt[-n_positions:], []
    for _ in range(40):
        if len(context) > n_positions:
            context = context[-max(1, n_positions // 2) :]
        expected.append(int(plain_logits(model, context).argmax()))
        context.append(expected[-1])
    assert decode(model, [prompt], max_new_tokens=40) == [expected]


def record_shapes(model: GPT) -> list[tuple[int, ...]]:
    shapes: list[tuple[int, ...]] = []
    model.register_forward_pre_hook(lambda _, args: shapes.append(tuple(args[0].shape)))
    return shapes


def test_each_step_reads_one_token_and_continuations_share_the_prompt() -> None:
    model = lively_model(VOCAB)
    shapes = record_shapes(model)
    decode(model, [[1, 2, 3], [4]], max_new_tokens=4, n=3, temperature=1.0, seed=0)
    assert shapes == [(2, 3), (6, 1), (6, 1), (6, 1)]


def test_a_finished_row_leaves_the_batch() -> None:
    model = lively_model(VOCAB)
    prompts = [[1, 2], [3], [4, 5]]
    options: dict[str, Any] = {"max_new_tokens": 6, "temperature": 1.0, "seed": 0}
    free = decode(model, prompts, **options)
    end = next(i for i in range(1, 6) if free[1][i] not in free[0] + free[1][:i] + free[2])
    shapes = record_shapes(model)
    ids = decode(model, prompts, stop_ids=(free[1][end],), **options)
    assert ids == [free[0], free[1][:end], free[2]]
    assert shapes == [(3, 2)] + [(3, 1)] * end + [(2, 1)] * (5 - end)


def test_end_finishes_a_sequence_and_leaves_the_others_alone() -> None:
    free = decode(MODEL, [[1, 2], [3]], max_new_tokens=6)
    decoder = Decoder(MODEL, [[1, 2], [3]], GenerationConfig(max_new_tokens=6))
    assert decoder.step() == [(0, free[0][0]), (1, free[1][0])]
    decoder.end(0)
    assert list(decoder) == [[(1, token)] for token in free[1][1:]]
    decoder.end(1)
    assert decoder.running == []


def test_stop_ids_of_the_caller_and_of_the_config_both_count() -> None:
    free = decode(MODEL, [[1, 2]], max_new_tokens=8)[0]
    first = free.index(free[3])
    for ours, callers in (((free[3],), ()), ((), (free[3],))):
        config = GenerationConfig(max_new_tokens=8, stop_ids=ours)
        steps = list(Decoder(MODEL, [[1, 2]], config, stop_ids=callers))
        assert [token for step in steps for _, token in step] == free[:first]


@pytest.mark.parametrize("how", [{}, {"temperature": 1.5, "seed": 0}])
def test_suppressed_ids_are_never_generated(how: dict[str, Any]) -> None:
    allowed = (3, 14, 15)
    suppress = tuple(token for token in range(VOCAB) if token not in allowed)
    ids = decode(MODEL, [[1, 2]], suppress, max_new_tokens=60, **how)
    assert set(ids[0]) <= set(allowed)
    assert len(ids[0]) == 60


def test_temperature_zero_is_greedy() -> None:
    greedy = decode(MODEL, [[1, 2]])
    assert decode(MODEL, [[1, 2]], temperature=0.0, top_k=9) == greedy


def test_bfloat16_weights_generate() -> None:
    model = lively_model(VOCAB).to(torch.bfloat16)
    assert len(decode(model, [[1, 2, 3]], max_new_tokens=30, temperature=1.0, seed=1)[0]) == 30


def test_nothing_to_continue_gives_nothing() -> None:
    assert decode(MODEL, []) == []


def test_dropout_is_off_while_generating_and_on_again_after() -> None:
    model = lively_model(VOCAB).train()
    assert decode(model, [[1, 2, 3]]) == decode(MODEL, [[1, 2, 3]])
    assert model.training


def test_evaluation_mode_is_undone_after_an_error() -> None:
    model = lively_model(VOCAB).train()
    with pytest.raises(TypeError), evaluation_mode(model):
        model()
    assert model.training


def test_generation_leaves_gradients_enabled_for_its_caller() -> None:
    for _ in Decoder(MODEL, [[1]], GenerationConfig(max_new_tokens=2)):
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()


def test_a_prompt_longer_than_the_model_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        decode(MODEL, [[1] * 17, [2], [3] * 40])
    assert [record.message for record in caplog.records] == [
        "2 of 3 prompts are longer than the model's 16 positions; "
        "only the last 16 tokens of each are seen"
    ]


def test_a_prompt_without_tokens_is_refused() -> None:
    with pytest.raises(DataError, match=r"prompt 1 has no tokens.* needs at least one"):
        decode(MODEL, [[1], []])


@pytest.mark.parametrize("wrong", [-1, VOCAB])
def test_an_unknown_id_in_a_prompt_is_refused(wrong: int) -> None:
    with pytest.raises(DataError, match=f"prompt 1 holds the id {wrong} .* has 80 tokens"):
        decode(MODEL, [[1], [2, wrong]])


@pytest.mark.parametrize("wrong", [-1, VOCAB])
def test_an_unknown_stop_id_is_refused(wrong: int) -> None:
    with pytest.raises(ConfigError, match=f"stop_ids holds {wrong} but the model has 80 tokens"):
        decode(MODEL, [[1]], stop_ids=(3, wrong))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("how", [{}, {"temperature": 1.0}])
def test_weights_that_are_not_numbers_are_reported(value: float, how: dict[str, Any]) -> None:
    model = lively_model(VOCAB)
    with torch.no_grad():
        model.tokens_embed.weight[5] = value
    with pytest.raises(CheckpointError, match=r"scores are not finite numbers.*damaged"):
        decode(model, [[1, 2]], **how)
