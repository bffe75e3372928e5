"""Repaired text equals what ftfy makes of it."""

from __future__ import annotations

import csv
import gzip
import json
import lzma
from collections.abc import Iterator
from html.entities import html5
from itertools import islice
from pathlib import Path
from typing import Any

import ftfy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt1.text.repair import MAX_SEGMENT, repair

ENCODINGS = [
    *("latin-1", "cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1257", "cp1258"),
    *("iso-8859-2", "mac-roman", "cp437", "cp850", "koi8-r"),
]
ALPHABETS = [
    *("abc the ", "éàèüñÉ à la às", "“”‘’‚„ʼ–—…«»", "Привет", "Ελλάδα", "日本 ｶﾀｶﾞ ＡＢ　"),
    *(
        "ﬁﬂﬀĳǆŉﬅ",
        "😀👩\u200d👧",
        "\r\n\u2028\u2029\x85\x0b\x0c\t",
        "\x00\x07\x1a\x1b\x7f\ufeff\u206a\ufffc",
    ),
    *("\ud83d\ude00\ud800\udfff", "\xa0\xad€£°½²®", "e\u0301\u0323\u0f73\u1100\u1161\u11a8"),
    *("ÃƒÂ©â€™œŒØÙ‚Ä√βВЂ", "\ufffd?", "<>&;#", "ÀíÎÐ×Ò│═"),
]
ENTITIES = [
    *("&amp;", "&amp;amp;lt;", "&lt;", "&nbsp;", "&#39;", "&#x2019;", "&#128;", "&#0;", "&#xfeff;"),
    *("&EACUTE;", "&SZLIG;", "&NTILDE;", "&nTILDE;", "&COPYSR;", "&#12ab;", "&#59;", "&#;", "&x;"),
]


def letters(max_size: int) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(ALPHABETS).flatmap(st.sampled_from), max_size=max_size).map(
        "".join
    )


def as_cesu8(text: str) -> bytes:
    halves = text.encode("utf-16-le", "surrogatepass")
    units = [
        halves[i : i + 2].decode("utf-16-le", "surrogatepass") for i in range(0, len(halves), 2)
    ]
    return "".join(units).encode("utf-8", "surrogatepass")


@st.composite
def mojibake(draw: st.DrawFn) -> str:
    text = draw(letters(max_size=8))
    for _ in range(draw(st.integers(1, 3))):
        encoded = text.encode("utf-8", "surrogatepass")
        if draw(st.integers(0, 4)) == 0:
            encoded = as_cesu8(text).replace(b"\0", b"\xc0\x80")
        encoding = draw(st.sampled_from(ENCODINGS))
        errors = draw(st.sampled_from(["latin", "latin", "replace", "ignore"]))
        text = "".join(
            bytes([byte]).decode(encoding, errors.replace("latin", "ignore"))
            or (chr(byte) if errors == "latin" else "")
            for byte in encoded
        )
        lost = draw(st.sampled_from(["", "", "\xa0", "\ufffd"]))
        text = text.replace(lost, " " if lost == "\xa0" else "?") if lost else text
    return text


def damaged() -> st.SearchStrategy[str]:
    entity = st.sampled_from([*ENTITIES, *(f"&{name}" for name in html5)])
    escape = st.sampled_from(["\x1b[31m", "\x1b[0;1", "\x1b[３ｍ", "\x1b[;٣m", "\n", "À\n", "í \n"])
    pieces = st.one_of(
        mojibake(),
        mojibake(),
        letters(6),
        entity,
        entity.map(str.upper),
        escape,
        st.text(max_size=4),
    )
    return st.lists(pieces, max_size=6).map("".join)


@pytest.mark.parametrize(
    ("text", "repaired"),
    [
        ("“It’s” ‘so’ ʼn ‚low„", "\"It's\" 'so' 'n 'low\""),
        ("schÃ¶n", "schön"),
        ("schÃƒÂ¶n", "schön"),
        ("voilÃ  le travail", "voilà le travail"),
        ("â€œlikeâ€\x9d and â€œthisâ€\ufffd", '"like" and "this\ufffd'),
        ("РџСЂРёРІРµС‚", "Привет"),
        ("êµ\xad", "êµ\xad"),
        ("plain 日本, mixed caf\u00c3\u00a9", "plain 日本, mixed café"),
        ("C1 \x93quotes\x94 \x85", 'C1 "quotes" …'),
        ("&lt;3 &eacute; P&EACUTE;REZ &amp;amp;amp; &#x2019;", "<3 é PÉREZ & '"),
        ("this&not that &nTILDE; &#59; &#12ab;", "this&not that &nTILDE; &#59; &#12ab;"),
        ("&lt;\n<b>&lt;</b>\n&lt;", "<\n<b>&lt;</b>\n&lt;"),
        ("\x1b[36;44mblue\x1b[0m \x1b[x", "blue "),
        ("ﬂuﬃeﬆ ﬅ ŉ Ĳ ǅ", "fluffiest ſt 'n IJ Dž"),
        ("ＬＯＵＤ　ﾀﾞ ￣", "LOUD ダ \u0020\u0304"),
        ("a\r\nb\rc\u2028d\u2029e\x0cf", "a\nb\nc\nd\ne\x0cf"),
        ("\ud83d\ude00 \ude00\ud83d \ud83d\x00\ude00", "😀 \ufffd\ufffd \ufffd\ufffd"),
        ("bell\x07 \ufeffmark \u206a\ufff9\ufffc joiner\u200d", "bell mark  joiner\u200d"),
        ("e\u0301 \u212b \u1100\u1161\u11a8", "é Å 각"),
    ],
)
def test_each_kind_of_damage_is_repaired(text: str, repaired: str) -> None:
    assert repair(text) == repaired
    assert ftfy.fix_text(text) == repaired


