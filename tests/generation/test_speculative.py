"""Speculative decoding: token for token what plain decoding generates, in fewer passes."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt1.config import GenerationConfig
from gpt1.errors import ConfigError
from gpt1.generation.decode import Decoder, TokenScore
from gpt1.generation.processors import filtered, softmax
from gpt1.generation.proposers import AHEAD, Proposal, Text
from gpt1.generation.readers import Network
from gpt1.generation.speculative import Pace, SpeculativeDecoder, price_of_reading
from gpt1.native.model import NativeModel
from gpt1.native_checkpoint import from_module
from lively import lively_model

VOCAB = 12
TORCH = lively_model(VOCAB, n_positions=24)
NATIVE = from_module(TORCH)
DRAFTS: dict[str, Network | None] = {
    "look-up": None,
    "itself": NATIVE,
    "another": from_module(lively_model(VOCAB, n_positions=10, seed=1)),
    "torch": lively_model(VOCAB, n_positions=16, seed=2),
}

Found = list[list[tuple[int, TokenScore | None]]]


def found(decoder: Decoder, sequences: int) -> Found:
    """The tokens of every sequence, with their scores."""
    tokens: Found = [[] for _ in range(sequences)]
    for step in decoder:
        assert len({sequence for sequence, _ in step}) == len(step)
        for sequence, token in step:
            tokens[sequence].append((token, decoder.scores.get(sequence)))
    return tokens


def both(
    model: Network,
    prompts: Sequence[Sequence[int]],
    draft: Network | None,
    ends: Sequence[int] = (),
    suppress: Sequence[int] = (),
    **settings: Any,
) -> tuple[Found, Found]:
    """What plain and what speculative decoding generate."""
    config = GenerationConfig(**settings)
    count = len(prompts) * config.n
    limits = {"stop_ids": ends, "suppress": suppress}
    plain = Decoder(model, prompts, config, **limits)
    return found(plain, count), found(
        SpeculativeDecoder(model, prompts, config, draft, **limits), count
    )


ragged = st.lists(
    st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=30), min_size=1, max_size=4
)
of_the_text = st.fixed_dictionaries(
    {"max_new_tokens": st.integers(1, 40)},
    optional={
        "repetition_penalty": st.floats(0.5, 2.0),
        "presence_penalty": st.floats(-2, 2),
        "no_repeat_ngram_size": st.integers(6, 8),
        "logit_bias": st.just(((1, 2.5), (3, -4.0))),
        "bad_words_ids": st.just(((4,), (5, 6), (1, 1, 1))),
        "logprobs": st.integers(0, 3),
        "prompt_lookup_num_tokens": st.integers(1, 12),
        "stop_ids": st.just((2,)),
    },
)
sampling = st.one_of(
    st.just({}),
    st.fixed_dictionaries(
        {"seed": st.integers(0, 99), "temperature": st.floats(0.2, 2.0), "n": st.integers(1, 3)},
        optional={"top_k": st.integers(1, 9), "top_p": st.floats(0.3, 1.0)},
    ),
)


@pytest.mark.parametrize("draft", DRAFTS)
@settings(max_examples=25, deadline=None)
@given(ragged, of_the_text, sampling)
def test_every_token_and_score_is_that_of_plain_decoding(
    draft: str, prompts: list[list[int]], how: dict[str, Any], more: dict[str, Any]
) -> None:
    plain, ours = both(NATIVE, prompts, DRAFTS[draft], [0], [7], **how, **more)
    assert ours == plain


@pytest.mark.parametrize("draft", DRAFTS)
@pytest.mark.parametrize("how", [{}, {"temperature": 0.7, "seed": 3, "n": 2}])
def test_on_torch_the_tokens_are_those_of_plain_decoding(draft: str, how: dict[str, Any]) -> None:
    source = random.Random(0)
    prompts = [[source.randrange(VOCAB) for _ in range(size)] for size in (3, 11, 30)]
    plain, ours = both(TORCH, prompts, DRAFTS[draft], max_new_tokens=40, **how)
    assert ours == plain


class Counting:
    """A network that notes how many tokens each pass reads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        read = NativeModel.read

        def noting(model: NativeModel, cache: Any, ids: Sequence[int], *others: Any) -> Any:
            if model is NATIVE:
                self.sizes.append(len(ids))
            return read(model, cache, ids, *others)

        monkeypatch.setattr(NativeModel, "read", noting)


def test_what_repeats_is_read_in_fewer_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = Counting(monkeypatch)
    bias = ((3, 100.0),)  # the text is 3 3 3 ...
    plain, ours = both(NATIVE, [[1]], None, max_new_tokens=20, logit_bias=bias)
    assert ours == plain
    assert passes.sizes[:20] == [1] * 20
    assert passes.sizes[20:] == [1, 1, 1, 5, 9, 3]  # no more than can still be generated


