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
from transformers import (
    LogitsProcessor,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
)

from gpt1.backbone import evaluation_mode
from gpt1.config import GenerationConfig
from gpt1.errors import CheckpointError, ConfigError, DataError
from gpt1.generation.decode import Decoder, replay
from gpt1.model import GPT
from lively import lively_model
from twin import twin

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


def theirs_greedy(model: GPT, prompts: list[list[int]], **options: Any) -> list[list[int]]:
    """New ids by transformers, each prompt alone; up to the end-of-text token, if there is one."""
    other, found = twin(model), []
    for prompt in prompts:
        input_ids = torch.tensor([prompt])
        output = other.generate(
            input_ids,
            attention_mask=torch.ones_like(input_ids),
            do_sample=False,
            pad_token_id=0,
            **options,
        )
        ids = output[0, len(prompt) :].tolist()
        end = options.get("eos_token_id")
        found.append(ids[: ids.index(end)] if end in ids else ids)
    return found


def random_prompts(count: int, longest: int, seed: int = 0) -> list[list[int]]:
    source = random.Random(seed)
    return [
        [source.randrange(VOCAB) for _ in range(source.randint(1, longest))] for _ in range(count)
    ]


def test_greedy_equals_transformers_token_for_token() -> None:
    model = lively_model(VOCAB, n_positions=40)
    prompts = random_prompts(50, longest=16)
    ours = decode(model, prompts, max_new_tokens=24)
    assert ours == theirs_greedy(model, prompts, max_new_tokens=24)
    assert len({token for ids in ours for token in ids}) > 20
    assert len({tuple(ids) for ids in ours}) > 40


BAD_WORDS = ((7,), (21, 3), (40, 41, 42), *((first, 5) for first in range(0, VOCAB, 2)))


@pytest.mark.parametrize(
    ("how", "their_how"),
    [
        ({"repetition_penalty": 1.7}, {}),
        ({"repetition_penalty": 0.6}, {}),
        ({"no_repeat_ngram_size": 1}, {}),
        ({"no_repeat_ngram_size": 2}, {}),
        ({"bad_words_ids": BAD_WORDS}, {"bad_words_ids": [list(word) for word in BAD_WORDS]}),
        ({"min_new_tokens": 9, "stop_ids": (7,)}, {"eos_token_id": 7, "stop_ids": None}),
        (
            {"logit_bias": ((7, 4.5), (30, -3.0))},
            {"sequence_bias": [[[7], 4.5], [[30], -3.0]], "logit_bias": None},
        ),
        (
            {"repetition_penalty": 1.3, "no_repeat_ngram_size": 2, "bad_words_ids": ((7,), (8, 9))},
            {"bad_words_ids": [[7], [8, 9]]},
        ),
    ],
    ids=str,
)
def test_greedy_with_a_processor_equals_transformers_token_for_token(
    how: dict[str, Any], their_how: dict[str, Any]
) -> None:
    model = lively_model(VOCAB, n_positions=40)
    prompts = random_prompts(25, longest=16)
    ours = decode(model, prompts, max_new_tokens=24, **how)
    options = {key: value for key, value in {**how, **their_how}.items() if value is not None}
    assert ours == theirs_greedy(model, prompts, max_new_tokens=24, **options)
    ends = {"stop_ids": how["stop_ids"]} if "stop_ids" in how else {}
    assert ours != decode(model, prompts, max_new_tokens=24, **ends)


def test_sampling_settings_leave_the_greedy_choice_alone() -> None:
    greedy = decode(MODEL, [[1, 2]])
    assert decode(MODEL, [[1, 2]], min_p=1.0, seed=0) == greedy
    assert decode(MODEL, [[1, 2]], top_p=1e-9, seed=0) == greedy
    assert decode(MODEL, [[1, 2]], top_k=1, seed=0) == greedy


ragged = st.lists(
    st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=20), min_size=1, max_size=5
)
sampling = st.fixed_dictionaries(
    {"seed": st.integers(0, 2**64)},
    optional={
        "temperature": st.floats(0.1, 3.0),
        "top_k": st.integers(1, 100),
        "top_p": st.floats(0.05, 1.0),
        "min_p": st.floats(0.0, 0.5),
        "typical_p": st.floats(0.05, 1.0),
    },
).filter(lambda chosen: len(chosen) > 1)
of_the_text = st.fixed_dictionaries(
    {},
    optional={
        "repetition_penalty": st.floats(0.5, 2.0),
        "presence_penalty": st.floats(-2, 2),
        "frequency_penalty": st.floats(-2, 2),
        "no_repeat_ngram_size": st.integers(2, 4),
        "logit_bias": st.dictionaries(
            st.integers(0, VOCAB - 1), st.floats(-100, 5), max_size=9
        ).map(lambda bias: tuple(bias.items())),
        "bad_words_ids": st.lists(
            st.lists(st.integers(10, 60), min_size=1, max_size=3).map(tuple), max_size=9
        ).map(tuple),
        "logprobs": st.integers(0, 3),
    },
)


