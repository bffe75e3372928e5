"""Continuations scored in trees of tokens, against each sequence scored on its own."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from gpt1.errors import DataError
from gpt1.evaluation import shared_prefix
from gpt1.evaluation.scoring import score_ids
from gpt1.evaluation.shared_prefix import continuation_log_probs, continuation_scores, cut_prompts
from gpt1.model import GPT
from lively import lively_model

VOCAB, N_POSITIONS = 12, 16
MODEL = lively_model(VOCAB, N_POSITIONS)

few = st.integers(0, 2)  # few tokens, so that sequences often begin alike
questions = st.lists(
    st.tuples(
        st.lists(few, min_size=1, max_size=20),
        st.lists(st.lists(few, max_size=6), max_size=4),
    ),
    min_size=1,
    max_size=6,
)


class Recurrent(nn.Module):
    """Has neither attention nor a limit."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(vocab_size=VOCAB, n_positions=None)
        self.tokens_embed = nn.Embedding(VOCAB, 8)
        self.lstm = nn.LSTM(8, 8, batch_first=True)
        self.rows_read: list[list[list[int]]] = []

    def hidden(self, input_ids: Tensor) -> Tensor:
        self.rows_read.append(input_ids.tolist())
        return self.lstm(self.tokens_embed(input_ids))[0]  # type: ignore[no-any-return]


def alone(model: GPT, prompt: list[int], candidate: list[int]) -> list[float | None]:
    kept = prompt[-max(1, model.config.n_positions + 1 - len(candidate)) :]
    return score_ids(model, [[*kept, *candidate]])[0].log_probs[len(kept) :]


@given(questions)
def test_log_probs_are_those_of_the_plain_concatenations(
    asked: list[tuple[list[int], list[list[int]]]],
) -> None:
    prompts = [prompt[: N_POSITIONS + 1 - 6] for prompt, _ in asked]
    candidates = [some for _, some in asked]
    found = continuation_log_probs(MODEL, prompts, candidates)
    for prompt, some, rows in zip(prompts, candidates, found, strict=True):
        assert len(rows) == len(some)
        for candidate, values in zip(some, rows, strict=True):
            assert values.dtype == np.float32
            assert values.tolist() == pytest.approx(alone(MODEL, prompt, candidate), abs=2e-5)


@given(questions)
def test_the_likeliest_tokens_are_those_of_the_plain_concatenations(
    asked: list[tuple[list[int], list[list[int]]]],
) -> None:
    prompts = [prompt[: N_POSITIONS + 1 - 6] for prompt, _ in asked]
    best = [greedy(prompt, 3) for prompt in prompts]
    candidates = [[*some, ids, ids[:1]] for (_, some), ids in zip(asked, best, strict=True)]
    found = continuation_scores(MODEL, prompts, candidates)
    for prompt, some, scores in zip(prompts, candidates, found, strict=True):
        for candidate, score in zip(some, scores, strict=True):
            ids = torch.tensor([*prompt, *candidate])
            with torch.no_grad():
                best_ids = MODEL(ids[None, : max(1, len(ids) - 1)]).logits[0].argmax(-1)
            expected = [best_ids[len(prompt) - 1 + n] == token for n, token in enumerate(candidate)]
            assert score.likeliest.tolist() == expected
        assert scores[-1].likeliest.all()
        assert scores[-2].likeliest.all()


