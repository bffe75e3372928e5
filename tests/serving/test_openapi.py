"""The OpenAPI document is true: what it says of every route holds for whatever is sent."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from gpt1.serving.app import create_app
from gpt1.serving.config import ServingConfig
from gpt1.serving.models import Models
from live_server import live
from served_tasks import models_of_all_kinds

EXAMPLES = 25
"""Requests drawn for each route, beside those that go to the edges of its schema."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    config = ServingConfig(slots=4, max_tokens=8)
    with live(create_app(models_of_all_kinds(config), config)) as address:
        yield address


described = schemathesis.openapi.from_dict(create_app(Models(engines={}, tasks={})).openapi())


@described.parametrize()
@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
def test_every_route_answers_whatever_is_sent_as_it_says(
    case: schemathesis.Case, address: str
) -> None:
    # What is of the right form may still be refused: an id that is no token, an unknown model.
    case.call_and_validate(address, excluded_checks=[positive_data_acceptance], timeout=60)


def test_errors_have_openais_shape_everywhere(address: str) -> None:
    document = httpx.get(f"{address}/openapi.json").json()
    for operations in document["paths"].values():
        for operation in operations.values():
            assert "422" not in operation["responses"]
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    [content] = answer["content"].values()
                    assert content["schema"] == {"$ref": "#/components/schemas/ErrorBody"}
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_a_method_that_is_not_there_is_an_error_in_openais_shape(address: str) -> None:
    answer = httpx.get(f"{address}/v1/score")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert answer.json()["error"]["type"] == "invalid_request_error"
