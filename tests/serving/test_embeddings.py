"""Embeddings: OpenAI's client gets the vectors that `gpt1.Features` makes."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import numpy as np
import openai
import pytest

import gpt1
from gpt1.serving.app import create_app
from gpt1.serving.config import ServingConfig
from gpt1.serving.engine import Engine
from gpt1.serving.models import Models
from live_server import live
from served_tasks import HEADS, error_of, served_task

TEXTS = ["The old sailor looked at the sea.", "A dog", "It rained, and nobody came."]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    engine = Engine(gpt1.load("mini"), slots=2)
    models = Models(engines={"mini": engine}, tasks={"reviews": served_task(HEADS["reviews"])})
    with live(create_app(models, ServingConfig(max_prompts=8))) as address:
        yield address


@pytest.fixture
def client(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_openais_client_gets_the_vectors_of_features(client: openai.OpenAI, pooling: str) -> None:
    features = gpt1.Features("mini", pooling=pooling)  # type: ignore[arg-type]
    expected = features.fit(TEXTS).transform(TEXTS)
    found = client.embeddings.create(model="mini", input=TEXTS, extra_body={"pooling": pooling})
    vectors = np.array([item.embedding for item in found.data])
    assert [item.index for item in found.data] == [0, 1, 2]
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    tokens = sum(len(features.tokenizer_.encode(text)) for text in TEXTS)
    assert (found.usage.prompt_tokens, found.usage.total_tokens) == (tokens, tokens)


def test_text_and_ids_in_both_encodings_are_one_vector(client: openai.OpenAI) -> None:
    ids = gpt1.load("mini").tokenizer.encode(TEXTS[0])
    found = [
        client.embeddings.create(model="mini", input=given, encoding_format=encoding, user="me")
        for given in (TEXTS[0], [TEXTS[0]], ids, [ids])
        for encoding in ("float", "base64")
    ]
    for answer in found:
        [item] = answer.data
        vector = item.embedding
        if isinstance(vector, str):  # asked for by name, it stays as it is
            import base64

            vector = np.frombuffer(base64.b64decode(vector), "<f4")
        np.testing.assert_array_equal(vector, found[0].data[0].embedding)


def test_the_width_of_the_model_is_the_only_one(client: openai.OpenAI) -> None:
    width = len(client.embeddings.create(model="mini", input="a").data[0].embedding)
    assert client.embeddings.create(model="mini", input="a", dimensions=width).data
    with pytest.raises(openai.BadRequestError, match="dimensions is 5 but the vectors"):
        client.embeddings.create(model="mini", input="a", dimensions=5)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"input": ""}, "input: String should have at least 1 character"),
        ({"input": []}, "input: List should have at least 1 item"),
        ({"input": " \n"}, "input 0 has no tokens; give at least one word"),
        ({"input": ["a", " "]}, "input 1 has no tokens"),
        ({"input": [[1], []]}, "input.1: List should have at least 1 item"),
        ({"input": [1, 2.5]}, "input.1: Input should be a valid integer"),
        ({"input": [10**6]}, "holds the id 1000000 but the model has"),
        ({"input": "dog " * 2000}, r"input 0 has 2000 tokens but the model reads \d+"),
        ({"input": ["a"] * 9}, "input holds 9 texts but a request may hold 8"),
        ({"input": "a", "poling": "last"}, "poling: unknown parameter; did you mean pooling"),
        ({"input": "a", "pooling": "max"}, "pooling: Input should be 'mean' or 'last'"),
        ({}, "input: Field required"),
    ],
)
def test_what_has_no_vector_is_refused(address: str, body: object, message: str) -> None:
    import re

    found = error_of(httpx.post(f"{address}/v1/embeddings", json=body), 400)
    assert re.search(message, found), found


def test_other_models_are_refused_by_name(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="'reviews' is not a language model"):
        client.embeddings.create(model="reviews", input="a")
    with pytest.raises(openai.NotFoundError, match="there is no model 'ada'"):
        client.embeddings.create(model="ada", input="a")
