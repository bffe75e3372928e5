"""Held-out loss by the judge."""

from __future__ import annotations

import pytest
import torch

from gpt1.language_model import LanguageModel
from gpt1.reproduce.judge import Judge


def test_only_the_jokes_own_tokens_count(lm: LanguageModel, jokes: list[str]) -> None:
    total, tokens = 0.0, 0
    for joke in jokes[:3]:
        given = lm.tokenizer.encode("JOKE: ")
        ids = given + lm.tokenizer.encode(joke)
        log_probs = lm.model(torch.tensor([ids])).logits[0].log_softmax(-1)
        for place in range(len(given), len(ids)):
            total -= float(log_probs[place - 1, ids[place]].detach())
            tokens += 1
    judge = Judge(lm.tokenizer, jokes[:3])
    assert judge.tokens == tokens
    assert judge.loss(lm.model) == pytest.approx(total / tokens, abs=1e-5)
