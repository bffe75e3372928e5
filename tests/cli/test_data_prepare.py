"""``gpt1 data prepare`` as a user runs it: what it says, and how steps are switched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gpt1.cli.main import main
from gpt1.data.shards import Shards

TEXT = "The old sailor told us of boat number {}, and “nobody” wondered."


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    rows = [TEXT.format(number) for number in range(20)]
    lines = [json.dumps({"text": text}) + "\n" for text in [*rows, *rows[:2], "", "#" * 9]]
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.jsonl").write_text("".join(lines), encoding="utf-8")
    (tmp_path / "texts" / "b.txt").write_bytes(b"\xff")
    return tmp_path / "texts"


def prepare(texts: Path, *more: str) -> int:
    out = str(texts.parent / "out")
    return main(["data", "prepare", str(texts), "--out", out, "--vocab-size", "90", *more])


def test_the_result_says_what_was_left_out_and_what_was_not_read(
    texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(texts, "--clean.max-symbol-share", "0.1") == 0
    shown = capsys.readouterr().out
    assert "documents     20\n" in shown
    assert "dropped       2 duplicate, 1 empty, 1 symbols\n" in shown
    assert "unread files  1\n" in shown
    assert prepare(texts, "--clean.max-symbol-share", "0.1", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["dropped"] == {"duplicate": 2, "empty": 1, "symbols": 1}
    assert result["unread_files"] == [str(texts / "b.txt")]


def test_steps_are_switched_off_and_on(texts: Path) -> None:
    off = ["--clean.repair", "false", "--clean.exact-duplicates", "false"]
    limits = ["--clean.language", "en", "--license", "CC0"]
    assert prepare(texts, *off, *limits) == 0
    index = Shards(texts.parent / "out").index
    assert index["config"]["clean"]["repair"] is False
    assert index["dropped"] == {"empty": 1, "language": 1}
    assert index["characters"] == sum(len(TEXT.format(n)) for n in [*range(20), 0, 1])
    assert index["sources"][0]["license"] == ["CC0"]


def test_a_file_of_settings_is_read(texts: Path, tmp_path: Path) -> None:
    settings = tmp_path / "web.yaml"
    settings.write_text("workers: 1\nclean:\n  min_words: 50\n", encoding="utf-8")
    assert prepare(texts, "--config", str(settings)) == 2


def test_where_nothing_is_left_one_line_says_why(
    texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(texts, "--clean.min-words", "50") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"gpt1: there is no text in {texts} to keep: 1 empty; 23 too short; ")
    assert not (texts.parent / "out").exists()
