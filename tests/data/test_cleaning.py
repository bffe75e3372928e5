"""Cleaning: each step by itself, against values counted by hand and texts in known languages."""

from __future__ import annotations

import json
import lzma
import sys
from itertools import islice
from pathlib import Path

import ftfy
import pytest

from gpt1.config import CleaningConfig
from gpt1.data import cleaning
from gpt1.data.cleaning import clean, fault, tidy
from gpt1.data.documents import Document, Dropped
from gpt1.errors import ConfigError, MissingExtraError

WEB = CleaningConfig(min_words=50, max_symbol_share=0.1, max_repeated_lines=0.3, language="en")
SENTENCES = {
    "en": "The old sailor told us that the tide would turn before anybody noticed the boat.",
    "de": "Der alte Seemann erzählte uns, dass die Flut kommt, ehe jemand das Boot bemerkt.",
    "fr": "Le vieux marin nous disait que la marée changerait avant qu'on remarque le bateau.",
    "es": "El viejo marinero nos dijo que la marea cambiaría antes de que vieran el barco.",
}


def test_a_document_is_repaired_as_ftfy_does_and_keeps_its_name_and_licence() -> None:
    text = "\ufeff“Itâ€™s” &lt;here&gt; and all the rest is\r\nﬁne\x00"
    cleaned = clean(Document("a.txt", text, "CC0"), CleaningConfig())
    assert cleaned == Document("a.txt", ftfy.fix_text(text), "CC0")


def test_steps_that_change_a_text_can_be_switched_off() -> None:
    text = "*** START OF THE PROJECT GUTENBERG EBOOK X ***\n\n“Yes”"
    assert tidy(text, CleaningConfig()) == '"Yes"'
    assert tidy(text, CleaningConfig(repair=False)) == "“Yes”"
    assert tidy(text, CleaningConfig(repair=False, gutenberg=False)) == text


@pytest.mark.parametrize(
    ("text", "settings", "reason"),
    [
        (" \n\t", {}, "empty"),
        ("one two three", {"min_words": 4}, "too short"),
        ("one two three", {"min_words": 3}, None),
        ("one two three", {}, None),
        ("if (x[0] == *p) { return y_1 | 2; }", {"max_symbol_share": 0.3}, "symbols"),
        ("if (x[0] == *p) { return y_1 | 2; }", {"max_symbol_share": 0.5}, None),
        ("#" * 9, {}, None),
        ("Menu\nHome\nMenu\nHome\nMenu\nHome", {"max_repeated_lines": 0.6}, "repeated lines"),
        ("Menu\nHome\nMenu\nHome\nMenu\nHome", {"max_repeated_lines": 0.7}, None),
        ("Menu\n" * 9, {}, None),
        (SENTENCES["de"], {"language": "en"}, "language"),
        (SENTENCES["de"], {"language": "de"}, None),
        (SENTENCES["de"], {}, None),
    ],
)
def test_each_rule_leaves_out_what_it_names_and_can_be_switched_off(
    text: str, settings: dict[str, float], reason: str | None
) -> None:
    assert fault(text, CleaningConfig(**settings)) == reason  # type: ignore[arg-type]


def test_a_document_that_is_left_out_is_named_with_its_reason() -> None:
    found = clean(Document("a.txt", "short"), CleaningConfig(min_words=2))
    assert found == Dropped("a.txt", "too short")


def test_what_is_measured_is_the_text_without_header_and_footer() -> None:
    text = "*** START OF THE PROJECT GUTENBERG EBOOK A LONG TITLE ***\n\ntwo words"
    assert clean(Document("a", text), CleaningConfig(min_words=3)) == Dropped("a", "too short")


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("ab #$", 2 / 4),
        ('“It’s,” he said; (why?) … — 5 "no".', 0),
        ("", 0),
        (" \n", 0),
        ("*a*", 2 / 3),
        ("\x00a", 1 / 2),
        ("नमस्ते", 0),
        ("😂😂 ha", 2 / 4),
    ],
)
def test_symbols_are_counted_among_characters_that_are_not_blank(text: str, share: float) -> None:
    assert cleaning.symbol_share(text) == pytest.approx(share)


@pytest.mark.parametrize(
    ("text", "share"),
    [("ab\ncd", 0), ("ab\ncd\n ab \n\nab", 4 / 8), ("", 0), ("\n\n", 0), ("aaaa\nb\nb", 1 / 6)],
)
def test_repeated_lines_weigh_as_much_as_they_are_long(text: str, share: float) -> None:
    assert cleaning.repeated_share(text) == pytest.approx(share)


@pytest.mark.parametrize("language", SENTENCES)
def test_languages_are_told_apart(language: str) -> None:
    assert cleaning.language_of(SENTENCES[language]) == language


def test_a_long_text_is_told_by_its_beginning_middle_and_end() -> None:
    title = "Le livre\n"
    assert cleaning.language_of(title + SENTENCES["en"] * 1000) == "en"


def test_a_language_that_cannot_be_told_is_refused_with_those_that_can() -> None:
    with pytest.raises(ConfigError, match=r"language is 'xx' but must be one of .*, en, .*, zu,"):
        fault("some text", CleaningConfig(language="xx"))


def test_without_its_library_the_language_filter_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    cleaning._identifier.cache_clear()
    with pytest.raises(MissingExtraError, match=r'needs py3langid: pip install "gpt1\[data\]"'):
        fault("some text", CleaningConfig(language="en"))


def test_books_pass_the_rules_for_the_web_whole(shared_data: Path) -> None:
    with lzma.open(shared_data / "books" / "books-00.jsonl.xz", "rt", encoding="utf-8") as lines:
        for line in islice(lines, 2):
            text = json.loads(line)["text"]
            cleaned = clean(Document("book", text), WEB)
            assert cleaned == Document("book", ftfy.fix_text(text))
