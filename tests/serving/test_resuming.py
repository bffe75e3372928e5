"""An answer that begins anew goes on where the client has it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gpt1.serving.errors import ApiError
from gpt1.serving.replica import Call, Head, Part
from gpt1.serving.resuming import Answer, with_seed

STREAM = Head(200, [(b"content-type", b"text/event-stream; charset=utf-8")])


def event(name: str, *choices: dict[str, Any]) -> bytes:
    content = {"id": name, "created": len(name), "choices": list(choices)}
    return b"data: " + json.dumps(content).encode() + b"\n\n"


def words(index: int, *texts: str, end: str | None = None) -> dict[str, Any]:
    """What an event tells of a continuation: words, each a token."""
    scores = {"tokens": list(texts), "token_logprobs": [-1.0] * len(texts), "top_logprobs": None}
    choice = {"index": index, "text": "".join(texts), "logprobs": scores}
    return {**choice, "finish_reason": end}


def contents(data: bytes) -> list[Any]:
    events = data.split(b"\n\n")
    return [json.loads(event[6:]) for event in events if event.startswith(b"data: {")]


def test_a_stream_that_is_not_begun_anew_passes_byte_by_byte() -> None:
    answer = Answer()
    data = event("a", words(0, "x")) + b": still here\n\n" + event("a") + b"data: [DONE]\n\n"
    passed = answer.new(Part(STREAM, data[:7]))
    assert passed == Part(STREAM, b"")
    rest = [answer.new(Part(None, data[at : at + 9])) for at in range(7, len(data), 9)]
    assert b"".join(part.body for part in rest if part) == data
    assert answer.is_over


FIRST = [
    event("one", words(0, "a ")),
    event("one", words(1, "b ")),
    event("one", words(0, "c ", "d ")),
    event("one", words(1, "e ", end="stop")),
    event("one", words(0, "f ")),
    event("one", words(0, end="length")),
]
AGAIN = [
    event("second", words(1, "b ", "e ")),
    event("second", words(1, end="stop")),
    event("second", words(0, "a ", "c ")),
    event("second", words(0, "d ", "f ", end="length")),
    event("second"),
]
DONE = b"data: [DONE]\n\n"


@pytest.mark.parametrize("had", range(6))
def test_what_the_client_has_had_is_left_out_however_it_is_cut(had: int) -> None:
    answer = Answer()
    first = b"".join(FIRST[:had]) + FIRST[had][:11]
    pieces = [answer.new(Part(STREAM, first))]
    for cut in (b"".join(AGAIN[:2])[:-5], b"".join(AGAIN) + DONE):
        answer.again()
        pieces.append(answer.new(Part(STREAM, cut)))
    found = b"".join(piece.body for piece in pieces if piece)
    assert [piece.head for piece in pieces if piece][:2] == [STREAM, None]
    assert found.endswith(DONE)
    assert len({content["id"] for content in contents(found)}) == 1  # it is one answer
    assert contents(found)[-1]["choices"] == []
    for index, expected, end in [
        (0, ["a ", "c ", "d ", "f "], "length"),
        (1, ["b ", "e "], "stop"),
    ]:
        choices = [c for content in contents(found) for c in content["choices"]]
        mine = [choice for choice in choices if choice["index"] == index]
        assert "".join(choice["text"] for choice in mine) == "".join(expected)
        assert [t for choice in mine for t in choice["logprobs"]["tokens"]] == expected
        assert sum(len(c["logprobs"]["token_logprobs"]) for c in mine) == len(expected)
        assert [choice["finish_reason"] for choice in mine] == [None] * (len(mine) - 1) + [end]


def test_another_text_is_never_mixed_in() -> None:
    answer = Answer()
    answer.new(Part(STREAM, event("a", words(0, "x"))))
    answer.again()
    with pytest.raises(ApiError, match="another wrote something else; sampled texts of several"):
        answer.new(Part(STREAM, event("b", words(0, "y"))))


def test_a_replica_that_refuses_ends_a_stream() -> None:
    answer = Answer()
    answer.new(Part(STREAM, event("a", words(0, "x"))))
    answer.again()
    with pytest.raises(ApiError, match="refuses to go on"):
        answer.new(Part(Head(429, []), b"{}"))


def call(body: Any, path: str = "/v1/completions") -> Call:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = [(b"content-length", str(len(data)).encode()), (b"accept", b"*/*")]
    return Call({"path": path, "headers": headers}, data)


def test_a_sampled_stream_gets_a_seed() -> None:
    for prompt in ("the fox", ["the fox"], [3, 4, 5]):
        given = {"prompt": prompt, "stream": True, "temperature": 0.5}
        seeded = with_seed(call(given))
        body = json.loads(seeded.body)
        assert 0 <= body.pop("seed") < 2**31
        assert body == given
        assert dict(seeded.scope["headers"])[b"content-length"] == str(len(seeded.body)).encode()


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": "the fox"},
        {"prompt": "the fox", "stream": True, "seed": 0},
        {"prompt": ["the fox", "the fox"], "stream": True},
        {"prompt": [[3], [4]], "stream": True},
        b"\xff{",
        b"[" * 100_000,
        b"[]",
    ],
)
def test_other_requests_stay_as_they_are(body: Any) -> None:
    assert with_seed(call(body)) == call(body)
    assert with_seed(call({"stream": True}, "/v1/other")) == call({"stream": True}, "/v1/other")