@settings(max_examples=40, deadline=None)
@given(ragged, st.integers(1, 24), st.sets(st.integers(0, 9)), of_the_text)
def test_greedy_rows_do_not_depend_on_the_batch(
    prompts: list[list[int]], max_new_tokens: int, stop_ids: set[int], how: dict[str, Any]
) -> None:
    options = {"max_new_tokens": max_new_tokens, "stop_ids": tuple(stop_ids), **how}
    alone = [decode(MODEL, [prompt], **options)[0] for prompt in prompts]
    assert decode(MODEL, prompts, **options) == alone


@settings(max_examples=40, deadline=None)
@given(ragged, st.integers(1, 24), st.integers(1, 3), sampling, of_the_text)
def test_sampled_rows_do_not_depend_on_the_batch(
    prompts: list[list[int]], max_new_tokens: int, n: int, how: dict[str, Any], more: dict[str, Any]
) -> None:
    options = {"max_new_tokens": max_new_tokens, "n": n, "stop_ids": (3, 4, 5), **how, **more}
    options["min_new_tokens"] = min(2, max_new_tokens)
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


@pytest.mark.parametrize(
    ("how", "processor"),
    [
        ({"repetition_penalty": 1.5}, RepetitionPenaltyLogitsProcessor(1.5)),
        ({"no_repeat_ngram_size": 2}, NoRepeatNGramLogitsProcessor(2)),
    ],
)
def test_processors_count_ids_the_model_no_longer_sees(
    how: dict[str, Any], processor: LogitsProcessor
) -> None:
    model = lively_model(VOCAB, n_positions=8, seed=3)
    text = list(range(20, 32))
    prompt, context = text.copy(), text[-8:]
    for _ in range(40):
        if len(context) > 8:
            context = context[-4:]
        logits = processor(torch.tensor([text]), plain_logits(model, context)[None])
        text.append(int(logits.argmax()))
        context.append(text[-1])
    assert decode(model, [prompt], max_new_tokens=40, **how) == [text[len(prompt) :]]


def test_occurrence_penalties_count_generated_ids_beyond_the_window_but_no_prompt() -> None:
    model = lively_model(VOCAB, n_positions=8, seed=3)
    prompt = list(range(VOCAB))
    free = decode(model, [prompt], max_new_tokens=60)[0]
    assert decode(model, [prompt], max_new_tokens=1, presence_penalty=2.0)[0] == free[:1]
    with torch.no_grad():
        model.tokens_embed.weight.zero_()  # equal logits: only the penalty tells tokens apart
    flat = decode(model, [prompt], max_new_tokens=VOCAB, frequency_penalty=1.0)[0]
    assert flat == list(range(VOCAB))


def test_logprobs_are_those_of_the_model_whatever_the_settings() -> None:
    model = lively_model(VOCAB, n_positions=64)
    prompts = random_prompts(3, 12)
    config = GenerationConfig(
        max_new_tokens=20, logprobs=4, temperature=2.0, top_k=30, repetition_penalty=2.0, seed=0
    )
    decoder = Decoder(model, prompts, config, suppress=(1, 2))
    scores: list[list[Any]] = [[] for _ in prompts]
    ids = [list(prompt) for prompt in prompts]
    for step in decoder:
        for sequence, token in step:
            ids[sequence].append(token)
            scores[sequence].append(decoder.scores[sequence])
    for text, found, prompt in zip(ids, scores, prompts, strict=True):
        logits = model(torch.tensor([text])).logits[0, len(prompt) - 1 : -1]
        log_probs = logits.detach().log_softmax(-1)
        expected = [
            float(row[token]) for row, token in zip(log_probs, text[len(prompt) :], strict=True)
        ]
        assert [score.log_prob for score in found] == pytest.approx(expected, abs=1e-5)
        top = log_probs.topk(4)
        assert [[i for i, _ in score.top] for score in found] == top.indices.tolist()
        values = torch.tensor([[value for _, value in score.top] for score in found])
        torch.testing.assert_close(values, top.values, rtol=0, atol=1e-5)


def test_without_logprobs_there_are_no_scores() -> None:
    decoder = Decoder(MODEL, [[1]], GenerationConfig(max_new_tokens=1))
    decoder.step()
    assert decoder.scores == {}


def test_more_alternatives_than_tokens_are_all_tokens() -> None:
    decoder = Decoder(MODEL, [[1]], GenerationConfig(max_new_tokens=1, logprobs=10**6))
    decoder.step()
    assert len(decoder.scores[0].top) == VOCAB


def test_a_replay_scores_as_the_decoder_did() -> None:
    config = GenerationConfig(max_new_tokens=40, logprobs=2, temperature=1.0, seed=0)
    decoder = Decoder(MODEL, [[1, 2]], config)
    steps = [(step[0][1], decoder.scores[0]) for step in decoder]
    again = replay(MODEL, [1, 2], [token for token, _ in steps], 2)
    assert again == [score for _, score in steps]
    assert replay(MODEL, [1, 2], [], 2) == []


def test_settings_that_forbid_every_token_are_reported() -> None:
    everything = tuple((token,) for token in range(VOCAB))
    with pytest.raises(ConfigError, match="settings forbid every token"):
        decode(MODEL, [[1]], bad_words_ids=everything)


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
