"""Task models answer over HTTP what they answer in Python."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from gpt1.evaluation.attribution import attribute
from gpt1.evaluation.predicting import predict
from gpt1.serving.app import create_app
from gpt1.serving.config import ServingConfig
from gpt1.serving.models import Models
from gpt1.tasks import example
from live_server import live, lively_models
from served_tasks import TOKENIZER, error_of, models_of_all_kinds

PAIRS = [("the cat sees", "a man hears"), ("a red dog", "the sea")]
TEXTS = ["the old cat sees a dog", "red", "", "the cat " * 90]  # the last is cut


@pytest.fixture(scope="module")
def models() -> Models:
    return models_of_all_kinds()


@pytest.fixture(scope="module")
def address(models: Models) -> Iterator[str]:
    with live(create_app(models, ServingConfig(max_prompts=4))) as address:
        yield address


def ask(address: str, path: str, **body: Any) -> Any:
    answer = httpx.post(f"{address}/v1/{path}", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def as_json(pairs: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"first": first, "second": second} for first, second in pairs]


def test_texts_get_the_probabilities_of_the_library(address: str, models: Models) -> None:
    examples = [example.text(text) for text in TEXTS]
    expected = list(predict(models.task("reviews").model, TOKENIZER, examples).records())
    found = ask(address, "classify", input=TEXTS)
    assert found["model"] == "reviews"
    for item, record in zip(found["data"], expected, strict=True):
        assert item["label"] == record["prediction"]
        assert item["probabilities"] == record["probabilities"]
        assert item["value"] is None
    assert ask(address, "classify", input=TEXTS[0])["data"][0]["label"] == found["data"][0]["label"]


def test_pairs_keep_their_order_and_similarities_have_none(address: str, models: Models) -> None:
    examples = [example.pair(*pair) for pair in PAIRS]
    expected = list(predict(models.task("nli").model, TOKENIZER, examples).records())
    found = ask(address, "classify", input=as_json(PAIRS), model="nli")["data"]
    assert [item["probabilities"] for item in found] == [r["probabilities"] for r in expected]
    expected = predict(
        models.task("alike").model, TOKENIZER, [example.similarity(*pair) for pair in PAIRS]
    )
    values = ask(address, "classify", input=as_json(PAIRS), model="alike")["data"]
    assert [item["value"] for item in values] == expected.labels
    assert [item["label"] for item in values] == [None, None]
    turned = as_json([(second, first) for first, second in PAIRS])
    turned_values = ask(address, "classify", input=turned, model="alike")["data"]
    for one, other in zip(values, turned_values, strict=True):
        assert one["value"] == pytest.approx(other["value"], abs=1e-5)


@pytest.mark.parametrize("method", ["leave_one_out", "gradient"])
@pytest.mark.parametrize("name", ["reviews", "alike"])
def test_the_words_that_mattered(address: str, models: Models, name: str, method: Any) -> None:
    first, second = PAIRS[0]
    item = example.text(first) if name == "reviews" else example.similarity(first, second)
    given = first if name == "reviews" else as_json(PAIRS)[0]
    expected = attribute(models.task(name).model, TOKENIZER, item, method=method)
    [found] = ask(address, "classify", input=given, model=name, words=True, method=method)["data"]
    assert [word["text"] for word in found["words"]] == [word.text for word in expected]
    assert [word["score"] for word in found["words"]] == [word.score for word in expected]
    for word, other in zip(found["words"], expected, strict=True):
        text = (first, second)[word["segment"]]
        assert text[word["start"] : word["end"]] == word["text"]
        assert word["without"] == other.without


def test_an_option_is_chosen_as_by_the_library(address: str, models: Models) -> None:
    context, options = ["the cat", "and dog"], ["a man", "sees sea", "red"]
    chosen = example.choice(context, options)
    [expected] = predict(models.task("race").model, TOKENIZER, [chosen]).records()
    found = ask(address, "choose", context=context, options=options)
    assert found["probabilities"] == expected["probabilities"]
    assert (found["index"], found["option"]) == (
        expected["prediction"],
        options[expected["prediction"]],
    )
    assert sum(found["probabilities"]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("classify", {"input": as_json(PAIRS)}, 400, "input 0 is a pair but 'reviews' reads one"),
        ("classify", {"input": "a", "model": "nli"}, 400, "input 0 is one text but 'nli' reads {"),
        ("classify", {"input": ["a"] * 5}, 400, "input holds 5 texts but a request may hold 4"),
        ("classify", {"input": {"first": "a"}}, 400, "input.second: Field required"),
        ("classify", {"input": {"first": "a", "secnd": "b"}}, 400, "did you mean second?"),
        ("classify", {"input": "a " * 513, "words": True}, 400, "input has 513 words, but at"),
        ("classify", {"input": "a", "model": "race"}, 404, "'race' predicts a choice, not a class"),
        ("classify", {"input": "a", "model": "lively"}, 404, "'lively' is not a task model"),
        ("choose", {"context": "a", "options": ["b"]}, 400, "options: List should have at least 2"),
        ("choose", {"context": "a", "options": ["b"] * 5}, 400, "options holds 5 texts but"),
        (
            "choose",
            {"context": ["a"] * 80, "options": ["b", "c"]},
            400,
            "n_positions is 64, which has no room for 81 texts",
        ),
        (
            "choose",
            {"context": "a", "options": ["b", "c"], "model": "reviews"},
            404,
            "'reviews' predicts a class, not a choice; of that kind are: 'race'",
        ),
    ],
)
def test_mistakes_are_refused(
    address: str, path: str, body: object, status: int, message: str
) -> None:
    assert message in error_of(httpx.post(f"{address}/v1/{path}", json=body), status)


def test_without_task_models_there_is_nothing_to_ask() -> None:
    with live(create_app(lively_models())) as address:
        answer = httpx.post(f"{address}/v1/classify", json={"input": "a"})
        assert "no task model that predicts a class or value" in error_of(answer, 404)
        answer = httpx.post(f"{address}/v1/choose", json={"context": "a", "options": ["b", "c"]})
        assert "no task model that predicts a choice" in error_of(answer, 404)