def greedy(prompt: list[int], tokens: int) -> list[int]:
    ids = list(prompt)
    for _ in range(tokens):
        with torch.no_grad():
            ids.append(int(MODEL(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(prompt) :]


@given(questions, st.randoms(use_true_random=False))
def test_the_order_of_prompts_and_candidates_changes_nothing(
    asked: list[tuple[list[int], list[list[int]]]], random: object
) -> None:
    def scores(order: list[int], turn: int) -> list[list[list[float]]]:
        found = continuation_log_probs(
            MODEL, [asked[i][0] for i in order], [asked[i][1][::turn] for i in order]
        )
        by_number = sorted(zip(order, found, strict=True), key=lambda pair: pair[0])
        return [[values.tolist() for values in rows[::turn]] for _, rows in by_number]

    order = list(range(len(asked)))
    plain = scores(order, 1)
    random.shuffle(order)  # type: ignore[attr-defined]
    for one, other in zip(plain, scores(order, -1), strict=True):
        for a, b in zip(one, other, strict=True):
            assert a == pytest.approx(b, abs=2e-5)


def test_a_common_beginning_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    hidden = GPT.hidden

    def counted(self: GPT, input_ids: Tensor, **more: Tensor) -> Tensor:
        read.append(input_ids.numel())
        return hidden(self, input_ids, **more)

    monkeypatch.setattr(GPT, "hidden", counted)
    passage, questions = [1, 2, 3, 4, 5, 6, 7], [[8, 9], [8, 10]]
    answers = [[1], [2], [3, 4], [3, 5]]
    prompts = [passage + question for question in questions]
    found = continuation_log_probs(MODEL, prompts, [answers, answers])
    assert read == [7 + 1 + 2 + 2]  # the passage, 8, 9 and 10, and the 3 behind each
    for prompt, rows in zip(prompts, found, strict=True):
        for answer, values in zip(answers, rows, strict=True):
            assert values.tolist() == pytest.approx(alone(MODEL, prompt, answer), abs=2e-5)


def test_a_row_may_hold_more_tokens_than_the_model_has_positions() -> None:
    prompt = [n % VOCAB for n in range(11)]
    answers = [[n, *([n] * 5)] for n in range(4)]
    [found] = continuation_log_probs(MODEL, [prompt], [answers])
    for answer, values in zip(answers, found, strict=True):
        assert values.tolist() == pytest.approx(alone(MODEL, prompt, answer), abs=2e-5)


@pytest.mark.parametrize("at_once", [1, 2, 1000])
def test_small_batches_and_groups_give_the_same(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [[1, 2], [1, 2, 3, 4], [5] * 9, [1, 2, 3]]
    answers = [[[3, 4], [5]], [[5]], [[6, 1, 1], [7]], [[4, 4]]]
    expected = continuation_log_probs(MODEL, prompts, answers)
    monkeypatch.setattr(shared_prefix, "PROMPTS_AT_ONCE", at_once)
    monkeypatch.setattr(shared_prefix, "BATCH_TOKENS", at_once)
    for ours, theirs in zip(continuation_log_probs(MODEL, prompts, answers), expected, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, atol=2e-5)


def test_a_model_without_attention_reads_each_different_sequence_by_itself() -> None:
    torch.manual_seed(0)
    model = Recurrent()
    prompt, answers = [1, 2, 3], [[4], [5], [6, 7], [6, 8], [9, 7]]
    [found] = continuation_log_probs(model, [prompt], [answers])
    rows = sorted(row for batch in model.rows_read for row in batch)
    assert rows == [[1, 2, 3, 0], [1, 2, 3, 6], [1, 2, 3, 9]]  # one of them padded
    for answer, values in zip(answers, found, strict=True):
        ids = torch.tensor([prompt + answer])
        with torch.no_grad():
            logits = model.hidden(ids[:, :-1])[0] @ model.tokens_embed.weight.T
        expected = logits.log_softmax(1)[2:].gather(1, ids[0, 3:, None])[:, 0]
        np.testing.assert_allclose(values, expected, atol=1e-5)


def test_a_long_prompt_loses_its_beginning_and_keeps_its_answers() -> None:
    prompt, answers = [n % VOCAB for n in range(30)], [[1, 2, 3], [4]]
    cut, count = cut_prompts([prompt, [1, 2]], [answers, answers], N_POSITIONS)
    assert (cut, count) == ([prompt[-14:], [1, 2]], 1)
    found = continuation_log_probs(MODEL, [prompt], [answers])
    for answer, values in zip(answers, found[0], strict=True):
        assert values.tolist() == pytest.approx(alone(MODEL, cut[0], answer), abs=2e-5)


def test_a_longest_answer_leaves_one_token_of_context() -> None:
    assert cut_prompts([[1, 2]], [[[3] * N_POSITIONS]], N_POSITIONS) == ([[2]], 1)
    with pytest.raises(DataError, match="prompt 0 has 17 tokens but the model reads at most 16"):
        cut_prompts([[1]], [[[3] * (N_POSITIONS + 1)]], N_POSITIONS)


def test_a_model_without_a_limit_cuts_nothing() -> None:
    assert cut_prompts([[1] * 100], [[[3]]], None) == ([[1] * 100], 0)


def test_dropout_is_off_and_a_training_model_stays_in_training() -> None:
    model = lively_model(VOCAB, N_POSITIONS)
    model.drop.p = 0.5
    model.train()
    first, second = (continuation_log_probs(model, [[1, 2]], [[[3], [4, 5]]]) for _ in range(2))
    assert model.training
    assert [a.tolist() for a in first[0]] == [b.tolist() for b in second[0]]


def test_progress_ends_at_the_number_of_tokens_of_all_sequences() -> None:
    told: list[tuple[int, int]] = []
    continuation_log_probs(
        MODEL, [[1, 2], [3]], [[[4], [5, 6], []], []], advance=lambda *now: told.append(now)
    )
    assert told[-1] == (2 + 3, 2 + 3)


def test_no_prompts_give_nothing() -> None:
    assert continuation_log_probs(MODEL, [], []) == []


def test_a_prompt_needs_a_token() -> None:
    with pytest.raises(DataError, match="prompt 1 has no tokens, so nothing predicts"):
        continuation_log_probs(MODEL, [[1], []], [[[2]], [[2]]])


def test_every_prompt_needs_its_candidates() -> None:
    with pytest.raises(DataError, match="there are 1 prompts but candidates for 2"):
        continuation_log_probs(MODEL, [[1]], [[[2]], [[2]]])


def test_ids_outside_the_vocabulary_are_refused() -> None:
    with pytest.raises(DataError, match="holds the id 12 but the model has 12 tokens"):
        continuation_log_probs(MODEL, [[1]], [[[VOCAB]]])
