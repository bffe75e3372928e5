"""Log-probabilities of a completion: right, in their place, and whole in a stream."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from completing import complete, connect, events, joined
from gpt1.generation.stopping import Candidate, GeneratedToken
from gpt1.language_model import LanguageModel
from gpt1.serving.app import create_app
from gpt1.serving.completion_logprobs import LogprobsBuilder
from live_server import live, lively_models
from lively import small_tokenizer

PROMPT = "The lazy dog's nose - it isn't, he said. Why? 12:30"
FIELDS = ("tokens", "token_logprobs", "top_logprobs", "text_offset")


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[httpx.Client, LanguageModel]]:
    models = lively_models()
    with live(create_app(models)) as address, connect(address) as client:
        yield client, models.engine("lively").lm


Served = tuple[httpx.Client, LanguageModel]


def logprobs(client: httpx.Client, **body: Any) -> tuple[str, dict[str, list[Any]]]:
    [choice] = complete(client, **body)["choices"]
    return choice["text"], choice["logprobs"]


def test_an_echoed_prompt_has_the_scores_of_the_model(served: Served) -> None:
    client, lm = served
    text, found = logprobs(client, prompt=PROMPT, echo=True, max_tokens=0, logprobs=2)
    score = lm.score(PROMPT)
    assert text == lm.tokenizer.decode(lm.tokenizer.encode(PROMPT))
    assert (found["token_logprobs"][0], found["top_logprobs"][0]) == (None, None)
    assert found["token_logprobs"][1:] == pytest.approx(score.log_probs[1:], abs=1e-4)
    for token, top in zip(found["tokens"][1:], found["top_logprobs"][1:], strict=True):
        assert token in top
        assert len(top) in (2, 3)
    assert len({len(found[field]) for field in FIELDS}) == 1


@pytest.mark.parametrize("echo", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_tokens_make_up_the_text(served: Served, seed: int, echo: bool) -> None:
    client, _ = served
    settings = {"prompt": PROMPT, "seed": seed, "max_tokens": 12, "logprobs": 1, "echo": echo}
    text, found = logprobs(client, **settings)
    within = [token for token in found["tokens"] if token != "<|endoftext|>"]
    assert "".join(within) == text
    for token, offset in zip(within, found["text_offset"], strict=False):
        assert text[offset : offset + len(token)] == token
    chunks = events(client, **settings)
    assert joined(chunks) == text
    parts = [chunk["choices"][0]["logprobs"] for chunk in chunks]
    assert {f: [item for part in parts for item in part[f]] for f in FIELDS} == found


def test_the_scores_are_those_of_the_whole_text(served: Served) -> None:
    client, lm = served
    settings: dict[str, Any] = {"max_tokens": 9, "min_tokens": 9, "temperature": 0, "logprobs": 3}
    _, found = logprobs(client, prompt=PROMPT, **settings)
    [[completion]] = lm.complete(PROMPT, max_new_tokens=9, min_new_tokens=9, logprobs=3)
    assert completion.logprobs is not None
    expected = [token.log_prob for token in completion.logprobs]
    assert found["token_logprobs"] == pytest.approx(expected, abs=1e-5)
    for top, token in zip(found["top_logprobs"], completion.logprobs, strict=True):
        assert max(top.values()) == pytest.approx(token.top[0].log_prob, abs=1e-5)
        assert len(top) >= 3


def test_the_token_that_ends_a_text_is_told(served: Served) -> None:
    client, lm = served
    end = lm.tokenizer.end_of_text_id
    text, found = logprobs(client, prompt=PROMPT, logit_bias={str(end): 100}, logprobs=0, echo=True)
    ids = [*lm.tokenizer.encode(PROMPT), end]
    top = lm.explain(ids)[-1]
    assert found["tokens"][-1] == "<|endoftext|>"
    assert found["text_offset"][-1] == len(text)
    assert found["token_logprobs"][-1] == pytest.approx(math.log(top.probability), abs=1e-4)
    assert len(found["tokens"]) == len(ids)


def test_tokens_behind_a_stop_string_have_their_names(served: Served) -> None:
    client, _ = served
    settings: dict[str, Any] = {"seed": 3, "max_tokens": 12, "min_tokens": 12, "logprobs": 0}
    whole, _ = logprobs(client, prompt=PROMPT, **settings)
    text, found = logprobs(client, prompt=PROMPT, stop=whole[4:6], **settings)
    assert text == whole[: whole.index(whole[4:6])]
    assert all(found["tokens"])
    assert max(found["text_offset"]) <= len(text)


def test_two_tokens_of_one_name_are_both_told() -> None:
    tokenizer = small_tokenizer()
    by_name = {piece: i for i, piece in enumerate(tokenizer.pieces(range(tokenizer.vocab_size)))}
    inner, last = by_name["o"], by_name["o</w>"]
    top = [Candidate(inner, "o", -1.0), Candidate(last, "o</w>", -2.0), Candidate(9999, "", -3.0)]
    builder = LogprobsBuilder(tokenizer, None)
    score = GeneratedToken(last, "o</w>", -2.0, top)
    found = builder.take("o", [last], [score], ended=True)
    assert found["top_logprobs"] == [{f"token_id:{inner}": -1.0, "o": -2.0, "token_id:9999": -3.0}]


def test_what_json_cannot_say_is_very_small() -> None:
    tokenizer = small_tokenizer()
    [token] = tokenizer.encode("a")[:1]
    score = GeneratedToken(token, tokenizer.pieces([token])[0], -math.inf, [])
    found = LogprobsBuilder(tokenizer, None).take("a", [token], [score], ended=True)
    assert found["token_logprobs"] == [-9999.0]
