"""The engine: what each of many clients gets, when they leave, and when it is too much."""

from __future__ import annotations

import gc
import logging
import math
import os
import random
import threading
from typing import Any

import pytest

from gpt1.errors import ConfigError, TokenizerError
from gpt1.language_model import LanguageModel
from gpt1.lstm import LSTM
from gpt1.serving.engine import DeadlineExceeded, Engine, Overloaded, Request, Update
from lively import TEXT, lively_model, small_tokenizer

TOKENIZER = small_tokenizer()
SETTINGS: list[dict[str, Any]] = [
    {"max_new_tokens": 12},
    {"max_new_tokens": 30, "temperature": 1.0, "seed": 4},
    {"max_new_tokens": 20, "temperature": 0.9, "top_p": 0.9, "seed": 5, "stop": ["e", "dog"]},
    {"max_new_tokens": 9, "repetition_penalty": 1.3, "logprobs": 2},
]


def language_model(n_positions: int = 40) -> LanguageModel:
    model = lively_model(TOKENIZER.vocab_size, n_positions=n_positions)
    return LanguageModel(model, TOKENIZER)


@pytest.fixture
def engine() -> Any:
    engine = Engine(language_model(), slots=4, waiting=8)
    yield engine
    engine.close()


class Collector:
    """A client that takes down all it is told."""

    def __init__(self) -> None:
        self.updates: list[Update] = []
        self.first, self.over = threading.Event(), threading.Event()

    def __call__(self, update: Update) -> None:
        self.updates.append(update)
        self.first.set()
        if update.error is not None or update.finish_reason is not None:
            self.over.set()

    @property
    def text(self) -> str:
        return "".join(update.text for update in self.updates)


def words(source: random.Random, most: int = 12) -> str:
    return " ".join(source.choices(TEXT.split(), k=source.randint(1, most)))


