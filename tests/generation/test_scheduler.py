"""Texts that join and leave get what they would get alone."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt1.config import GenerationConfig
from gpt1.errors import CheckpointError, ConfigError, DataError
from gpt1.generation.decode import Decoder, TokenScore
from gpt1.generation.readers import Network
from gpt1.generation.scheduler import WORTH_WAITING, Continuation, Scheduler
from gpt1.generation.slots import TorchSlots
from gpt1.model import GPT
from gpt1.native_checkpoint import from_module, runs_natively
from lively import lively_model
from twin import twin

VOCAB = 80
LIMIT = 40
STOP = 7
MODEL = lively_model(VOCAB, n_positions=LIMIT)
native = pytest.mark.skipif(not runs_natively(MODEL), reason="the C++ library was not built")
MODELS: dict[str, Network] = {"torch": MODEL}
if runs_natively(MODEL):
    MODELS["native"] = from_module(MODEL)
names = pytest.mark.parametrize("name", [pytest.param("native", marks=native), "torch"])

SETTINGS: list[dict[str, Any]] = [
    {},
    {"temperature": 1.0, "seed": 1},
    {"temperature": 0.7, "top_k": 5, "seed": 2},
    {"temperature": 1.3, "top_p": 0.8, "seed": 3, "logprobs": 3},
    {"temperature": 1.0, "min_p": 0.05, "presence_penalty": 1.5, "seed": 4},
    {"repetition_penalty": 1.4, "logprobs": 0},
    {"logit_bias": ((3, 5.0), (4, -100.0)), "min_new_tokens": 5},
    {"no_repeat_ngram_size": 2, "typical_p": 0.7, "seed": 5},
]


def limits(_: GenerationConfig) -> dict[str, Any]:
    return {"stop_ids": (STOP,), "suppress": {1, 2}}


def scheduler(name: str = "native", slots: int = 3, chunk: int = 32) -> Scheduler:
    return Scheduler(MODELS[name], slots, chunk, limits)


def alone(
    model: Network, prompt: list[int], config: GenerationConfig, number: int = 0
) -> tuple[list[int], list[TokenScore]]:
    """Ids and scores by `Decoder`: of one of several continuations, the only one decoded."""
    from dataclasses import replace

    count = number + 1 if config.samples else 1
    decoder = Decoder(model, [prompt], replace(config, n=count), **limits(config))
    ids, scores = list[int](), list[TokenScore]()
    for step in decoder:
        for sequence, token in step:
            if sequence == count - 1:
                ids.append(token)
                scores += [decoder.scores[sequence]] if decoder.scores else []
    return ids, scores


def run(
    scheduler: Scheduler, arrivals: list[tuple[int, Continuation]]
) -> dict[Continuation, tuple[list[int], list[TokenScore]]]:
    """Ids and scores of texts that join in given steps."""
    found: dict[Continuation, tuple[list[int], list[TokenScore]]]
    found = {continuation: ([], []) for _, continuation in arrivals}
    time, left = 0, len(arrivals)
    while left:
        for arrival, continuation in arrivals:
            if arrival == time:
                scheduler.add(continuation)
        for step in scheduler.step() if scheduler.has_work else ():
            ids, scores = found[step.continuation]
            assert step.error is None
            ids += [] if step.token is None else [step.token]
            scores += [] if step.score is None else [step.score]
            left -= step.ended
        time += 1
        assert time < 2000
    return found


def prompts(seed: int, count: int, longest: int) -> list[list[int]]:
    """Random ones, many of which begin alike."""
    source = random.Random(seed)
    found: list[list[int]] = []
    for _ in range(count):
        begin = source.choice(found)[: source.randint(0, longest)] if found else []
        rest = [source.randrange(8, VOCAB) for _ in range(source.randint(1, longest))]
        found.append([*begin, *rest][-longest:])
    return found


@native
@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_a_text_does_not_depend_on_what_runs_beside_it(data: st.DataObject) -> None:
    check_texts("native", data)


@settings(deadline=None, max_examples=6)
@given(data=st.data())
def test_nor_does_it_on_torch(data: st.DataObject) -> None:
    check_texts("torch", data)


def check_texts(name: str, data: st.DataObject) -> None:
    seed = data.draw(st.integers(0, 10**6))
    count = data.draw(st.integers(1, 12))
    source = random.Random(seed)
    engine = scheduler(name, data.draw(st.integers(1, 5)), data.draw(st.sampled_from([32, 64])))
    arrivals, expected = [], {}
    for prompt in prompts(seed, count, LIMIT + 10):
        config = GenerationConfig(max_new_tokens=source.randint(5, 40), **source.choice(SETTINGS))
        number = source.randint(0, 2)
        continuation = engine.prepare(prompt, config, number)
        arrivals.append((source.randint(0, 30), continuation))
        expected[continuation] = alone(MODELS[name], prompt, config, number)
    found = run(engine, arrivals)
    for continuation, (ids, scores) in expected.items():
        assert found[continuation][0] == ids
        for ours, theirs in zip(found[continuation][1], scores, strict=True):
            assert ours.log_prob == pytest.approx(theirs.log_prob, abs=1e-4)


@native
def test_native_scores_are_equal_to_the_last_bit() -> None:
    config = GenerationConfig(temperature=1.0, seed=1, logprobs=4, max_new_tokens=30)
    engine = scheduler(slots=4, chunk=5)
    texts = prompts(3, 9, 25)
    jobs = [engine.prepare(prompt, config) for prompt in texts]
    found = run(engine, list(enumerate(jobs)))
    for prompt, job in zip(texts, jobs, strict=True):
        assert found[job] == alone(MODELS["native"], prompt, config)


@names
def test_torch_and_native_agree_and_beginnings_are_read_once(name: str) -> None:
    engine = scheduler(name, slots=6, chunk=32)
    prompt = prompts(5, 1, LIMIT)[0]
    prompt = [*prompt, *range(8, 8 + LIMIT)][:LIMIT]
    config = GenerationConfig(max_new_tokens=4, temperature=1.0, seed=1)
    jobs = [engine.prepare(prompt, config, number) for number in range(6)]
    found = run(engine, [(0, job) for job in jobs])
    grain = engine._slots.grain
    shared = (LIMIT - 1) // grain * grain
    first, *others = [job.cached_tokens for job in jobs]
    assert first == 0
    assert all(shared - WORTH_WAITING < cached <= shared for cached in others)
    for number, job in enumerate(jobs):
        assert found[job][0] == alone(MODEL, prompt, config, number)[0]


@native
def test_what_has_left_is_shared_as_long_as_its_slot_is_not_taken() -> None:
    engine = scheduler(slots=2)
    config = GenerationConfig(max_new_tokens=2)
    first, second = list(range(8, 28)), list(range(30, 50))
    for prompt, cached in [(first, 0), (second, 0), (first, 19), (second, 19), (first[:10], 9)]:
        job = engine.prepare(prompt, config)
        run(engine, [(0, job)])
        assert job.cached_tokens == cached
    run(engine, [(0, engine.prepare(list(range(60, 70)), config))])
    job = engine.prepare(second, config)  # its slot was the one left longest ago
    run(engine, [(0, job)])
    assert job.cached_tokens == 0


@native
def test_running_texts_get_a_token_in_every_step_while_a_long_prompt_is_read() -> None:
    engine = scheduler(slots=2, chunk=4)
    fast = engine.prepare([9], GenerationConfig(max_new_tokens=20))
    slow = engine.prepare(list(range(8, 38)), GenerationConfig(max_new_tokens=1))
    engine.add(fast)
    engine.step()
    engine.add(slow)
    seen = [[step.continuation for step in engine.step()] for _ in range(8)]
    assert all(fast in step for step in seen)
    assert [slow in step for step in seen] == [False] * 7 + [True]


@native
def test_a_slot_is_free_as_soon_as_its_text_is_removed() -> None:
    engine = scheduler(slots=1)
    config = GenerationConfig(max_new_tokens=30)
    first, second, third = (engine.prepare([token], config) for token in (9, 10, 11))
    for job in (first, second, third):
        engine.add(job)
    assert [step.continuation for step in engine.step()] == [first]
    engine.remove(first)
    engine.remove(second)  # which waits
    assert [step.continuation for step in engine.step()] == [third]
    engine.remove(third)
    assert not engine.has_work


@names
def test_prompts_are_scored_as_transformers_scores_them(name: str) -> None:
    engine = scheduler(name, slots=2, chunk=32)
    texts = [*prompts(8, 3, LIMIT), [11]]
    texts[0] = (texts[0] * LIMIT)[:LIMIT]
    config = GenerationConfig(max_new_tokens=LIMIT, logprobs=2)  # the window slides meanwhile
    jobs = [engine.prepare(prompt, config, prompt_scores=True) for prompt in texts * 2]
    run(engine, [(0, job) for job in jobs])
    other = twin(MODEL)
    for prompt, job in zip(texts * 2, jobs, strict=True):
        with torch.inference_mode():
            expected = other(torch.tensor([prompt])).logits[0].log_softmax(-1).numpy()
        chosen = [expected[i, token] for i, token in enumerate(prompt[1:])]
        assert job.prompt_scores is not None
        np.testing.assert_allclose([s.log_prob for s in job.prompt_scores], chosen, atol=2e-5)
        for score, row in zip(job.prompt_scores, expected, strict=False):
            assert score.top[0][0] == row.argmax()


@native
def test_an_error_ends_only_the_text_it_is_of() -> None:
    engine = scheduler(slots=3)
    config = GenerationConfig(max_new_tokens=5)
    all_bad = tuple((token,) for token in range(VOCAB) if token != STOP)
    bad = GenerationConfig(max_new_tokens=5, min_new_tokens=1, bad_words_ids=all_bad)
    good, wrong = engine.prepare([9], config), engine.prepare([9], bad)
    engine.add(good)
    engine.add(wrong)
    steps = {step.continuation: step for step in engine.step()}
    assert isinstance(steps[wrong].error, ConfigError)
    assert steps[wrong].ended
    assert steps[good].token is not None
    assert engine.running == [good]


def test_damaged_weights_are_an_error_of_every_text() -> None:
    model = lively_model(VOCAB, n_positions=LIMIT)
    with torch.no_grad():
        model.tokens_embed.weight[9] = float("nan")
    engine = Scheduler(model, 2, 32, limits)
    for token in (10, 11):
        engine.add(engine.prepare([token], GenerationConfig()))
    steps = engine.step()
    assert all(isinstance(step.error, CheckpointError) for step in steps)
    assert len(steps) == 2
    assert not engine.has_work


def test_bad_arguments_are_refused() -> None:
    engine = scheduler("torch")
    with pytest.raises(DataError, match="no tokens"):
        engine.prepare([], GenerationConfig())
    with pytest.raises(DataError, match="the id 80"):
        engine.prepare([80], GenerationConfig())
    with pytest.raises(ConfigError, match="logit_bias holds the id 99"):
        engine.prepare([9], GenerationConfig(logit_bias=((99, 1.0),)))
    with pytest.raises(ConfigError, match="generated alone"):
        engine.prepare([9], GenerationConfig(num_beams=2))
    with pytest.raises(ConfigError, match="slots is 0"):
        scheduler("torch", slots=0)
    with pytest.raises(ConfigError, match=f"chunk is 8 but must be at least {TorchSlots.grain}"):
        scheduler("torch", chunk=8)


def test_equal_settings_are_prepared_once_and_forgotten() -> None:
    engine = scheduler("torch")
    jobs = [engine.prepare([9], GenerationConfig(seed=seed, stop=("x",))) for seed in range(5)]
    assert len(engine._scores) == 1
    del jobs
    assert len(engine._scores) == 0


def test_a_model_in_half_precision_on_torch() -> None:
    model: GPT = lively_model(VOCAB, n_positions=LIMIT).to(torch.bfloat16)
    engine = Scheduler(model, 2, 32, limits)
    config = GenerationConfig(max_new_tokens=6)
    job = engine.prepare([9, 10, 11], config)
    beside = engine.prepare([20, 21], config)
    found = run(engine, [(0, job), (1, beside)])
    again = engine.prepare([9, 10, 11], config)
    assert run(engine, [(0, again)])[again][0] == found[job][0]
