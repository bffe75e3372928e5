"""`gpt1 explain`, run as a user runs it."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from gpt1.cli import explain
from gpt1.cli.main import main
from gpt1.evaluation.explanation_page import LIGHT, html_page, level, readable
from gpt1.language_model import LanguageModel, load
from lively import TEXT, lively_model, small_tokenizer

WORDS = "The lazy dog jumps"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    tokenizer = small_tokenizer()
    folder = tmp_path_factory.mktemp("models") / "lively"
    LanguageModel(lively_model(tokenizer.vocab_size), tokenizer).save(folder)
    return str(folder)


@pytest.fixture(scope="module")
def lm(folder: str) -> LanguageModel:
    return load(folder)


def output(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["explain", *words]) == 0
    return capsys.readouterr().out


def error(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["explain", *words]) == 2
    return capsys.readouterr().err


def cells(table: str) -> list[list[str]]:
    """The rows of a printed table."""
    lines = [line for line in table.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


def test_the_text_and_a_line_a_token_are_printed(
    folder: str, lm: LanguageModel, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = output(capsys, WORDS, "--model", folder, "--top", "2")
    expected = lm.explain(WORDS, 2)
    assert shown.startswith("the lazy dog jumps\n")
    assert f"4 tokens, {expected.bits_per_token:.2f} bits per token\n" in shown
    rows = cells(shown)
    assert [row[:2] for row in rows[:-1]] == [
        ["1", "the"],
        ["2", "lazy"],
        ["3", "dog"],
        ["4", "jumps"],
    ]
    for row, token in zip(rows[1:-1], expected[1:], strict=True):
        assert row[2:5] == [
            f"{token.probability:.2%}",
            str(token.rank),
            f"{token.surprisal:.2f}",
        ]
        likeliest = "  ".join(
            f"{readable(a.piece)} {a.probability:.1%}" for a in token.alternatives
        )
        assert row[5] == likeliest
    assert rows[-1][1] == "next?"
    assert rows[-1][5].startswith(readable(expected.next[0].piece))


def test_a_terminal_gets_the_colours_of_the_surprisal(
    folder: str,
    lm: LanguageModel,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TERM", "xterm-256color")
    shown = output(capsys, WORDS, "--model", folder)
    for token in lm.explain(WORDS)[1:]:
        number = level(token.surprisal)
        assert number > 0
        red, green, blue = bytes.fromhex(LIGHT[number - 1][1:])
        assert f"48;2;{red};{green};{blue}m{token.text.strip()}\x1b[0m" in shown
    assert "surprisal in bits" in shown


def test_without_a_terminal_there_is_no_colour(
    folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = output(capsys, WORDS, "--lens", "--attention", "1", "--model", folder)
    assert "\x1b" not in shown
    assert "surprisal in bits" not in shown


def test_a_newline_is_visible(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer = small_tokenizer()
    LanguageModel(lively_model(tokenizer.vocab_size), tokenizer).save(tmp_path / "model")
    file = tmp_path / "model" / "tokenizer.json"
    with_newlines = file.read_text(encoding="utf-8").replace('"q</w>"', '"\\n</w>"')
    file.write_text(with_newlines, encoding="utf-8")
    lm = load(tmp_path / "model")
    ids = lm.tokenizer.encode("the fox")
    newline = lm.tokenizer.token_id("\n</w>")
    console = explain.output_console()
    explain._print_text(console, lm.explain([ids[0], newline, ids[1]]))
    assert capsys.readouterr().out.startswith("the\\n\nfox\n")


def test_the_lens_has_a_row_a_layer_and_a_column_a_token(
    folder: str, lm: LanguageModel, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "the lazy dog jumps over the fox: he said"
    shown = output(capsys, text, "--lens", "--model", folder)
    rows = cells(shown.partition("Logit lens")[2])
    lens = lm.explain(text).lens
    names = ["embeddings", "1", "2"]
    assert [row[0] for row in rows] == names * 2  # nine tokens, in two tables
    for number, name in enumerate(names):
        found = [cell for row in rows if row[0] == name for cell in row[1:]]
        assert found == [f"{best.probability:.0%} {readable(best.piece)}" for best in lens[number]]


@pytest.mark.parametrize("head", [None, 2])
def test_attention_is_a_triangle_of_shades(
    folder: str, lm: LanguageModel, capsys: pytest.CaptureFixture[str], head: int | None
) -> None:
    words = [] if head is None else ["--head", str(head)]
    shown = output(capsys, WORDS, "--attention", "2", *words, "--model", folder)
    maps = lm.explain(WORDS).attentions[1]
    weights = maps.mean(axis=0) if head is None else maps[head - 1]
    lines = shown.partition("Attention:")[2].splitlines()[1:]
    for row, (line, name) in enumerate(zip(lines, WORDS.lower().split(), strict=True)):
        shades = "·░▒▓█"
        thresholds = np.array([0.02, 0.1, 0.25, 0.5])
        expected = "".join(
            2 * shades[int((w >= thresholds).sum())] for w in weights[row, : row + 1]
        )
        assert line == f"{row + 1:4} {expected} {name}"


def test_a_map_wider_than_the_output_shows_the_last_tokens(
    folder: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explain, "WIDTH_OF_FILES", explain.MARGIN + 3)
    shown = output(capsys, WORDS, "--attention", "1", "--model", folder)
    assert "(The last 3 of 4 tokens; --html shows all.)" in " ".join(shown.split())
    lines = shown.splitlines()[-3:]
    assert [re.sub("[·░▒▓█]+", "", line).split() for line in lines] == [
        ["2", "lazy"],
        ["3", "dog"],
        ["4", "jumps"],
    ]


def test_html_writes_the_page(
    folder: str, lm: LanguageModel, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "page.html"
    shown = output(capsys, WORDS, "--html", str(path), "--top", "3", "--model", folder)
    assert path.read_text(encoding="utf-8") == html_page(lm.explain(WORDS, 3))
    assert shown.endswith(f"{path} shows all of it in a browser.\n")


def test_json_is_one_object_with_what_was_asked_for(
    folder: str, lm: LanguageModel, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = lm.explain(WORDS)
    record = json.loads(output(capsys, WORDS, "--json", "--model", folder))
    assert record == json.loads(json.dumps(expected.to_dict()))
    words = ["--lens", "--attention", "2", "--head", "1"]
    more = json.loads(output(capsys, WORDS, "--json", "--model", folder, *words))
    np.testing.assert_allclose(more.pop("attention"), expected.attentions[1, 0], atol=1e-6)
    lens = more.pop("lens")
    assert more == record
    assert [[best["id"] for best in layer] for layer in lens] == [
        [best.id for best in layer] for layer in expected.lens
    ]


def test_a_file_is_one_text(
    folder: str, lm: LanguageModel, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "text.txt"
    path.write_text("the fox\n\nthe dog\n", encoding="utf-8")
    record = json.loads(output(capsys, "--file", str(path), "--json", "--model", folder))
    assert record["text"] == lm.explain("the fox\n\nthe dog\n").text == "the fox the dog"


@pytest.mark.parametrize("words", [["-"], ["--file", "-"]])
def test_a_dash_reads_standard_input(
    folder: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"the fox\n")))
    assert output(capsys, *words, "--model", folder).startswith("the fox\n")


def test_a_long_text_is_printed_and_has_a_page_but_no_lens(
    folder: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = [TEXT, "--model", folder]
    shown = output(capsys, *words, "--html", str(tmp_path / "page.html"))
    assert len(cells(shown)) > 17
    for flags in (["--lens"], ["--attention", "1"]):
        assert main(["explain", *words, *flags]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert "one pass over 1 to 16" in printed.err


@pytest.mark.parametrize("words", [[], ["a text", "--file", "text.txt"]])
def test_a_text_or_a_file_is_needed(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert "give either a text or --file" in error(capsys, *words)


def test_a_file_that_is_not_there_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert "cannot read nowhere.txt" in error(capsys, "--file", "nowhere.txt")


def test_the_place_of_a_byte_that_is_not_utf8_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    message = error(capsys, "--file", str(tmp_path / "latin.txt"))
    assert "latin.txt is not UTF-8: byte 3" in message
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\n\xff")))
    assert "standard input is not UTF-8: byte 2" in error(capsys, "-")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["  "], "the text has no tokens"),
        (["the", "--top", "0"], "top is 0 but must be at least 1"),
        (["the", "--head", "1"], "--head 1 needs --attention"),
        (["the", "--attention", "3"], "--attention is 3 but the model has 2 layers; choose 1 to 2"),
        (["the", "--attention", "1", "--head", "0"], "--head is 0 but the model has 2 heads"),
    ],
)
def test_a_wrong_word_is_a_mistake(
    folder: str, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert message in error(capsys, *words, "--model", folder)