@pytest.mark.parametrize("text", ["", 'Plain text,\tit\'s "fine".\n\x0c', "a < b & c; AT&T"])
def test_sound_text_stays_as_it_is(text: str) -> None:
    assert repair(text) == text


@settings(max_examples=250, deadline=None)
@given(damaged())
def test_damaged_text_is_repaired_as_ftfy_does(text: str) -> None:
    assert repair(text) == ftfy.fix_text(text)


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(codec=None)))
def test_any_text_is_repaired_as_ftfy_does(text: str) -> None:
    repaired = repair(text)
    assert repaired == ftfy.fix_text(text)
    repaired.encode()


def test_every_entity_is_read_as_ftfy_reads_it() -> None:
    names = "\n".join(f"&{name} &{name.upper()} &{name.lower()}" for name in html5)
    assert repair(names) == ftfy.fix_text(names)


def test_every_character_alone_is_repaired_as_ftfy_does() -> None:
    characters = "a\n".join(map(chr, [*range(0x80, 0x3400), *range(0xD7F0, 0x10100)]))
    assert repair(characters) == ftfy.fix_text(characters)


def test_long_lines_are_repaired_in_segments() -> None:
    start = "“\n" + "a" * (MAX_SEGMENT - 1)
    assert repair(start + "\r\n”") == '"\n' + start[2:] + '\n\n"'
    assert repair(start + "e\u0301e\u0301") == '"\n' + start[2:] + "e\u0301é"


@pytest.mark.slow
@pytest.mark.parametrize(
    "across", ["Ã©&amp;\r\n", "e\u0301Ã \n", "\ud83d\ude00", "Â\xa0&lt;Ã©<&lt;", "’Ã ‘"]
)
def test_long_lines_may_be_cut_anywhere(across: str) -> None:
    line = "“\nb" + "a" * (MAX_SEGMENT - 3) + across * 2 + "’\n"
    text = line + "&lt;" + line[1:] + line
    assert repair(text) == ftfy.fix_text(text)


def test_long_runs_of_marks_are_ordered_as_unicode_demands() -> None:
    text = "é" + "\u0301\u0316\u0345\u0f73\u034f\u0327\u0300" * 200 + "e\u0301"
    assert repair(text) == ftfy.fix_text(text)


def test_a_few_layers_of_damage_are_undone_but_not_endless_ones() -> None:
    assert repair("&" + "amp;" * 25) == "&"
    assert repair("&" + "amp;" * 1000).startswith("&amp;amp;")
    assert repair("Ãƒ" + "ƒ" * 20) == ftfy.fix_text("Ãƒ" + "ƒ" * 20)
    assert repair("Ãƒ" + "ƒ" * 1000).startswith("Ãƒƒ")


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings(item)


def corpus(folder: Path, per_file: int | None) -> Iterator[str]:
    for path in sorted(folder.glob("jokes/*.csv.gz")):
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            yield from strings(list(islice(csv.reader(file), per_file)))
    for path in sorted(folder.glob("tasks/*/*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            yield from strings([json.loads(line) for line in islice(file, per_file)])


def books(folder: Path, max_books: int) -> Iterator[str]:
    for path in sorted(folder.glob("books/*.jsonl.xz")):
        with lzma.open(path, "rt", encoding="utf-8") as file:
            yield from strings([json.loads(line) for line in islice(file, max_books)])


def test_a_sample_of_real_text_is_repaired_as_ftfy_does(shared_data: Path) -> None:
    texts = ["\n".join(corpus(shared_data, per_file=25)), *books(shared_data, max_books=1)]
    for text in texts:
        some = text[:60_000]
        assert repair(some) == ftfy.fix_text(some)


@pytest.mark.slow
def test_all_real_text_is_repaired_as_ftfy_does(shared_data: Path) -> None:
    for text in corpus(shared_data, per_file=None):
        assert repair(text) == ftfy.fix_text(text)
    for text in books(shared_data, max_books=20):
        assert repair(text) == ftfy.fix_text(text)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None)
@given(damaged())
def test_many_damaged_texts_are_repaired_as_ftfy_does(text: str) -> None:
    assert repair(text) == ftfy.fix_text(text)