def test_rows_are_read_together(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = Counting(monkeypatch)
    prompts = [[1, 2], [4], [5, 6, 7]]
    config = GenerationConfig(max_new_tokens=12, temperature=0.1, seed=0)
    decoder = SpeculativeDecoder(NATIVE, prompts, config, NATIVE)
    tokens = found(decoder, 3)
    assert [len(row) for row in tokens] == [12] * 3
    ours = [size for size in passes.sizes if size > 3]
    assert len(ours) < 8


def test_guesses_that_fail_are_given_up() -> None:
    class Wrong:
        price = 0.0
        asked = 0

        def propose(self, texts: Sequence[Text], counts: Sequence[int]) -> list[Proposal]:
            self.asked += sum(counts)
            return [Proposal([VOCAB - 1] * count) for count in counts]

    config = GenerationConfig(max_new_tokens=400, logit_bias=((VOCAB - 1, -100.0),))
    decoder = SpeculativeDecoder(NATIVE, [[1, 2]], config)
    decoder._proposer = wrong = Wrong()
    for _ in decoder:
        pass
    assert 0 < wrong.asked * AHEAD < 0.75 + 0.01 * 400


def test_a_pace_quickens_while_guesses_are_right_and_never_passes_its_limit() -> None:
    pace, price = Pace(10), 0.1
    lengths = []
    for _ in range(4):
        lengths.append(pace.length(price))
        pace.note(lengths[-1], lengths[-1], lengths[-1] * price)
    assert lengths == [4, 8, 10, 10]
    pace.note(10, 2, 10 * price)
    assert pace.length(price) == 3
    assert Pace(2).length(price) == 2


def test_a_pace_has_no_steps_to_lose_but_its_share() -> None:
    pace, price, lost = Pace(10), 0.5, 0.0
    for _ in range(1000):
        length = pace.length(price)
        pace.note(length, 0, length * price)
        lost += length * price
    assert 8 < lost < 0.75 + 10


def test_the_price_of_reading_grows_with_the_batch() -> None:
    prices = [price_of_reading(sequences) for sequences in (1, 8, 64)]
    assert prices[0] == AHEAD
    assert prices == sorted(prices)
    assert prices[-1] < 1


@pytest.mark.parametrize("draft", ["look-up", "another"])
def test_samples_follow_the_exact_distribution_of_texts(draft: str) -> None:
    prompt, length, count = [1, 2, 1, 2, 1], 3, 4000
    how = {"temperature": 1.2, "top_k": 4}
    config = GenerationConfig(max_new_tokens=length, n=count, seed=0, **how)
    drawn = Counter(
        tuple(token for token, _ in row)
        for row in found(SpeculativeDecoder(NATIVE, [prompt], config, DRAFTS[draft]), count)
    )
    probability = {(): 1.0}
    for _ in range(length):
        probability = {
            (*text, token): p * q
            for text, p in probability.items()
            for token, q in enumerate(next_probabilities([*prompt, *text], how))
            if q > 0
        }
    assert set(drawn) <= set(probability)
    expected = np.array([probability[text] * count for text in probability])
    observed = np.array([drawn[text] for text in probability])
    common = expected >= 5  # the others are taken together
    if not common.all():
        expected = np.append(expected[common], expected[~common].sum())
        observed = np.append(observed[common], observed[~common].sum())
    statistic = ((observed - expected) ** 2 / expected).sum()
    freedom = len(expected) - 1
    assert freedom > 20
    assert statistic < freedom + 3.1 * (2 * freedom) ** 0.5 + 6.4  # above the 0.999 quantile


def next_probabilities(ids: list[int], how: dict[str, Any]) -> list[float]:
    logits = NATIVE.read(
        NATIVE.new_cache(1), ids, [0] * len(ids), range(len(ids)), [len(ids) - 1]
    ).astype(np.float64)
    found: list[float] = softmax(filtered(logits, GenerationConfig(**how)))[0].tolist()
    return found


def test_a_seed_gives_the_same_text_every_time() -> None:
    options = {"max_new_tokens": 20, "temperature": 1.0, "seed": 5}
    first, second = (
        found(SpeculativeDecoder(NATIVE, [[1, 2]], GenerationConfig(**options), DRAFTS[draft]), 1)
        for draft in ("another", "another")
    )
    assert first == second


def test_end_finishes_a_sequence_whose_guesses_are_still_right() -> None:
    config = GenerationConfig(max_new_tokens=20, logit_bias=((3, 100.0),))
    decoder = SpeculativeDecoder(NATIVE, [[1], [2]], config)
    steps = list(itertools.islice(decoder, 6))
    assert steps[-1] == [(0, 3), (1, 3)]
    decoder.end(0)
    assert [token for step in decoder for token in step] == [(1, 3)] * 14
    assert decoder.running == []


def test_settings_that_forbid_every_token_are_reported() -> None:
    config = GenerationConfig(bad_words_ids=tuple((token,) for token in range(VOCAB)))
    with pytest.raises(ConfigError, match="settings forbid every token"):
        next(iter(SpeculativeDecoder(NATIVE, [[1]], config, NATIVE)))
