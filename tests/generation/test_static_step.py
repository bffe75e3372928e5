"""Steps of fixed shape: what they read is what the growing cache reads, also when replayed.

A GPU replays kernels as they were recorded. `Recorded` does so on the CPU, operation by operation:
a step that depended on a number of the host, or waited for one of the device, would differ or fail.
"""

from __future__ import annotations

import gc
import logging
import random
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from gpt1.config import GenerationConfig
from gpt1.generation import static_step
from gpt1.generation.decode import Decoder
from gpt1.generation.reading import TorchReader
from gpt1.generation.static_step import CAPTURES, Step, window_size
from gpt1.model import GPT
from lively import lively_model

VOCAB = 80
MODEL = lively_model(VOCAB, n_positions=16)


class Recorded(TorchDispatchMode):
    """A step recorded once; called, it repeats the same operations on the same memory."""

    made = 0

    def __init__(self, step: Step) -> None:
        super().__init__()
        self._calls: list[tuple[Any, Any, Any, Any]] = []
        with self:
            self._logits = step()
        Recorded.made += 1

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert "_local_scalar_dense" not in str(func), "the step waits for the device"
        result = func(*args, **(kwargs or {}))
        self._calls.append((func, args, kwargs or {}, result))
        return result

    def __call__(self) -> Tensor:
        for func, args, kwargs, result in self._calls:
            again = func(*args, **kwargs)
            if isinstance(result, Tensor) and again.data_ptr() != result.data_ptr():
                result.copy_(again)
        return self._logits


HOW = {"eagerly": lambda _: lambda step: step, "replayed": lambda _: Recorded}


