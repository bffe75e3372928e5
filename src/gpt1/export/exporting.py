"""From a checkpoint to a folder for another runtime, whole or not at all."""

from __future__ import annotations

import importlib
from functools import partial
from pathlib import Path
from typing import NamedTuple

from gpt1.atomic import atomic_folder
from gpt1.backbone import require_gpt
from gpt1.checkpoint import load_model
from gpt1.errors import CheckpointError, ConfigError, MissingExtraError
from gpt1.export.formats import BITS, FORMATS, OPSETS, Format
from gpt1.locate import ASSETS, locate
from gpt1.model import GPT
from gpt1.task_checkpoint import is_task_model
from gpt1.tokenizer import Tokenizer


class Export(NamedTuple):
    """What was exported.

    Attributes:
        source: The folder read.
        destination: The folder written.
        format: One of `FORMATS`.
        dtype: Number format of its weights.
        parameters: Trained numbers of the model.
        size_bytes: Of all files together.
    """

    source: str
    destination: str
    format: str
    dtype: str
    parameters: int
    size_bytes: int


def export_model(
    model: str | Path,
    folder: str | Path,
    *,
    format: str,
    dtype: str | None = None,
    opset: int | None = None,
    revision: str | None = None,
) -> Export:
    """Write a language model for another runtime, with its tokenizer and a README.

    Args:
        model: Whatever `gpt1.load` reads: a folder, a bundled model or a hub id.
        folder: Where to: new or empty.
        format: One of `gpt1.export.formats.FORMATS`: "onnx" or "ctranslate2".
        dtype: Number format of the weights: "float32", the default, "int8" or, for CTranslate2,
            "float16".
        opset: Of ONNX: the version of its operators, 17 (the default) to 23.
        revision: Branch, tag or commit of a hub id.

    Returns:
        What was done.

    Raises:
        ConfigError: If an argument does not fit, or the folder is not empty.
        MissingExtraError: If the package that writes the format is not installed.
        CheckpointError: If the model cannot be read, is an LSTM or a task model, or the folder
            cannot be written.
        TokenizerError: If the model's tokenizer cannot be read.
    """
    chosen = _format(format, opset)
    dtype = dtype or chosen.dtypes[0]
    if dtype not in chosen.dtypes:
        allowed = ", ".join(chosen.dtypes)
        raise ConfigError(f"dtype is {dtype!r} but must be one of {allowed} for {format}")
    destination = Path(folder)
    _check_empty(destination)
    _check_installed(format, chosen)
    source = locate(model, revision=revision)
    network, tokenizer = _load(source), Tokenizer.load(source)
    write = importlib.import_module(chosen.module).write
    if opset is not None:
        write = partial(write, opset=opset)
    parameters = network.num_parameters()
    with atomic_folder(destination, size_bytes=BITS[dtype] * parameters // 8) as temporary:
        tokenizer.save(temporary)
        write(temporary, network, tokenizer, dtype)
        guide = (ASSETS / "export" / f"{format}.md").read_text(encoding="utf-8")
        title = f"{_title(model)} for {chosen.summary}, {dtype}"
        (temporary / "README.md").write_text(f"# {title}\n\n{guide}", encoding="utf-8")
    size_bytes = sum(file.stat().st_size for file in destination.iterdir())
    return Export(str(source), str(destination), format, dtype, parameters, size_bytes)


def _format(name: str, opset: int | None) -> Format:
    if name not in FORMATS:
        raise ConfigError(f"format is {name!r} but must be one of {', '.join(FORMATS)}")
    if opset is None:
        return FORMATS[name]
    if name != "onnx":
        raise ConfigError(f"opset is {opset} but the format {name} has none; omit it")
    if opset not in OPSETS:
        raise ConfigError(f"opset is {opset} but must be between {OPSETS[0]} and {OPSETS[-1]}")
    return FORMATS[name]


def _check_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} exists and is no empty folder; name a new one")


def _check_installed(name: str, format: Format) -> None:
    if format.needs is None:
        return
    try:
        importlib.import_module(format.needs)
    except ImportError:
        raise MissingExtraError(
            f'the format {name} needs {format.needs}: pip install "gpt1[export]"'
        ) from None


def _title(model: str | Path) -> str:
    """A bundled model and a hub id as they are; of a folder, its name."""
    return Path(model).resolve().name if Path(model).is_dir() else str(model)


def _load(folder: Path) -> GPT:
    """A language model in float32."""
    if is_task_model(folder):
        raise CheckpointError(
            f"{folder} holds a task model, and only language models can be exported; "
            "transformers reads the folder as it is"
        )
    return require_gpt(load_model(folder, dtype="float32"), "an export")
