"""Beam search: equal to transformers, and each prompt independent of the others."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt1.config import GenerationConfig
from gpt1.errors import CheckpointError, ConfigError, DataError
from gpt1.generation.beam import Hypothesis, beam_search
from gpt1.generation.decode import Decoder
from gpt1.model import GPT
from lively import lively_model
from twin import twin

VOCAB = 40
MODEL = lively_model(VOCAB, n_positions=64).double()
TWIN = twin(MODEL)


def search(model: GPT, prompts: list[list[int]], **settings: Any) -> list[list[Hypothesis]]:
    suppress = settings.pop("suppress", ())
    return beam_search(model, prompts, GenerationConfig(**settings), suppress=suppress)


def random_settings(source: random.Random) -> dict[str, Any]:
    num_beams, max_new_tokens = source.randint(2, 6), source.randint(1, 24)
    optional = {
        "repetition_penalty": source.choice([0.7, 1.3]),
        "no_repeat_ngram_size": source.randint(2, 3),
        "min_new_tokens": source.randint(1, max_new_tokens),
    }
    return {
        "num_beams": num_beams,
        "n": source.randint(1, num_beams),
        "max_new_tokens": max_new_tokens,
        "length_penalty": source.choice([-1.5, -0.3, 0.0, 0.5, 1.0, 2.0]),
        "early_stopping": source.choice([True, False, "never"]),
        "stop_ids": tuple(source.sample(range(VOCAB), source.randint(1, 4))),
        **{name: value for name, value in optional.items() if source.random() < 0.3},
    }


def theirs(prompt: list[int], chosen: dict[str, Any], suppress: list[int]) -> list[Any]:
    """Ids up to a stop id, score and whether it met one, of each continuation."""
    own = dict(chosen)
    stop_ids, n = list(own.pop("stop_ids")), own.pop("n")
    input_ids = torch.tensor([prompt])
    output = TWIN.generate(
        input_ids,
        attention_mask=torch.ones_like(input_ids),
        do_sample=False,
        pad_token_id=stop_ids[0],
        eos_token_id=stop_ids,
        num_return_sequences=n,
        suppress_tokens=suppress or None,
        return_dict_in_generate=True,
        output_scores=True,
        **own,
    )
    found = []
    for row, score in zip(output.sequences.tolist(), output.sequences_scores.tolist(), strict=True):
        new = row[len(prompt) :]
        ids = list(itertools.takewhile(lambda token: token not in stop_ids, new))
        found.append((ids, pytest.approx(score, rel=1e-5), len(ids) < len(new)))
    return found


@pytest.mark.parametrize("seed", range(60))
def test_beam_search_equals_transformers_token_for_token(seed: int) -> None:
    source = random.Random(seed)
    prompt = [source.randrange(VOCAB) for _ in range(source.randint(1, 12))]
    chosen = random_settings(source)
    others = [token for token in range(VOCAB) if token not in chosen["stop_ids"]]
    suppress = source.sample(others, source.choice([0, 5]))
    (ours,) = search(MODEL, [prompt], suppress=suppress, **chosen)
    found = [(found.ids, found.score, found.finished) for found in ours]
    assert found == theirs(prompt, chosen, suppress)


ragged = st.lists(
    st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=20), min_size=1, max_size=4
)


@settings(max_examples=40, deadline=None)
@given(ragged, st.integers(0, 2**32), st.sampled_from([1, 2, 3, 7, 16, 64]))
def test_a_prompt_does_not_depend_on_the_batch(
    prompts: list[list[int]], seed: int, n_positions: int
) -> None:
    model = lively_model(VOCAB, n_positions=n_positions).double()
    chosen = random_settings(random.Random(seed))
    together = search(model, prompts, **chosen)
    alone = [search(model, [prompt], **chosen)[0] for prompt in prompts]
    assert [[found.ids for found in one] for one in together] == [
        [found.ids for found in one] for one in alone
    ]
    for one, other in zip(together, alone, strict=True):
        assert [a.score for a in one] == pytest.approx([b.score for b in other], rel=1e-5)


def plain_log_probs(model: GPT, context: list[int]) -> list[float]:
    logits = model(torch.tensor([context])).logits[0, -1]
    return logits.float().log_softmax(-1).tolist()


@pytest.mark.parametrize("n_positions", [1, 2, 3, 7, 8])
@pytest.mark.parametrize("prompt_length", [1, 5, 30])
def test_a_full_context_slides_to_its_last_half(n_positions: int, prompt_length: int) -> None:
    model = lively_model(VOCAB, n_positions=n_positions, seed=3).double()
    prompt = [7, *range(prompt_length - 1)]
    beams = [(0.0, prompt[-n_positions:], [])]
    for _ in range(20):
        extended = []
        for total, context, ids in beams:
            for token, log_prob in enumerate(plain_log_probs(model, context)):
                seen = [*context, token]
                if len(seen) > n_positions:
                    seen = seen[-max(1, n_positions // 2) :]
                extended.append((total + log_prob, seen, [*ids, token]))
        beams = sorted(extended, key=lambda beam: beam[0], reverse=True)[:3]
    (ours,) = search(model, [prompt], num_beams=3, n=3, max_new_tokens=20)
    assert [found.ids for found in ours] == [ids for _, _, ids in beams]
    assert [found.log_prob for found in ours] == pytest.approx([total for total, _, _ in beams])


def test_enough_beams_find_the_likeliest_texts_of_all() -> None:
    model = lively_model(5, seed=1)
    texts = []
    for ids in itertools.product(range(5), repeat=3):
        scores = [plain_log_probs(model, [2, *ids[:t]])[token] for t, token in enumerate(ids)]
        texts.append((sum(scores), list(ids)))
    best = sorted(texts, reverse=True)[:4]
    (ours,) = search(model, [[2]], num_beams=25, n=4, max_new_tokens=3, length_penalty=0.0)
    assert [found.ids for found in ours] == [ids for _, ids in best]
    assert [found.log_prob for found in ours] == pytest.approx([score for score, _ in best])


def test_one_beam_is_greedy_search() -> None:
    config = GenerationConfig(max_new_tokens=12, stop_ids=(11, 3))
    for seed in range(10):
        prompt = [seed, 2 * seed]
        greedy = [token for step in Decoder(MODEL, [prompt], config) for _, token in step]
        ((found,),) = beam_search(MODEL, [prompt], config)
        assert found.ids == greedy


def test_log_probability_counts_the_stop_id_and_score_divides_by_length() -> None:
    prompt, stop = [1, 2, 3], 32
    (ours,) = search(
        MODEL, [prompt], num_beams=6, n=6, max_new_tokens=12, stop_ids=(stop,), length_penalty=0.5
    )
    assert {(len(found.ids), found.finished) for found in ours} >= {(3, True), (12, False)}
    assert [found.score for found in ours] == sorted((f.score for f in ours), reverse=True)
    for found in ours:
        ids = [*found.ids, stop] if found.finished else found.ids
        scores = [plain_log_probs(MODEL, prompt + ids[:t])[token] for t, token in enumerate(ids)]
        assert found.log_prob == pytest.approx(sum(scores))
        assert found.score == pytest.approx(found.log_prob / math.sqrt(len(ids)))
        assert stop not in found.ids


def record_shapes(model: GPT) -> list[tuple[int, ...]]:
    shapes: list[tuple[int, ...]] = []
    model.register_forward_pre_hook(lambda _, args: shapes.append(tuple(args[0].shape)))
    return shapes


def test_a_prompt_is_read_once_and_a_step_reads_one_token_a_beam() -> None:
    model = lively_model(VOCAB)
    shapes = record_shapes(model)
    search(model, [[1, 2, 3], [4]], num_beams=3, max_new_tokens=4)
    assert shapes == [(2, 3), (6, 1), (6, 1), (6, 1)]


def test_a_decided_prompt_leaves_the_batch() -> None:
    model = lively_model(VOCAB)
    shapes = record_shapes(model)
    chosen: dict[str, Any] = {"num_beams": 2, "early_stopping": True, "max_new_tokens": 8}
    search(model, [[1, 2], [3]], stop_ids=(2,), **chosen)
    assert shapes == [(2, 2), (4, 1), (4, 1), (4, 1), (4, 1), (2, 1)]


def test_fewer_are_found_where_the_settings_allow_no_more() -> None:
    every_other = tuple(token for token in range(VOCAB) if token not in (3, 4))
    (ours,) = search(MODEL, [[1]], num_beams=6, n=6, max_new_tokens=2, suppress=every_other)
    assert sorted(found.ids for found in ours) == [[3, 3], [3, 4], [4, 3], [4, 4]]


def test_what_was_found_stays_when_no_beam_can_go_on() -> None:
    every_other = tuple(token for token in range(VOCAB) if token not in (3, 4))
    (ours,) = search(
        MODEL,
        [[3]],
        num_beams=2,
        n=2,
        max_new_tokens=9,
        stop_ids=(4,),
        no_repeat_ngram_size=1,
        suppress=every_other,
    )
    assert [(found.ids, found.finished) for found in ours] == [([], True)]


def test_settings_that_forbid_every_token_are_refused() -> None:
    with pytest.raises(ConfigError, match="the settings forbid every token there is; relax"):
        search(MODEL, [[1]], num_beams=2, suppress=tuple(range(VOCAB)))


def test_stop_ids_of_the_caller_and_of_the_config_both_count() -> None:
    chosen: dict[str, Any] = {"num_beams": 3, "max_new_tokens": 20}
    for ours, callers in (((5, 9), ()), ((), (5, 9)), ((5,), (9,))):
        config = GenerationConfig(stop_ids=ours, **chosen)
        assert beam_search(MODEL, [[1, 2]], config, stop_ids=callers) == search(
            MODEL, [[1, 2]], stop_ids=(5, 9), **chosen
        )


def test_bfloat16_weights_search() -> None:
    model = lively_model(VOCAB).to(torch.bfloat16)
    ((found,),) = search(model, [[1, 2, 3]], num_beams=3, max_new_tokens=30)
    assert len(found.ids) == 30


def test_nothing_to_continue_gives_nothing() -> None:
    assert search(MODEL, [], num_beams=3) == []


def test_dropout_is_off_while_searching_and_on_again_after() -> None:
    model = lively_model(VOCAB, n_positions=64).double().train()
    assert search(model, [[1, 2]], num_beams=3) == search(MODEL, [[1, 2]], num_beams=3)
    assert model.training


def test_a_prompt_without_tokens_is_refused() -> None:
    with pytest.raises(DataError, match="prompt 1 has no tokens"):
        search(MODEL, [[1], []], num_beams=2)


def test_an_unknown_stop_id_is_refused() -> None:
    with pytest.raises(ConfigError, match="stop_ids holds 40 but the model has 40 tokens"):
        search(MODEL, [[1]], num_beams=2, stop_ids=(VOCAB,))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_numbers_are_reported(value: float) -> None:
    model = lively_model(VOCAB)
    with torch.no_grad():
        model.tokens_embed.weight[5] = value
    with pytest.raises(CheckpointError, match=r"scores are not finite numbers.*damaged"):
        search(model, [[1, 2]], num_beams=2)
