"""`/v1/completions` by plain HTTP: what every parameter does, what is refused, who has left."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from completing import complete, connect, events, joined, texts
from gpt1.serving.app import create_app
from gpt1.serving.completion_schemas import CompletionRequest
from gpt1.serving.config import ServingConfig
from gpt1.serving.engine import Engine
from gpt1.serving.models import Models
from live_server import live, lively_models

CONFIG = ServingConfig(slots=4, waiting=40, max_tokens=100_000, max_n=8, max_prompts=20)
PROMPT = "The quick brown fox"


@pytest.fixture(scope="module")
def models() -> Models:
    return lively_models(CONFIG)


@pytest.fixture(scope="module")
def engine(models: Models) -> Engine:
    return models.engine("lively")


@pytest.fixture(scope="module")
def client(models: Models) -> Iterator[httpx.Client]:
    with live(create_app(models, CONFIG)) as address, connect(address) as client:
        yield client


# ---------------------------------------------------------------- what is generated


def test_the_answer_has_the_fields_of_openais(client: httpx.Client) -> None:
    answer = complete(client, model="lively", prompt=PROMPT, seed=1, user="someone")
    assert answer["id"].startswith("cmpl-")
    assert answer["object"] == "text_completion"
    assert answer["model"] == "lively"
    assert abs(answer["created"] - time.time()) < 600
    [choice] = answer["choices"]
    assert set(choice) == {"index", "text", "logprobs", "finish_reason"}
    usage = answer["usage"]
    assert usage["prompt_tokens"] == 4
    assert usage["completion_tokens"] <= 16
    assert usage["total_tokens"] == 4 + usage["completion_tokens"]
    assert set(usage["prompt_tokens_details"]) == {"cached_tokens"}


SETTINGS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"max_new_tokens": 16, "temperature": 1.0}),
    ({"temperature": 0}, {"max_new_tokens": 16}),
    ({"top_p": 0.7, "max_tokens": 90}, {"max_new_tokens": 90, "top_p": 0.7}),
    ({"stop": "o"}, {"max_new_tokens": 16, "temperature": 1.0, "stop": "o"}),
    ({"stop": ["x", "e "]}, {"max_new_tokens": 16, "temperature": 1.0, "stop": ["x", "e "]}),
    (
        {"presence_penalty": 2, "frequency_penalty": -1, "logit_bias": {"60": 3, "61": -100}},
        {
            "max_new_tokens": 16,
            "temperature": 1.0,
            "presence_penalty": 2,
            "frequency_penalty": -1,
            "logit_bias": {60: 3, 61: -100},
        },
    ),
    (
        {"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.3, "min_tokens": 9, "temperature": 1.5},
        {
            "max_new_tokens": 16,
            "top_k": 5,
            "min_p": 0.1,
            "repetition_penalty": 1.3,
            "min_new_tokens": 9,
            "temperature": 1.5,
        },
    ),
    ({"stop_token_ids": list(range(60, 80))}, {"stop_ids": list(range(60, 80)), "temperature": 1}),
    ({"top_k": -1, "top_p": None}, {"max_new_tokens": 16, "temperature": 1.0}),
]


@pytest.mark.parametrize(("ours", "theirs"), SETTINGS)
def test_a_text_is_that_of_the_model_beside_others(
    client: httpx.Client, engine: Engine, ours: dict[str, Any], theirs: dict[str, Any]
) -> None:
    with ThreadPoolExecutor(17) as threads:
        others = [
            threads.submit(texts, client, prompt=f"{PROMPT} {n}", seed=n, max_tokens=30)
            for n in range(16)
        ]
        expected = engine.lm.generate(PROMPT, seed=7, include_prompt=False, **theirs)
        assert texts(client, prompt=PROMPT, seed=7, **ours) == [expected]
        assert joined(events(client, prompt=PROMPT, seed=7, **ours)) == expected
        assert all(other.result() for other in others)


def test_many_prompts_with_many_choices_come_in_order(client: httpx.Client, engine: Engine) -> None:
    prompts = ["the fox", "", "the lazy dog's"]
    settings: dict[str, Any] = {"seed": 3, "n": 2}
    expected = engine.lm.generate(
        prompts, include_prompt=False, temperature=1.0, max_new_tokens=9, **settings
    )
    answer = complete(client, prompt=prompts, max_tokens=9, **settings)
    assert [choice["text"] for choice in answer["choices"]] == [
        t for pair in expected for t in pair
    ]
    assert [choice["index"] for choice in answer["choices"]] == list(range(6))
    assert answer["usage"]["prompt_tokens"] == 2 + 1 + 5
    chunks = events(client, prompt=prompts, max_tokens=9, **settings)
    assert [joined(chunks, i) for i in range(6)] == [t for pair in expected for t in pair]


def test_prompts_may_be_token_ids(client: httpx.Client, engine: Engine) -> None:
    ids = engine.lm.tokenizer.encode(PROMPT)
    end_of_text = engine.lm.tokenizer.end_of_text_id
    expected = texts(client, prompt=PROMPT, temperature=0)
    assert texts(client, prompt=ids, temperature=0) == expected
    begun = texts(client, prompt=[ids, [end_of_text]], temperature=0)
    assert begun == [*expected, *texts(client, prompt="", temperature=0)]


def test_without_sampling_all_choices_are_equal(client: httpx.Client) -> None:
    first, second = texts(client, prompt=PROMPT, temperature=0, n=2)
    assert first == second


def test_the_prompt_can_be_echoed(client: httpx.Client, engine: Engine) -> None:
    expected = engine.lm.generate(PROMPT, seed=2, temperature=1.0, max_new_tokens=12)
    settings = {"prompt": PROMPT, "seed": 2, "max_tokens": 12, "echo": True}
    assert texts(client, **settings) == [expected]
    assert joined(events(client, **settings)) == expected
    answer = complete(client, prompt="The fox. It", echo=True, max_tokens=0)
    assert answer["choices"][0]["text"] == "the fox. it"
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 0
    [chunk] = events(client, prompt="The fox. It", echo=True, max_tokens=0)
    assert chunk["choices"][0]["text"] == "the fox. it"


def test_the_best_have_the_highest_log_probability_of_a_token(
    client: httpx.Client, engine: Engine
) -> None:
    settings: dict[str, Any] = {"seed": 5, "max_new_tokens": 8, "temperature": 1.0, "logprobs": 0}
    settings["min_new_tokens"] = 8  # with the end of a text its log-probability would count
    [group] = engine.lm.complete(PROMPT, n=6, **settings)
    ranked = sorted(group, key=lambda c: -sum(t.log_prob for t in c.logprobs or []))
    answer = complete(client, prompt=PROMPT, seed=5, max_tokens=8, min_tokens=8, n=2, best_of=6)
    assert [choice["text"] for choice in answer["choices"]] == [c.text for c in ranked[:2]]
    assert [choice["logprobs"] for choice in answer["choices"]] == [None, None]
    assert answer["usage"]["completion_tokens"] == 6 * 8


def test_the_end_of_a_text_has_a_reason(client: httpx.Client, engine: Engine) -> None:
    def reason(**body: Any) -> str:
        return str(complete(client, prompt=PROMPT, **body)["choices"][0]["finish_reason"])

    bias = {str(engine.lm.tokenizer.end_of_text_id): 100}
    assert reason(max_tokens=3, min_tokens=3) == "length"
    assert reason(logit_bias=bias) == "stop"
    assert reason(max_tokens=99, stop=[" "]) == "stop"


def test_a_text_may_be_longer_than_what_the_model_sees(
    client: httpx.Client, engine: Engine
) -> None:
    answer = complete(client, prompt="fox " * 64, max_tokens=40, min_tokens=40, temperature=0)
    assert answer["usage"]["total_tokens"] == 64 + 40
    settings: dict[str, Any] = {"max_new_tokens": 40, "min_new_tokens": 40}
    expected = engine.lm.generate("fox " * 64, include_prompt=False, **settings)
    assert answer["choices"][0]["text"] == expected


def test_known_beginnings_are_told(client: httpx.Client) -> None:
    prompt = "the lazy dog jumps over the brown fox " * 2
    complete(client, prompt=prompt, max_tokens=1)
    usage = complete(client, prompt=prompt, max_tokens=1)["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] > 0


def test_a_stream_tells_the_usage_if_asked(client: httpx.Client) -> None:
    settings = {"prompt": PROMPT, "seed": 1, "max_tokens": 20}
    chunks = events(client, stream_options={"include_usage": True}, **settings)
    answer = complete(client, **settings)
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] == answer["usage"]["total_tokens"]
    assert len({chunk["id"] for chunk in chunks}) == 1
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]]
    assert reasons[:-1] == [None] * (len(chunks) - 2)
    assert reasons[-1] == answer["choices"][0]["finish_reason"]
    assert all("usage" not in chunk for chunk in events(client, **settings))


def test_special_tokens_in_a_prompt_are_plain_text(client: httpx.Client, engine: Engine) -> None:
    text = "the <|endoftext|> fox _start_"
    answer = complete(client, prompt=text, max_tokens=1)
    assert answer["usage"]["prompt_tokens"] == len(engine.lm.tokenizer.encode(text)) > 8


# ---------------------------------------------------------------- what is refused


REFUSED: list[tuple[str | None, str, dict[str, Any]]] = [
    ("temprature", "unknown parameter; did you mean temperature?", {"temprature": 1}),
    ("zzz", "unknown parameter; there are: model, prompt", {"zzz": 1}),
    ("functions", "unknown parameter", {"functions": []}),
    ("stream_options.usage", "there are: include_usage", {"stream_options": {"usage": True}}),
    ("prompt", "must be a string, a list of strings, token ids", {"prompt": 3}),
    ("prompt", "must be a string, a list of strings, token ids", {"prompt": []}),
    ("prompt", "must be a string, a list of strings, token ids", {"prompt": ["a", 1]}),
    ("prompt", "must be a string, a list of strings, token ids", {"prompt": [True]}),
    ("prompt", "must be a string, a list of strings, token ids", {"prompt": [[]]}),
    ("prompt", "holds the id 99999, but the ids of this model are 0 to", {"prompt": [99999]}),
    ("prompt", "holds the id -1", {"prompt": [[-1]]}),
    ("prompt", "has 21 but this server allows at most 20", {"prompt": ["a"] * 21}),
    ("prompt", "asks for 160 continuations in all", {"prompt": ["a"] * 20, "n": 8}),
    ("max_tokens", "valid integer", {"max_tokens": "3"}),
    ("max_tokens", "valid integer", {"max_tokens": 3.5}),
    ("max_tokens", "is 100001 but this server allows at most 100000", {"max_tokens": 100_001}),
    ("max_tokens", "set echo to true", {"max_tokens": 0}),
    ("max_tokens", "greater than or equal to 0", {"max_tokens": -1}),
    ("min_tokens", "is 17 but max_tokens is 16", {"min_tokens": 17}),
    ("temperature", "valid number", {"temperature": "hot"}),
    ("temperature", "less than or equal to 2", {"temperature": 3}),
    ("temperature", "valid number", {"temperature": True}),
    ("top_p", "greater than 0", {"top_p": 0}),
    ("n", "is 9 but this server allows at most 8", {"n": 9}),
    ("best_of", "is 2 but n is 3; it cannot be less", {"n": 3, "best_of": 2}),
    ("best_of", "cannot be used with stream", {"best_of": 2, "stream": True}),
    ("best_of", "is 9 but this server allows at most 8", {"best_of": 9}),
    ("stop", "none of them empty", {"stop": ""}),
    ("stop", "none of them empty", {"stop": [1]}),
    ("stop", "holds 5 strings but must hold at most 4", {"stop": ["a"] * 5}),
    ("seed", "valid integer", {"seed": 1.5}),
    ("seed", "less than", {"seed": 2**63}),
    ("logprobs", "less than or equal to 5", {"logprobs": 6}),
    ("echo", "valid boolean", {"echo": "yes"}),
    ("suffix", "the model only continues a text", {"suffix": "."}),
    ("logit_bias", "must be an object of token ids", {"logit_bias": {"fox": 1}}),
    ("logit_bias", "must be an object of token ids", {"logit_bias": [1]}),
    ("logit_bias.5", "less than or equal to 100", {"logit_bias": {"5": 101}}),
    ("logit_bias", "holds 99999, but the ids of this model", {"logit_bias": {"99999": 1}}),
    ("stop_token_ids", "holds 99999, but the ids", {"stop_token_ids": [99999]}),
    ("presence_penalty", "less than or equal to 2", {"presence_penalty": 2.1}),
    ("stream_options", "set stream to true", {"stream_options": {"include_usage": True}}),
]


@pytest.mark.parametrize(("param", "message", "body"), REFUSED)
def test_mistakes_are_refused_by_name(
    client: httpx.Client, param: str, message: str, body: dict[str, Any]
) -> None:
    answer = client.post("/v1/completions", json={"prompt": PROMPT, **body})
    error = answer.json()["error"]
    assert answer.status_code == 400
    assert (error["param"], error["type"]) == (param, "invalid_request_error")
    assert param in error["message"]
    assert message in error["message"]


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("name", ["temperature", "top_p", "frequency_penalty"])
def test_numbers_that_are_none_are_refused(client: httpx.Client, name: str, value: str) -> None:
    headers = {"Content-Type": "application/json"}
    answer = client.post("/v1/completions", content=f'{{"{name}": {value}}}', headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == name


def test_special_ids_but_the_end_of_text_are_refused(client: httpx.Client, engine: Engine) -> None:
    special = engine.lm.tokenizer.special_tokens["_start_"]
    answer = client.post("/v1/completions", json={"prompt": [special]})
    assert answer.status_code == 400
    assert "a special token; only end-of-text may be" in answer.json()["error"]["message"]


def test_a_prompt_that_is_too_long_has_openais_code(client: httpx.Client) -> None:
    answer = client.post("/v1/completions", json={"prompt": ["fox", "fox " * 65]})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "context_length_exceeded")
    assert "maximum context length is 64 tokens, but prompt 1 has 65" in error["message"]


def test_an_unknown_model_is_not_found(client: httpx.Client) -> None:
    answer = client.post("/v1/completions", json={"model": "gpt-4", "prompt": PROMPT})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert "there are: 'lively'" in answer.json()["error"]["message"]


def test_a_prompt_without_tokens_needs_an_end_of_text_token(
    client: httpx.Client, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(engine.lm.tokenizer._special, "<|endoftext|>")
    answer = client.post("/v1/completions", json={"prompt": " "})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "prompt")
    assert "give at least one word" in answer.json()["error"]["message"]


VALUES = st.one_of(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    st.lists(st.integers(0, 120) | st.text(max_size=3), max_size=3),
    st.dictionaries(st.integers(0, 120).map(str) | st.text(max_size=3), st.floats(), max_size=2),
)
FIELDS = st.sampled_from([*CompletionRequest.model_fields, "functions"])


@settings(deadline=None, max_examples=150)
@given(body=st.dictionaries(FIELDS, VALUES, max_size=3), is_small=st.booleans())
def test_whatever_is_asked_is_answered_or_refused(
    client: httpx.Client, body: dict[str, Any], is_small: bool
) -> None:
    content = json.dumps({**body, "max_tokens": 2} if is_small else body)
    headers = {"Content-Type": "application/json"}
    answer = client.post("/v1/completions", content=content, headers=headers, timeout=60)
    assert answer.status_code in (200, 400, 404)
    assert (answer.status_code == 200) != ("error" in answer.text[:20])


# ---------------------------------------------------------------- clients that leave, time, load


ENDLESS = {"prompt": PROMPT, "max_tokens": 100_000, "min_tokens": 100_000}


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.parametrize("n", [1, 3])
def test_a_client_that_leaves_a_stream_frees_its_slots(
    client: httpx.Client, engine: Engine, n: int
) -> None:
    before = engine.stats.cancelled
    body = {**ENDLESS, "stream": True, "n": n}
    with client.stream("POST", "/v1/completions", json=body) as answer:
        pieces = answer.iter_raw()
        next(pieces)  # and a connection is open as long as there may be more
        wait_until(lambda: engine.running == n)
    wait_until(lambda: engine.stats.cancelled == before + n)
    assert engine.running == 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_while_it_waits_frees_its_slots(
    client: httpx.Client, engine: Engine, stream: bool
) -> None:
    busy = engine.submit(PROMPT, lambda _: None, n=4, max_new_tokens=10**6, min_new_tokens=10**6)
    before = engine.stats.cancelled
    try:
        with pytest.raises(httpx.ReadTimeout):
            client.post("/v1/completions", json={**ENDLESS, "n": 2, "stream": stream}, timeout=0.3)
        wait_until(lambda: engine.stats.cancelled == before + 2)
        assert engine.waiting == 0
    finally:
        busy.cancel()
    wait_until(lambda: engine.running == 0)


def test_a_request_that_takes_too_long_is_given_up(models: Models) -> None:
    config = ServingConfig(max_tokens=100_000, timeout_s=0.001)
    slow = lively_models()
    with live(create_app(slow, config)) as address:
        for stream in (False, True):
            body = {**ENDLESS, "stream": stream, "prompt": [PROMPT] * 40}
            answer = httpx.post(f"{address}/v1/completions", json=body, timeout=60)
            if answer.status_code == 200:  # the first text was there in time
                assert "deadline_exceeded" in answer.text
            else:
                assert answer.status_code == 504
                assert answer.json()["error"]["code"] == "deadline_exceeded"


def test_more_than_can_wait_is_told_to_come_again() -> None:
    config = ServingConfig(slots=1, waiting=0, max_tokens=100_000)
    models = lively_models(config)
    with live(create_app(models, config)) as address, connect(address) as client:
        body = {**ENDLESS, "stream": True}
        with client.stream("POST", "/v1/completions", json=body) as answer:
            pieces = answer.iter_raw()
            next(pieces)
            refused = client.post("/v1/completions", json={"prompt": PROMPT})
        assert refused.status_code == 429
        assert int(refused.headers["Retry-After"]) > 0
        assert refused.json()["error"]["code"] == "overloaded"


def test_an_error_within_a_stream_is_an_event() -> None:
    config = ServingConfig(max_tokens=100_000)
    models = lively_models(config)
    with live(create_app(models, config)) as address:
        url = f"{address}/v1/completions"
        with httpx.stream("POST", url, json={**ENDLESS, "stream": True}, timeout=60) as answer:
            lines = answer.iter_lines()
            next(lines)
            models.engine("lively").close()
            *_, last = [line for line in lines if line]
    error = json.loads(last.removeprefix("data: "))["error"]
    assert "stopped before this was done" in error["message"]
