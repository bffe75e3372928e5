"""Generation settings as keyword arguments."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from gpt1.config import GenerationConfig
from gpt1.errors import ConfigError
from gpt1.generation.settings import Settings, generation_config


def test_settings_are_the_fields_of_the_config() -> None:
    fields = {field.name for field in dataclasses.fields(GenerationConfig)}
    assert {*Settings.__annotations__, "n"} == fields


def test_without_settings_the_defaults_of_the_config_hold() -> None:
    assert generation_config() == GenerationConfig()


@pytest.mark.parametrize(
    ("given", "stop"),
    [("\n", ("\n",)), (["a", "bc"], ("a", "bc")), (("a",), ("a",)), ([], ()), (None, ())],
)
def test_stop_may_be_one_string_several_or_none(given: Any, stop: tuple[str, ...]) -> None:
    assert generation_config(stop=given).stop == stop


def test_stop_ids_may_be_any_sequence() -> None:
    assert generation_config(stop_ids=[3, 4]).stop_ids == (3, 4)


def test_values_reach_the_config_and_its_checks() -> None:
    config = generation_config(n=2, temperature=0.5, seed=1)
    assert (config.n, config.temperature, config.seed) == (2, 0.5, 1)
    with pytest.raises(ConfigError, match="top_p is 2 but must be"):
        generation_config(top_p=2)


def test_an_unknown_setting_is_refused_with_the_nearest_one() -> None:
    wrong: Any = {"max_tokens": 5}
    with pytest.raises(ConfigError, match="no setting 'max_tokens'; did you mean max_new_tokens"):
        generation_config(**wrong)


def test_an_unknown_setting_like_none_is_refused_with_all_of_them() -> None:
    wrong: Any = {"qqq": 5}
    with pytest.raises(ConfigError, match=r"did you mean max_new_tokens, temperature, .*seed"):
        generation_config(**wrong)