@pytest.fixture(params=list(HOW))
def static(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of fixed shape on the CPU, over windows of 4, 6, 8, 12 and 16 tokens."""
    use(monkeypatch, request.param)


def use(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setenv("GPT1_KERNELS", "none")  # as on a GPU: what is recorded is PyTorch's
    monkeypatch.setattr(static_step, "LEAST_WINDOW", 4)
    monkeypatch.setattr(static_step, "_KEPT", weakref.WeakKeyDictionary())
    monkeypatch.setitem(CAPTURES, "cpu", HOW[how])


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, "replayed")
    Recorded.made = 0


def decode(model: GPT, prompts: list[list[int]], *, plain: bool = False, **how: Any) -> Any:
    """The new ids of every sequence."""
    config = GenerationConfig(**how)
    ids: list[list[int]] = [[] for _ in range(len(prompts) * config.n)]
    for step in open_decoder(model, prompts, config, plain=plain):
        for sequence, token in step:
            ids[sequence].append(token)
    return ids


def open_decoder(
    model: GPT, prompts: list[list[int]], config: GenerationConfig, *, plain: bool = False
) -> Decoder:
    decoder = Decoder(model, prompts, config)
    if plain:
        decoder._reader = PlainReader(model)
    return decoder


class PlainReader(TorchReader):
    """Reads over a growing cache although the CPU is among the devices of static steps."""

    def read_prompts(self, *args: Any) -> Tensor:
        with pytest.MonkeyPatch.context() as patch:
            patch.delitem(CAPTURES, "cpu")
            return super().read_prompts(*args)


def readings(
    reader: TorchReader, prompts: list[list[int]], copies: int, steps: int, seed: int
) -> Iterator[Tensor]:
    """Logits of the prompts and of each step behind them; rows leave now and then."""
    source = random.Random(seed)
    contexts = [list(prompt) for prompt in prompts for _ in range(copies)]
    with reader.session():
        logits = reader.read_prompts(prompts, steps, copies).clone()
    yield logits
    for _ in range(steps):
        kept = sorted(source.sample(range(len(contexts)), source.randint(1, len(contexts))))
        leave = source.random() < 0.3
        contexts = [contexts[row] for row in kept] if leave else contexts
        for context in contexts:
            context.append(source.randrange(VOCAB))
        with reader.session():
            if leave:
                reader.keep(kept)
            logits = reader.read_newest(contexts).clone()
        yield logits


@pytest.mark.usefixtures("static")
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=5),
    copies=st.integers(1, 2),
    steps=st.integers(1, 20),
    seed=st.integers(0, 999),
)
def test_logits_equal_those_over_a_growing_cache(
    lengths: list[int], copies: int, steps: int, seed: int
) -> None:
    prompts = [[(seed + 7 * row + i) % VOCAB for i in range(n)] for row, n in enumerate(lengths)]
    found = readings(TorchReader(MODEL), prompts, copies, steps, seed)
    expected = readings(PlainReader(MODEL), prompts, copies, steps, seed)
    for actual, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(actual, wanted, rtol=1e-5, atol=1e-5)


PROMPTS = [[1, 2, 3], [4], list(range(30, 50)), [7, 8], [9, 10, 11, 12, 13]]


@pytest.mark.usefixtures("static")
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"stop_ids": tuple(range(0, VOCAB, 8))},
        {"n": 3, "temperature": 1.0, "seed": 5, "stop_ids": tuple(range(0, VOCAB, 8))},
        {"logprobs": 2, "repetition_penalty": 1.3},
    ],
    ids=str,
)
def test_tokens_equal_those_over_a_growing_cache(how: dict[str, Any]) -> None:
    how = {"max_new_tokens": 24, **how}
    found = decode(MODEL, PROMPTS, **how)
    assert found == decode(MODEL, PROMPTS, plain=True, **how)
    assert len({tuple(ids) for ids in found}) > 3


@pytest.mark.usefixtures("static")
@pytest.mark.parametrize("n_positions", [1, 2, 3, 5])
def test_the_smallest_contexts_slide(n_positions: int) -> None:
    model = lively_model(VOCAB, n_positions=n_positions)
    found = decode(model, PROMPTS, max_new_tokens=8)
    assert found == decode(model, PROMPTS, plain=True, max_new_tokens=8)


@pytest.mark.usefixtures("static")
def test_in_bfloat16_logits_differ_by_rounding_alone() -> None:
    model = lively_model(VOCAB, n_positions=16).bfloat16()
    found = readings(TorchReader(model), PROMPTS, 1, 12, seed=0)
    expected = readings(PlainReader(model), PROMPTS, 1, 12, seed=0)
    for actual, wanted in zip(found, expected, strict=True):
        assert actual.dtype == torch.bfloat16
        torch.testing.assert_close(actual, wanted, rtol=0.02, atol=0.02)


def test_windows_are_at_most_half_longer_than_needed() -> None:
    sizes = [window_size(tokens, 512) for tokens in range(1, 513)]
    assert sorted(set(sizes)) == [64, 96, 128, 192, 256, 384, 512]
    assert all(n <= size <= max(64, 1.5 * n) for n, size in enumerate(sizes, start=1))
    assert window_size(70, limit=80) == 80


@pytest.mark.usefixtures("replayed")
def test_a_shape_is_recorded_once_and_again_for_the_next_texts_only_if_it_is_new() -> None:
    decode(MODEL, [[1]], max_new_tokens=16)
    assert Recorded.made == 5  # windows of 4, 6, 8, 12 and 16 tokens
    decode(MODEL, [[5]], max_new_tokens=16)
    assert Recorded.made == 5
    decode(MODEL, [[5], [6]], max_new_tokens=3)
    assert Recorded.made == 6


@pytest.mark.usefixtures("replayed")
def test_texts_made_in_turns_do_not_share_memory() -> None:
    config = GenerationConfig(max_new_tokens=12)
    decoders = [open_decoder(MODEL, [prompt], config) for prompt in PROMPTS]
    turns = zip(*decoders, strict=True)
    found = [[step[0][1] for step in steps] for steps in zip(*turns, strict=True)]
    assert found == decode(MODEL, PROMPTS, plain=True, max_new_tokens=12)


@pytest.mark.usefixtures("replayed")
def test_weights_changed_in_place_count_and_weights_moved_are_recorded_anew() -> None:
    model = lively_model(VOCAB)
    decode(model, [[1]], max_new_tokens=3)
    made = Recorded.made
    model.load_state_dict(lively_model(VOCAB, seed=1).state_dict())
    assert decode(model, [[1]], max_new_tokens=3) == decode(
        model, [[1]], plain=True, max_new_tokens=3
    )
    assert Recorded.made == made
    model.grow_vocabulary(VOCAB + 5)
    assert decode(model, [[1]], max_new_tokens=3) == decode(
        model, [[1]], plain=True, max_new_tokens=3
    )
    assert Recorded.made == made + 1


@pytest.mark.usefixtures("replayed")
def test_large_memory_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static_step, "KEPT_BYTES", 0)
    decode(MODEL, [[1]], max_new_tokens=3)
    decode(MODEL, [[1]], max_new_tokens=3)
    assert Recorded.made == 2


@pytest.mark.usefixtures("replayed")
def test_a_model_is_not_kept_alive() -> None:
    model = lively_model(VOCAB)
    decode(model, [[1]], max_new_tokens=3)
    alive = weakref.ref(model)
    del model
    gc.collect()
    assert alive() is None
    assert not static_step._KEPT


def test_where_recording_fails_steps_run_eagerly_after_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Step) -> Step:
        raise RuntimeError("this GPU cannot record")

    monkeypatch.setitem(CAPTURES, "cpu", lambda _: fail)
    static_step._warn.cache_clear()
    expected = decode(MODEL, PROMPTS, plain=True, max_new_tokens=24)
    with caplog.at_level(logging.WARNING):
        assert decode(MODEL, PROMPTS, max_new_tokens=24) == expected
        assert decode(MODEL, PROMPTS[:2], max_new_tokens=24) == expected[:2]
    warnings = [message for message in caplog.messages if "graphs" in message]
    assert warnings == ["decoding without CUDA graphs, which is slower: this GPU cannot record"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_graphs_of_a_gpu_give_the_tokens_of_the_growing_cache(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = lively_model(VOCAB, n_positions=128).cuda()
    stop_ids = tuple(range(0, VOCAB, 20))
    found = [decode(model, PROMPTS, max_new_tokens=200, stop_ids=stop_ids) for _ in range(2)]
    assert not caplog.messages
    monkeypatch.delitem(CAPTURES, "cuda")
    assert found == 2 * [decode(model, PROMPTS, max_new_tokens=200, stop_ids=stop_ids)]
