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
    with pytest.raises(ConfigError, match=r"did you mean max_new_tokens, .*, seed"):
        generation_config(**wrong)


def test_bad_words_may_be_one_string() -> None:
    assert generation_config(bad_words="ugly").bad_words == ("ugly",)
    assert generation_config(bad_words=["a b", "c"]).bad_words == ("a b", "c")


@pytest.mark.parametrize(
    "given", [{5: -1.0, 7: 2}, {"5": -1.0, "7": 2}, [(5, -1.0), (7, 2)], [[5, -1.0], [7, 2]]]
)
def test_logit_bias_may_be_a_mapping_also_from_json_or_pairs(given: Any) -> None:
    assert generation_config(logit_bias=given).logit_bias == ((5, -1.0), (7, 2))


def test_bad_words_ids_may_be_lists_of_lists() -> None:
    assert generation_config(bad_words_ids=[[1, 2], (3,)]).bad_words_ids == ((1, 2), (3,))


def test_none_stands_for_the_default() -> None:
    settings: Any = {field.name: None for field in dataclasses.fields(GenerationConfig)}
    assert generation_config(**{**settings, "n": 1}) == GenerationConfig()


def test_a_config_is_hashable() -> None:
    settings: Any = {"stop": ["a"], "logit_bias": {1: 2.0}, "bad_words_ids": [[1]]}
    assert len({generation_config(**settings), generation_config(**settings)}) == 1


@pytest.mark.parametrize("wrong", [5, "12", {1, 2}])
def test_a_list_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError, match=r"stop_ids is .* but must be a list"):
        generation_config(stop_ids=wrong)


@pytest.mark.parametrize("key", ["cat", 1.5, None])
def test_a_bias_of_what_is_no_id_is_refused(key: Any) -> None:
    with pytest.raises(ConfigError, match=r"logit_bias has the key .* must be a token id"):
        generation_config(logit_bias={key: 1.0})


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"min_new_tokens": -1}, "min_new_tokens is -1 but must be at least 0"),
    ({"min_new_tokens": 1.5}, "min_new_tokens is 1.5 but must be a whole number"),
    ({"min_p": 1.1}, "min_p is 1.1 but must be between 0 and 1"),
    ({"min_p": float("nan")}, "min_p is nan but must be between 0 and 1"),
    ({"typical_p": 0.0}, "typical_p is 0.0 but must be above 0 and at most 1"),
    ({"typical_p": 2}, "typical_p is 2 but must be between 0 and 1"),
    ({"temperature": float("inf")}, "temperature is inf but must be finite"),
    ({"repetition_penalty": 0.0}, "repetition_penalty is 0 but must be above 0"),
    ({"repetition_penalty": -1.0}, "repetition_penalty is -1.0 but must be at least 0"),
    ({"repetition_penalty": float("inf")}, "repetition_penalty is inf but must be finite"),
    ({"repetition_penalty": "high"}, "repetition_penalty is 'high' but must be a number"),
    ({"presence_penalty": 2.1}, "presence_penalty is 2.1 but must be between -2 and 2"),
    ({"frequency_penalty": -3}, "frequency_penalty is -3 but must be between -2 and 2"),
    ({"no_repeat_ngram_size": -1}, "no_repeat_ngram_size is -1 but must be at least 0"),
    ({"logit_bias": {5: 100.5}}, "logit_bias of id 5 is 100.5 but must be between -100 and 100"),
    ({"logit_bias": {5: "x"}}, "logit_bias of id 5 is 'x' but must be between -100 and 100"),
    ({"logit_bias": [5]}, "logit_bias holds 5 but must hold pairs of an id and a bias"),
    ({"bad_words": [3]}, "bad_words holds 3 but must hold strings"),
    ({"bad_words": ["a", " "]}, "bad_words holds a blank string"),
    ({"bad_words_ids": [[1], []]}, "bad_words_ids holds () but must hold runs of ids"),
    ({"bad_words_ids": [5]}, "bad_words_ids holds 5 but must hold runs of ids"),
    ({"stop": [3]}, "stop holds 3 but must hold strings"),
    ({"num_beams": 0}, "num_beams is 0 but must be at least 1"),
    ({"num_beams": 2, "length_penalty": 11}, "length_penalty is 11 but must be between -10 and 10"),
    ({"num_beams": 2, "early_stopping": "soon"}, "early_stopping is 'soon' but must be true, fal"),
    ({"top_k": 4, "penalty_alpha": 1.5}, "penalty_alpha is 1.5 but must be between 0 and 1"),
    ({"logprobs": -1}, "logprobs is -1 but must be at least 0"),
    ({"max_new_tokens": 3, "min_new_tokens": 4}, "min_new_tokens is 4 but max_new_tokens is 3"),
    ({"num_beams": 2, "penalty_alpha": 0.6, "top_k": 4}, "penalty_alpha is 0.6 and num_beams is 2"),
    ({"num_beams": 2, "temperature": 1.0}, "num_beams is 2 but temperature would sample"),
    ({"num_beams": 2, "top_k": 5, "min_p": 0.1}, "num_beams is 2 but top_k and min_p would sample"),
    ({"penalty_alpha": 0.6, "top_k": 4, "top_p": 0.9}, "but top_k and top_p would sample, and con"),
    ({"penalty_alpha": 0.6}, "penalty_alpha is 0.6 but top_k, the number of candidates of contr"),
    ({"penalty_alpha": 0.6, "top_k": 4, "n": 2}, "n is 2 but contrastive search (penalty_alpha)"),
    ({"num_beams": 2, "n": 3}, "n is 3 but must be at most num_beams, which is 2"),
    ({"prompt_lookup_num_tokens": 0}, "prompt_lookup_num_tokens is 0 but must be at least 1"),
    (
        {"num_beams": 2, "prompt_lookup_num_tokens": 9},
        "num_beams is 2 but prompt_lookup_num_tokens would guess tokens",
    ),
    (
        {"penalty_alpha": 0.6, "top_k": 4, "assistant_model": "mini"},
        "penalty_alpha is 0.6 but assistant_model would guess tokens",
    ),
    (
        {"prompt_lookup_num_tokens": 9, "assistant_model": "mini"},
        "prompt_lookup_num_tokens and assistant_model would both guess tokens; set one of them",
    ),
    ({"length_penalty": 2.0}, "length_penalty would not be read: only beam search does"),
    ({"early_stopping": True}, "early_stopping would not be read: only beam search does"),
]


@pytest.mark.parametrize(("given", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_a_value_or_combination_is_refused_by_name(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        generation_config(**given)
    assert message in str(caught.value)


def test_a_config_without_a_value_is_refused() -> None:
    nothing: Any = None
    with pytest.raises(ConfigError, match=r"max_new_tokens is None but must.* default is 50"):
        GenerationConfig(max_new_tokens=nothing)


@pytest.mark.parametrize(
    ("given", "samples"),
    [
        ({"min_p": 0.1}, True),
        ({"typical_p": 0.9}, True),
        ({"repetition_penalty": 1.2, "logit_bias": {1: 1.0}}, False),
        ({"penalty_alpha": 0.6, "top_k": 4}, False),
        ({"penalty_alpha": 0.6, "top_k": 4, "temperature": 0}, False),
        ({"num_beams": 4, "n": 4, "temperature": 0, "top_k": 3}, False),
    ],
)
def test_sampling_is_on_where_a_setting_of_it_is_set(given: dict[str, Any], samples: bool) -> None:
    assert generation_config(**given).samples is samples
