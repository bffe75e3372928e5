"""Folders for other runtimes: what is in them, that their READMEs work, and what is refused."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from gpt1.checkpoint import save_model
from gpt1.cli.main import main
from gpt1.config import HeadConfig, LSTMConfig
from gpt1.errors import CheckpointError, ConfigError, MissingExtraError
from gpt1.export.exporting import Export, export_model
from gpt1.export.formats import FORMATS
from gpt1.language_model import load
from gpt1.locate import ASSETS
from gpt1.lstm import LSTM
from gpt1.task_checkpoint import save_task_model
from gpt1.task_model import TaskModel
from gpt1.tokenizer import Tokenizer
from lively import lively_model, small_tokenizer

WAYS = [
    pytest.param(name, dtype, marks=[pytest.mark.slow] if dtype != format.dtypes[0] else [])
    for name, format in FORMATS.items()
    for dtype in format.dtypes
]
WEIGHTS = {
    "onnx": "model.onnx",
    "ctranslate2": "model.bin",
    "int8": "model.safetensors",
    "int4": "model.safetensors",
}


def needs(format: str) -> None:
    """Skip where what writes a format is not installed."""
    if FORMATS[format].needs is not None:
        pytest.importorskip(FORMATS[format].needs, reason="of the extra export")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tokenizer = small_tokenizer(end_of_text=False)
    save_model(tmp_path / "model", lively_model(len(tokenizer), 40), tokenizer)
    return tmp_path / "model"


@pytest.mark.parametrize(("format", "dtype"), WAYS)
def test_the_program_in_the_readme_continues_the_text_as_the_model_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str, dtype: str
) -> None:
    needs(format)
    pytest.importorskip("onnxruntime", reason="of the extra export")
    export_model("mini", tmp_path / "out", format=format, dtype=dtype)
    readme = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert readme.startswith(f"# mini for {FORMATS[format].summary}, {dtype}\n")
    [program] = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    monkeypatch.chdir(tmp_path / "out")
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(program, "README.md", "exec"), {})
    lm = load("mini")
    expected = lm.complete("Once upon a time", max_new_tokens=20)[0][0]
    told = output.getvalue().strip()
    whole = lm.tokenizer.decode(expected.prompt_ids + expected.ids, raw=True)
    start = lm.tokenizer.decode(expected.prompt_ids, raw=True)
    assert told.startswith(start)
    assert len(told) > len(start) + 20
    if dtype not in ("int8", "int4"):
        assert told == whole


@pytest.mark.parametrize("format", FORMATS)
def test_a_folder_holds_the_tokenizer_and_the_result_says_what_was_done(
    tmp_path: Path, folder: Path, format: str
) -> None:
    needs(format)
    out = tmp_path / "out"
    result = export_model(folder, out, format=format)
    names = {"README.md", "config.json", WEIGHTS[format], "tokenizer.json", "tokenizer_config.json"}
    assert names <= {file.name for file in out.iterdir()}
    assert Tokenizer.load(out).fingerprint == Tokenizer.load(folder).fingerprint
    size_bytes = sum(file.stat().st_size for file in out.iterdir())
    count = load(folder).model.num_parameters()
    dtype = FORMATS[format].dtypes[0]
    assert result == Export(str(folder), str(out), format, dtype, count, size_bytes)


def test_a_readme_is_headed_by_the_name_of_the_folder(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("onnx")
    monkeypatch.chdir(folder)
    export_model(".", tmp_path / "out", format="onnx")
    assert (tmp_path / "out" / "README.md").read_text(encoding="utf-8").startswith("# model for ")


@pytest.mark.parametrize("format", FORMATS)
def test_transformers_reads_the_tokenizer(tmp_path: Path, folder: Path, format: str) -> None:
    needs(format)
    export_model(folder, tmp_path / "out", format=format)
    theirs = AutoTokenizer.from_pretrained(str(tmp_path / "out"))
    assert theirs("the lazy dog").input_ids == Tokenizer.load(folder).encode("the lazy dog")


def test_every_format_has_a_guide_and_a_module() -> None:
    guides = {path.stem for path in (ASSETS / "export").glob("*.md")}
    assert guides == set(FORMATS)
    for format in FORMATS.values():
        assert callable(importlib.import_module(format.module).write)


@pytest.mark.parametrize("format", FORMATS)
def test_weights_of_another_number_format_are_exported_as_asked(
    tmp_path: Path, folder: Path, format: str
) -> None:
    needs(format)
    lm = load(folder, dtype="bfloat16")
    lm.save(tmp_path / "half")
    load(tmp_path / "half", dtype="float32").save(tmp_path / "whole")
    for name in ("half", "whole"):
        export_model(tmp_path / name, tmp_path / f"{name}-out", format=format)
    written = [(tmp_path / f"{n}-out" / WEIGHTS[format]).read_bytes() for n in ("half", "whole")]
    assert written[0] == written[1]


def test_the_opset_is_the_one_asked_for(tmp_path: Path, folder: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="of the extra export")
    export_model(folder, tmp_path / "out", format="onnx", opset=21)
    made = onnx.load(tmp_path / "out" / "model.onnx")
    assert [imported.version for imported in made.opset_import] == [21]


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"format": "gguf"}, "format is 'gguf' but must be one of onnx, ctranslate2"),
        ({"format": "onnx", "dtype": "float16"}, "dtype is 'float16' but must be one of float32, "),
        ({"format": "onnx", "opset": 16}, "opset is 16 but must be between 17 and 23"),
        ({"format": "ctranslate2", "opset": 17}, "opset is 17 but the format ctranslate2 has none"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    tmp_path: Path, folder: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        export_model(folder, tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_over(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "file").touch()
    for taken in (folder, tmp_path / "file"):
        with pytest.raises(ConfigError, match="exists and is no empty folder; name a new one"):
            export_model(folder, taken, format="onnx")


def test_an_empty_folder_is_filled(tmp_path: Path, folder: Path) -> None:
    needs("onnx")
    (tmp_path / "out").mkdir()
    export_model(folder, tmp_path / "out", format="onnx")
    assert (tmp_path / "out" / "model.onnx").exists()


def test_an_lstm_is_refused(tmp_path: Path) -> None:
    needs("onnx")
    tokenizer = small_tokenizer()
    shape = LSTMConfig(vocab_size=len(tokenizer), n_positions=8, n_embd=4, n_units=6)
    save_model(tmp_path / "lstm", LSTM(shape), tokenizer)
    with pytest.raises(CheckpointError, match="an export needs a Transformer, and this model is"):
        export_model(tmp_path / "lstm", tmp_path / "out", format="onnx")


def test_a_task_model_is_refused(tmp_path: Path) -> None:
    needs("onnx")
    tokenizer = small_tokenizer()
    head = HeadConfig(layout="text", classes=("bad", "good"))
    model = TaskModel(lively_model(len(tokenizer)), head)
    save_task_model(tmp_path / "task", model, tokenizer)
    with pytest.raises(CheckpointError, match="holds a task model, and only language models can"):
        export_model(tmp_path / "task", tmp_path / "out", format="onnx")


@pytest.mark.parametrize("format", FORMATS)
def test_a_missing_package_is_named_with_its_extra(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    package = FORMATS[format].needs
    if package is None:
        pytest.skip("needs no package")
    monkeypatch.setitem(sys.modules, package, None)
    message = rf'the format {format} needs {package}: pip install "gpt1\[export\]"'
    with pytest.raises(MissingExtraError, match=message):
        export_model(folder, tmp_path / "out", format=format)


@pytest.mark.parametrize("format", FORMATS)
def test_a_full_disk_is_one_clear_error_and_leaves_nothing(
    tmp_path: Path, folder: Path, format: str
) -> None:
    needs(format)
    resource = pytest.importorskip("resource", reason="file size limits are a POSIX feature")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(CheckpointError, match=r"cannot write .*: .*needs about [\d,]+ bytes"):
            export_model(folder, tmp_path / "out", format=format)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


# ---------------------------------------------------------------- the command


def test_the_command_exports_and_reports(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    needs("onnx")
    words = ["export", "--model", str(folder), "--format", "onnx", "--dtype", "int8"]
    assert main([*words, "--out", str(tmp_path / "out"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["format"], report["dtype"]) == ("onnx", "int8")
    assert (tmp_path / "out" / "model.onnx").exists()
    assert main([*words, "--out", str(tmp_path / "out")]) == 2
    assert "is no empty folder" in capsys.readouterr().err


def test_the_help_names_every_format(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["export", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert all(f"{name} ({', '.join(f.dtypes)})" in text for name, f in FORMATS.items())
