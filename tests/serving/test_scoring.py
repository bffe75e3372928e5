"""Scores and explanations are those of the library, also while texts are being generated."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from gpt1.language_model import LanguageModel
from gpt1.serving.app import create_app
from gpt1.serving.config import ServingConfig
from gpt1.serving.models import Models
from live_server import live
from served_tasks import error_of, models_of_all_kinds

TEXT = "The quick brown fox jumps over the lazy dog"


@pytest.fixture(scope="module")
def models() -> Models:
    return models_of_all_kinds(ServingConfig(slots=4))


@pytest.fixture(scope="module")
def lm(models: Models) -> LanguageModel:
    return models.engine("lively").lm


@pytest.fixture(scope="module")
def address(models: Models) -> Iterator[str]:
    with live(create_app(models, ServingConfig(max_prompts=4))) as address:
        yield address


def ask(address: str, path: str, **body: Any) -> Any:
    answer = httpx.post(f"{address}/v1/{path}", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_scores_are_those_of_the_library(address: str, lm: LanguageModel) -> None:
    texts = [TEXT, "dog", "", "the fox " * 60]  # the last is longer than the model reads at once
    found = ask(address, "score", input=texts)
    for item, expected in zip(found["data"], lm.score(texts), strict=True):
        assert item["ids"] == expected.ids
        assert item["tokens"] == lm.tokenizer.pieces(expected.ids)
        assert item["log_probs"] == expected.log_probs
        assert item["sum"] == expected.sum
        assert item["bits"] == pytest.approx(-expected.sum / math.log(2))
        assert item["num_tokens"] == expected.num_tokens
    assert found["model"] == "lively"
    assert found["usage"]["prompt_tokens"] == sum(len(item["ids"]) for item in found["data"])
    assert ask(address, "score", input=TEXT)["data"] == found["data"][:1]


def test_an_explanation_is_that_of_the_library(address: str, lm: LanguageModel) -> None:
    expected = lm.explain(TEXT, 3)
    found = ask(address, "explain", input=TEXT, top=3)
    for key, value in expected.to_dict().items():
        assert found[key] == value, key
    assert found["lens"] is None
    assert found["attention"] is None
    assert ask(address, "explain", input=lm.tokenizer.encode(TEXT), top=3) == found


def test_lens_and_attention_come_when_they_are_asked_for(address: str, lm: LanguageModel) -> None:
    expected = lm.explain(TEXT)
    found = ask(address, "explain", input=TEXT, lens=True, attention={"layer": 2, "head": 1})
    assert found["lens"] == [[best._asdict() for best in layer] for layer in expected.lens]
    for t, row in enumerate(found["attention"]):
        np.testing.assert_allclose(row, expected.attentions[1, 0, t, : t + 1], atol=1e-6)
        assert sum(row) == pytest.approx(1, abs=1e-4)
    [*_, last] = ask(address, "explain", input=TEXT, attention={"layer": 1})["attention"]
    np.testing.assert_allclose(last, expected.attentions[0, :, -1].mean(axis=0), atol=1e-6)


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("score", {"input": ["a"] * 5}, "input holds 5 texts but a request may hold 4"),
        ("score", {"input": "dog " * 300}, "input has 300 tokens but a request may have 256"),
        ("score", {"input": 3}, "input: Input should be a valid string"),
        ("score", {"input": "a", "top": 3}, "top: unknown parameter; there are: input, model"),
        ("explain", {"input": " "}, "input has 0 tokens but an explanation is of 1 to 64"),
        ("explain", {"input": "dog " * 65}, "input has 65 tokens but an explanation is of 1 to 64"),
        ("explain", {"input": [10**6]}, "holds the id 1000000"),
        ("explain", {"input": "a", "top": 21}, "top: Input should be less than or equal to 20"),
        ("explain", {"input": "a", "top": "3"}, "top: Input should be a valid integer"),
        ("explain", {"input": "a", "attention": {"layer": 3}}, "layer is 3 but the model has 2"),
        (
            "explain",
            {"input": "a", "attention": {"layer": 1, "head": 3}},
            "head is 3 but the model",
        ),
        ("explain", {"input": "a", "attention": {"layr": 1}}, "layr: unknown parameter; did you"),
    ],
)
def test_mistakes_are_refused(address: str, path: str, body: object, message: str) -> None:
    assert message in error_of(httpx.post(f"{address}/v1/{path}", json=body), 400)


@pytest.mark.parametrize("path", ["score", "explain"])
def test_a_task_model_is_refused(address: str, path: str) -> None:
    answer = httpx.post(f"{address}/v1/{path}", json={"input": "a", "model": "reviews"})
    assert "'reviews' is not a language model" in error_of(answer, 404)


def test_answers_are_the_same_while_texts_are_generated(address: str, models: Models) -> None:
    engine = models.engine("lively")
    settings: dict[str, Any] = {"max_new_tokens": 40, "temperature": 1.0, "seed": 1}
    alone = engine.complete("the fox", n=3, **settings)
    quiet = ask(address, "score", input=TEXT), ask(address, "explain", input=TEXT, lens=True)
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(engine.complete("the fox", n=3, **settings)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for _ in range(5):
        busy = ask(address, "score", input=TEXT), ask(address, "explain", input=TEXT, lens=True)
        assert busy == quiet
    for thread in threads:
        thread.join()
    assert found == [alone] * 4
