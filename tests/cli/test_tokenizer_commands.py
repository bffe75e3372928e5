"""``tokenizer train``, ``encode`` and ``decode``."""

from __future__ import annotations

import io
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from gpt1.cli.main import main
from gpt1.tokenizer import Tokenizer


def stdin(content: bytes) -> io.TextIOWrapper:
    """What a pipe holds."""
    return io.TextIOWrapper(io.BytesIO(content))


def test_encode_prints_the_ids_and_decode_the_text(
    tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tokenizer", "encode", "The old dog.", "--model", str(tiny_model)]) == 0
    ids = capsys.readouterr().out
    assert [int(word) for word in ids.split()] == Tokenizer.load(tiny_model).encode("The old dog.")
    assert main(["tokenizer", "decode", ids, "--model", str(tiny_model)]) == 0
    assert capsys.readouterr().out == "the old dog.\n"
    assert main(["tokenizer", "decode", ids, "--raw", "--model", str(tiny_model)]) == 0
    assert capsys.readouterr().out == "the old dog .\n"


def test_encode_reads_lines_and_prints_json(
    tiny_model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", stdin(b"the dog\nthe cat\n"))
    assert main(["tokenizer", "encode", "-", "--json", "--model", str(tiny_model)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    tokenizer = Tokenizer.load(tiny_model)
    assert lines == [tokenizer.encode("the dog"), tokenizer.encode("the cat")]


def test_encode_can_show_the_pieces(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tokenizer", "encode", "the", "--pieces", "--model", str(tiny_model)]) == 0
    assert capsys.readouterr().out.split()[1::2] == ["the</w>"]


def test_decode_refuses_what_is_no_id(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tokenizer", "decode", "12 cat", "--model", str(tiny_model)]) == 2
    assert "'cat' is not a token id" in capsys.readouterr().err


def test_train_writes_a_tokenizer_that_loads(
    texts_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(texts_csv), "--out", str(tmp_path / "tok"), "--vocab-size", "50", "--json"]
    assert main(["tokenizer", "train", *words]) == 0
    facts = json.loads(capsys.readouterr().out)
    tokenizer = Tokenizer.load(tmp_path / "tok")
    assert facts["vocab_size"] == len(tokenizer) == 50
    assert facts["sha256"] == tokenizer.fingerprint


def test_the_mode_can_be_chosen(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for mode in ("original", "bert"):
        words = ["the dog can't", "--model", str(tiny_model), "--tokenizer-mode", mode]
        assert main(["tokenizer", "encode", *words]) == 0
        ids = [int(word) for word in capsys.readouterr().out.split()]
        assert ids == Tokenizer.load(tiny_model, mode).encode("the dog can't")


def test_train_can_learn_in_the_authors_mode(
    texts_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(texts_csv), "--out", str(tmp_path / "tok"), "--merges", "9", "--mode", "original"]
    assert main(["tokenizer", "train", *words]) == 0
    assert "reading ..." in capsys.readouterr().err
    assert Tokenizer.load(tmp_path / "tok").mode == "original"


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_a_byte_of_standard_input_that_is_not_utf8_is_named(
    command: str,
    tiny_model: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", stdin(b"12\n34 \xff\n"))
    assert main(["tokenizer", command, "-", "--model", str(tiny_model)]) == 2
    assert "standard input is not UTF-8: byte 6: invalid start byte" in capsys.readouterr().err


def test_encode_is_a_filter_that_reads_no_more_than_it_must(tiny_model: Path) -> None:
    program = (
        "import subprocess, sys\n"
        "from gpt1.cli.main import main\n"
        "sys.exit(main(['tokenizer', 'encode', '-', '--model', sys.argv[1]]))"
    )
    python = shlex.join([sys.executable, "-c", program, str(tiny_model)])
    done = subprocess.run(
        f"yes the dog | {python} | head -n 1", shell=True, capture_output=True, check=True
    )
    assert done.stderr == b""
    assert done.stdout.split() == [b"%d" % i for i in Tokenizer.load(tiny_model).encode("the dog")]
