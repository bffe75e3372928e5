"""Bodies that are no JSON to work with are refused; all others are let through."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt1.serving.json_body import check_json, depth
from gpt1.serving.refusal import Refusal

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.integers(-(10**300), 10**300) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
)


def levels(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return 1 + max(map(levels, value), default=0)
    return 0


@given(VALUES, st.booleans())
def test_json_is_let_through_and_its_depth_known(value: Any, ascii_only: bool) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only).encode()
    check_json(body, max(1, levels(value)), 10**6)
    assert depth(body) == levels(value)
    if levels(value) > 1:
        with pytest.raises(Refusal, match="lists and objects within one another"):
            check_json(body, levels(value) - 1, 10**6)


@given(st.binary() | st.text(alphabet='[]{}",:\\u0dD8a1.e-+ NaInfity').map(str.encode))
def test_no_bytes_are_an_error_of_ours(body: bytes) -> None:
    try:
        check_json(body, 8, 20)
    except Refusal:
        return
    json.loads(body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"[" * 100_000 + b"]" * 100_000, "more than 32 lists and objects"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "more than 32 lists and objects"),
        (b"[" * 100_000, "more than 32 lists and objects"),
        (b'{"a": NaN}', "holds NaN, which is no number of JSON"),
        (b'{"a": [Infinity]}', "holds Infinity, which is no number"),
        (b"-Infinity", "holds -Infinity, which is no number"),
        (b"1e999", "a number that is too large"),
        (b"-1e999", "a number that is too large"),
        (b"9" * 5000, "a number that is too long"),
        (b'"\xff"', "not UTF-8: byte 1 is none of a character"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
        (b'"\\ud800"', "half of a character"),
        (b'{"\\udfff": 1}', "half of a character"),
        (b'{"a": "secret",}', "no JSON: .* at line 1 column 1"),
        (b'["' + b"x" * 1001 + b'"]', "a text has more than 1000 characters"),
        (b'{"' + b"x" * 1001 + b'": 1}', "a text has more than 1000 characters"),
    ],
)
def test_a_body_that_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(Refusal, match=message) as error:
        check_json(body, 32, 1000)
    assert error.value.status == 400
    assert "secret" not in str(error.value)


def test_characters_are_counted_not_bytes_and_brackets_in_texts_are_no_depth() -> None:
    check_json(json.dumps("é" * 1000, ensure_ascii=False).encode(), 1, 1000)
    check_json(json.dumps("\U0001f600" * 1000).encode(), 1, 1000)
    check_json(json.dumps(["[" * 500 + '\\"' * 200]).encode(), 1, 1000)


@pytest.mark.parametrize("piece", [b'"', b'\\"', b'"\\', b"[]", b"1,", b'"",', b"{", b"1.5,"])
def test_a_megabyte_of_anything_takes_no_time_to_speak_of(piece: bytes) -> None:
    body = b'["' + piece * (1_000_000 // len(piece))
    with pytest.raises(Refusal):
        check_json(body, 32, 1000)  # with a pattern that looks back: hours
