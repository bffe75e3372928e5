"""Reading into the cache: equal to reading everything at once."""

from __future__ import annotations

import pytest
import torch

from gpt1.generation.reading import read_newest, read_prompts, slide
from lively import lively_model

MODEL = lively_model(n_positions=8)
PROMPTS = [[1, 2, 3, 4, 5], [6], [7, 8]]


@pytest.fixture(autouse=True)
def without_gradients() -> None:
    with torch.no_grad():
        yield


def last_logits(context: list[int]) -> torch.Tensor:
    return MODEL(torch.tensor([context])).logits[0, -1]


def test_prompts_of_different_length_are_read_as_if_alone() -> None:
    reading, cache = read_prompts(MODEL, PROMPTS, 2, states=True)
    for row, prompt in enumerate(PROMPTS):
        torch.testing.assert_close(reading.logits[row], last_logits(prompt))
        states = MODEL.hidden(torch.tensor([prompt]))[0]
        torch.testing.assert_close(reading.states[-1][row, : len(prompt)], states)
    assert cache.lengths.tolist() == [5, 1, 2]
    assert cache.capacity == 7


def test_of_a_long_prompt_the_last_positions_are_read() -> None:
    reading, cache = read_prompts(MODEL, [list(range(20))], 5)
    torch.testing.assert_close(reading.logits[0], last_logits(list(range(12, 20))))
    assert cache.capacity == 8
    assert reading.states == ()


def test_the_newest_token_is_read_behind_the_others() -> None:
    _, cache = read_prompts(MODEL, PROMPTS, 1)
    contexts = [[*prompt, 9] for prompt in PROMPTS]
    reading = read_newest(MODEL, cache, contexts, states=True)
    for row, context in enumerate(contexts):
        torch.testing.assert_close(reading.logits[row], last_logits(context))
        states = MODEL.hidden(torch.tensor([context]))[0, -1:]
        torch.testing.assert_close(reading.states[-1][row], states)


def test_full_rows_alone_slide() -> None:
    prompts = [list(range(10, 18)), [1, 2, 3]]
    _, cache = read_prompts(MODEL, prompts, 5)
    contexts = [[*prompt, 9] for prompt in prompts]
    assert slide(MODEL, cache, contexts).tolist() == [0]
    assert cache.lengths.tolist() == [3, 3]
    reading = read_newest(MODEL, cache, contexts)
    torch.testing.assert_close(reading.logits[0], last_logits([15, 16, 17, 9]))
    torch.testing.assert_close(reading.logits[1], last_logits([1, 2, 3, 9]))


def test_nothing_slides_while_there_is_room() -> None:
    _, cache = read_prompts(MODEL, PROMPTS, 5)
    assert slide(MODEL, cache, [[*prompt, 9] for prompt in PROMPTS]).tolist() == []
    assert cache.lengths.tolist() == [5, 1, 2]
