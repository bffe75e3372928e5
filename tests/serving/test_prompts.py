"""What a prompt cannot do: become a special token, or leave nothing to continue."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt1.language_model import LanguageModel
from gpt1.serving.engine import Engine
from lively import lively_model, small_tokenizer

TOKENIZER = small_tokenizer()
SPECIAL = ("<|endoftext|>", "<pad>", "_start_")


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine(LanguageModel(lively_model(TOKENIZER.vocab_size), TOKENIZER), slots=2)
    yield engine
    engine.close()


@given(st.lists(st.sampled_from([*SPECIAL, " ", "a", "<", "|", ">", "_", "\n", "\u200b"])))
def test_the_name_of_a_special_token_is_text(pieces: list[str]) -> None:
    assert set(TOKENIZER.special_tokens) == set(SPECIAL)
    ids = TOKENIZER.encode("".join(pieces))
    assert set(TOKENIZER.special_tokens.values()).isdisjoint(ids)


@pytest.mark.parametrize("prompt", SPECIAL)
def test_an_engine_reads_such_a_name_as_text(prompt: str, engine: Engine) -> None:
    request = engine.submit(prompt, lambda update: None, max_new_tokens=1)
    assert request.prompt_ids == TOKENIZER.encode(prompt)
    assert len(request.prompt_ids) > 1


def test_stop_strings_of_the_prompt_do_not_stop(engine: Engine) -> None:
    plain = engine.complete("dog dog dog", max_new_tokens=8)
    [stopping] = engine.complete("dog dog dog", max_new_tokens=8, stop=["dog dog"])
    assert stopping.text == plain[0].text.partition("dog dog")[0]
    assert stopping.finish_reason in ("stop", "length")


def test_a_prompt_of_end_of_text_alone_is_continued(engine: Engine) -> None:
    assert TOKENIZER.end_of_text_id is not None
    for count in (1, 5):
        prompt = [TOKENIZER.end_of_text_id] * count
        [found] = engine.complete(prompt, max_new_tokens=4, min_new_tokens=2)
        assert len(found.ids) >= 2
        assert TOKENIZER.end_of_text_id not in found.ids[:2]
