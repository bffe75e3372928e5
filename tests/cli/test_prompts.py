"""Prompts are read a line at a time, and a bad line is named."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpt1.cli.prompts import PromptFile
from gpt1.errors import DataError


def texts(file: PromptFile) -> list[str]:
    return [prompt.text for prompt in file]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "prompts.txt"


@pytest.mark.parametrize(
    "content",
    [
        b"one\ntwo words\n",
        b"one\n\n \t\ntwo words",
        b"one\r\ntwo words\r\n",
        b"\xef\xbb\xbfone\ntwo words\n",
    ],
    ids=["plain", "blank lines and no last line end", "Windows", "byte-order mark"],
)
def test_every_line_with_text_is_a_prompt(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert texts(PromptFile(str(path))) == ["one", "two words"]


def test_other_line_separators_and_outer_spaces_are_part_of_a_prompt(path: Path) -> None:
    path.write_bytes(" a\u2028b\x0bc\x85d ".encode())
    assert texts(PromptFile(str(path))) == [" a\u2028b\x0bc\x85d "]


def test_prompts_know_their_place_and_how_far_the_file_is_read(path: Path) -> None:
    path.write_bytes("é\n\nb\n".encode())
    file = PromptFile(str(path))
    first, second = file
    assert (first.place, first.end) == (f"{path}, line 1", 3)
    assert (second.place, second.end) == (f"{path}, line 3", 6)
    assert file.size_bytes == 6


@pytest.mark.parametrize("name", ["p.jsonl", "p.ndjson", "p.JSONL", "p.jsonl.gz", "p.jsonl.xz"])
def test_the_ending_of_a_file_says_that_it_holds_json(tmp_path: Path, name: str) -> None:
    content = b'{"prompt": "a\\nb", "id": 7}\n\n{"prompt": ""}\n'
    packed = {"gz": gzip.compress, "xz": lzma.compress}.get(name[-2:], bytes)(content)
    (tmp_path / name).write_bytes(packed)
    prompts = list(PromptFile(str(tmp_path / name)))
    assert [(prompt.text, prompt.id) for prompt in prompts] == [("a\nb", 7), ("", None)]


def test_the_size_of_a_packed_file_says_nothing_about_its_text(tmp_path: Path) -> None:
    (tmp_path / "p.txt.gz").write_bytes(gzip.compress(b"a\n"))
    file = PromptFile(str(tmp_path / "p.txt.gz"))
    assert file.size_bytes is None
    assert texts(file) == ["a"]


def test_a_named_field_makes_any_file_json(path: Path) -> None:
    path.write_text('{"q": "x"}\n')
    assert texts(PromptFile(str(path), "q")) == ["x"]


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\nb\n")))
    file = PromptFile("-")
    assert file.size_bytes is None
    assert [prompt.place for prompt in file] == [
        "standard input, line 1",
        "standard input, line 2",
    ]


class Lines(io.RawIOBase):
    """An endless input that counts what is read of it."""

    def __init__(self) -> None:
        self.read_lines = 0

    def __iter__(self) -> Iterator[bytes]:  # type: ignore[override]
        while True:
            self.read_lines += 1
            yield b"line\n"


def test_no_more_is_read_than_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO())
    lines = Lines()
    monkeypatch.setattr(sys, "stdin", stdin)
    monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": lines}))
    prompts = iter(PromptFile("-"))
    for _ in range(5):
        next(prompts)
    assert lines.read_lines == 5


def test_a_byte_that_is_not_utf_8_is_named_by_line_and_offset(path: Path) -> None:
    path.write_bytes("é\nb\n".encode() + b"caf\xe9\n")
    prompts = iter(PromptFile(str(path)))
    assert [next(prompts).text, next(prompts).text] == ["é", "b"]
    with pytest.raises(DataError, match=r"prompts.txt, line 3: not UTF-8: byte 8 of the input: "):
        next(prompts)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"prompts.txt, line 2: not JSON: .* at column 2"),
        ('"text"', r"line 2: expected a JSON object with a text under 'q' and got \"text\"; --p"),
        ('{"prompt": "x"}', r"line 2: expected a JSON object with a text under 'q' and got {"),
        ('{"q": 5}', "line 2: expected a JSON object with a text under 'q'"),
        (r'{"q": "a\ud800"}', r"line 2: the JSON escape of half a character, \\ud800, without"),
        (r'{"q": "a", "id": "\udc00"}', r"line 2: the JSON escape of half a character, \\udc00"),
    ],
)
def test_a_line_that_is_not_the_json_it_should_be_is_named(
    path: Path, line: str, message: str
) -> None:
    path.write_text(json.dumps({"q": "fine"}) + f"\n{line}\n")
    prompts = iter(PromptFile(str(path), "q"))
    next(prompts)
    with pytest.raises(DataError, match=message):
        next(prompts)


def test_a_file_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*nowhere.txt: No such file .*check the pa"):
        PromptFile(str(tmp_path / "nowhere.txt"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt.gz", gzip.compress(b"text\n" * 100)[:-9]),
        ("a.txt.gz", b"text"),
        ("a.txt.xz", b"text"),
        ("a.txt.gz", gzip.compress(b"text")[:12] + b"\xff" * 9),
    ],
)
def test_a_packed_file_that_is_damaged_is_a_mistake(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=r"cannot read .*a\.txt\.[gx]z: "):
        texts(PromptFile(str(tmp_path / name)))