def test_many_threads_get_what_each_would_get_alone() -> None:
    lm = language_model()
    engine = Engine(lm, slots=3)
    source = random.Random(1)
    jobs = [(words(source), source.choice(SETTINGS)) for _ in range(40)]
    found: dict[int, Any] = {}

    def client(number: int) -> None:
        for i in range(number, len(jobs), 8):
            prompt, settings = jobs[i]
            found[i] = engine.complete(prompt, **settings)

    threads = [threading.Thread(target=client, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert engine.drain()
    for i, (prompt, settings) in enumerate(jobs):
        [expected] = lm.complete(prompt, **settings)
        assert found[i] == expected
    assert engine.stats.finished == 40
    assert engine.stats.generated_tokens == sum(len(c.ids) for [c] in found.values())
    assert engine.stats.cached_tokens > 0


def test_several_continuations_are_those_of_the_model(engine: Engine) -> None:
    settings: dict[str, Any] = {"max_new_tokens": 10, "temperature": 1.0, "seed": 3}
    found = engine.complete("The lazy dog", n=4, **settings)
    assert found == engine.lm.complete("The lazy dog", n=4, **settings)[0]
    assert len({completion.text for completion in found}) == 4


def test_pieces_of_text_make_up_the_completion(engine: Engine) -> None:
    client = Collector()
    request = engine.submit("the fox", client, max_new_tokens=25, stop=["lazy dog"])
    assert client.over.wait(60)
    assert client.text == request.completions[0].text
    assert sum(update.tokens for update in client.updates) == len(request.completions[0].ids)
    assert [u.finish_reason for u in client.updates[:-1]] == [None] * (len(client.updates) - 1)
    assert client.updates[-1].finish_reason == request.completions[0].finish_reason


def test_prompts_given_as_ids_and_scored(engine: Engine) -> None:
    ids = TOKENIZER.encode("the quick brown fox")
    client = Collector()
    request = engine.submit(ids, client, prompt_scores=True, logprobs=2, max_new_tokens=1)
    assert client.over.wait(60)
    assert request.prompt_scores is not None
    assert [token.id for token in request.prompt_scores] == ids[1:]
    score = engine.lm.score("the quick brown fox")
    for token, expected in zip(request.prompt_scores, score.log_probs[1:], strict=True):
        assert token.log_prob == pytest.approx(expected, abs=1e-5)
        assert len(token.top) == 2
    assert engine.submit(ids, Collector()).prompt_scores is None


def test_the_token_that_ends_a_text_is_scored(engine: Engine) -> None:
    end = TOKENIZER.end_of_text_id
    assert end is not None
    for settings in ({"logprobs": 1}, {}):
        client = Collector()
        request = engine.submit("the fox", client, logit_bias={end: 100.0}, **settings)  # type: ignore[arg-type]
        assert client.over.wait(60)
        token = request.end_token(0)
        assert (token is None) == (not settings)
        if token is not None:
            ids = [*TOKENIZER.encode("the fox"), end]
            expected = engine.lm.explain(ids)[-1].probability
            assert math.exp(token.log_prob) == pytest.approx(expected, rel=1e-4)
            assert (token.id, token.piece) == (end, "<|endoftext|>")


def endless(engine: Engine, client: Collector, **settings: Any) -> Request:
    """A request that would take long."""
    return engine.submit("the fox", client, max_new_tokens=10**6, min_new_tokens=10**6, **settings)


def test_a_client_that_leaves_frees_its_slot_before_the_next_step(engine: Engine) -> None:
    clients = [Collector() for _ in range(5)]
    requests = [endless(engine, client) for client in clients]
    for client in clients[:4]:
        assert client.first.wait(60)
    assert (engine.running, engine.waiting) == (4, 1)
    requests[0].cancel()
    steps = engine.stats.steps
    assert clients[4].first.wait(60)
    count = len(clients[0].updates)
    for request in requests[1:]:
        request.cancel()
    assert engine.complete("dog", max_new_tokens=2)[0].ids
    assert len(clients[0].updates) == count
    assert engine.stats.cancelled == 5
    assert engine.stats.steps > steps
    assert (engine.running, engine.waiting) == (0, 0)


def test_more_than_can_wait_is_refused(engine: Engine) -> None:
    running = [endless(engine, Collector()) for _ in range(4 + 8)]
    with pytest.raises(Overloaded, match=r"wait already, and 1 more would make more than 8"):
        endless(engine, Collector())
    for request in running:
        request.cancel()
    assert engine._idle.wait(60)
    assert engine.complete("dog", max_new_tokens=2)[0].ids


def test_a_deadline_ends_what_runs_and_what_waits(engine: Engine) -> None:
    clients = [Collector() for _ in range(6)]
    for client in clients:
        endless(engine, client, timeout_s=0.05)
    for client in clients:
        assert client.over.wait(60)
        assert isinstance(client.updates[-1].error, DeadlineExceeded)
    assert engine.stats.expired == 6
    assert engine.complete("dog", max_new_tokens=2)[0].ids


def test_draining_finishes_what_runs_and_refuses_the_rest() -> None:
    engine = Engine(language_model(), slots=1)
    clients = [Collector() for _ in range(3)]
    requests = [engine.submit("the fox", client, max_new_tokens=20) for client in clients]
    assert engine.drain(60)
    assert all(request.completions[0].finish_reason for request in requests)
    with pytest.raises(Overloaded, match="about to stop"):
        engine.submit("dog", Collector())


def test_what_is_not_done_when_it_is_closed_ends_in_an_error() -> None:
    engine = Engine(language_model(), slots=1)
    clients = [Collector(), Collector()]
    for client in clients:
        endless(engine, client)
    assert clients[0].first.wait(60)
    assert not engine.drain(0.01)
    for client in clients:
        assert client.over.wait(60)
        assert "stopped before" in str(client.updates[-1].error)


def test_mistakes_are_told_at_once(engine: Engine) -> None:
    for match, settings in [
        ("no setting 'temprature'", {"temprature": 1}),
        ("generated alone", {"num_beams": 3}),
        ("logit_bias holds the id", {"logit_bias": {10**6: 1.0}}),
    ]:
        with pytest.raises(ConfigError, match=match):
            engine.submit("dog", Collector(), **settings)  # type: ignore[arg-type]
    with pytest.raises(TokenizerError, match="token id 999999 is outside"):
        engine.submit([999_999], Collector())


def test_an_error_while_generating_reaches_its_request_alone(engine: Engine) -> None:
    words = [(token,) for token in range(TOKENIZER.vocab_size)]
    words.remove((TOKENIZER.end_of_text_id,))
    with pytest.raises(ConfigError, match="forbid every token"):
        engine.complete("the fox", bad_words_ids=words, min_new_tokens=1)
    assert engine.stats.failed == 1
    assert engine.complete("dog", max_new_tokens=2)[0].ids


def test_a_listener_that_fails_harms_nobody_else(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: Update) -> None:
        raise RuntimeError("gone")

    with caplog.at_level(logging.ERROR):
        engine.submit("the fox", broken, max_new_tokens=10**6, min_new_tokens=10**6)
        assert engine.complete("dog", max_new_tokens=5)[0].ids
    assert "a listener failed" in caplog.text
    assert engine.running == 0


def test_a_bug_ends_all_requests_and_is_remembered(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine = Engine(language_model())

    def fail() -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(engine._scheduler, "step", fail)
    client = Collector()
    engine.submit("the fox", client)
    assert client.over.wait(60)
    assert "server failed" in str(client.updates[-1].error)
    engine._thread.join()
    assert isinstance(engine.failure, RuntimeError)
    with pytest.raises(Overloaded):
        engine.submit("dog", Collector())
    assert not engine.drain()  # there is nothing to wait for


def test_an_lstm_cannot_be_served() -> None:
    from gpt1.config import LSTMConfig
    from gpt1.errors import CheckpointError

    config = LSTMConfig(n_embd=16, n_units=16, n_positions=8, vocab_size=TOKENIZER.vocab_size)
    with pytest.raises(CheckpointError, match="generation"):
        Engine(LanguageModel(LSTM(config), TOKENIZER))


def resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux's /proc")
def test_memory_is_flat_over_ten_thousand_requests() -> None:
    engine = Engine(LanguageModel(lively_model(TOKENIZER.vocab_size, n_positions=24), TOKENIZER))
    source = random.Random(0)

    def serve(count: int) -> None:
        left = threading.Semaphore(64)
        for number in range(count):
            left.acquire()

            def listen(update: Update) -> None:
                if update.error is not None or update.finish_reason is not None:
                    left.release()

            settings = {"temperature": 1.0, "seed": number, "top_p": source.random() * 0.5 + 0.4}
            engine.submit(words(source, 4), listen, max_new_tokens=3, logprobs=1, **settings)  # type: ignore[arg-type]
        for _ in range(64):
            left.acquire()
        gc.collect()

    serve(2000)
    before = resident_bytes()
    serve(10_000)
    assert engine.stats.finished == 12_000
    assert not engine._requests
    assert resident_bytes() - before < 8_000_000
    engine.close()
