"""Between checkpoint formats: this package's, which is Hugging Face's, and the authors' release."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Literal, NamedTuple

from gpt1 import openai_shards
from gpt1.atomic import atomic_folder, check_destination
from gpt1.backbone import Backbone, require_gpt
from gpt1.checkpoint import build_model, load_model, save_model
from gpt1.errors import ConfigError
from gpt1.locate import CONFIG, locate
from gpt1.tokenizer import Tokenizer

FORMATS: tuple[Literal["hf", "openai"], ...] = ("hf", "openai")

_TOKENIZER_FILES = {"vocab.json": "encoder_bpe_40000.json", "merges.txt": "vocab_40000.bpe"}
_log = logging.getLogger(__name__)


class Conversion(NamedTuple):
    """What was converted.

    Attributes:
        source: The folder read.
        destination: The folder written.
        format: Of the destination, one of `FORMATS`.
        parameters: Trained numbers of the model.
        dtype: Number format of the destination's weights.
    """

    source: str
    destination: str
    format: str
    parameters: int
    dtype: str


def convert(
    source: str | Path,
    destination: str | Path,
    *,
    to: Literal["hf", "openai"] = "hf",
    revision: str | None = None,
    n_head: int | None = None,
) -> Conversion:
    """Write a checkpoint in another format, bit for bit the same weights.

    Args:
        source: Whatever `gpt1.locate.locate` finds: a folder of either format, a bundled model
            or a hub id.
        destination: A folder, new, empty or with a checkpoint to replace.
        to: "hf" for what `gpt1.load` and transformers read, "openai" for the authors' ten shards,
            which are always float32.
        revision: Branch, tag or commit of a hub id.
        n_head: Attention heads of a source in the authors' format, which does not store them;
            default: heads of width 64, as the authors' are.

    Returns:
        What was done.

    Raises:
        CheckpointError: If the source cannot be read or the destination not written.
        ConfigError: If an argument does not fit, or the destination holds something else.
        TokenizerError: If the source's tokenizer cannot be read.
    """
    if to not in FORMATS:
        raise ConfigError(f"format is {to!r} but must be one of {', '.join(FORMATS)}")
    check_destination(destination)
    folder = locate(source, revision=revision)
    model, tokenizer = _load(folder, n_head), Tokenizer.load(folder)
    if to == "hf":
        save_model(destination, model, tokenizer)
    else:
        _save_release(Path(destination), model, tokenizer)
    dtype = "float32" if to == "openai" else str(model.dtype).removeprefix("torch.")
    return Conversion(str(folder), str(destination), to, model.num_parameters(), dtype)


def _load(folder: Path, n_head: int | None) -> Backbone:
    if n_head is None:
        return load_model(folder)
    if not openai_shards.is_release(folder):
        raise ConfigError(f"n_head is {n_head} but {folder} stores its own; omit it")
    tensors = openai_shards.read(folder)
    return build_model(openai_shards.infer_config(tensors, n_head), tensors, folder)


def _save_release(destination: Path, model: Backbone, tokenizer: Tokenizer) -> None:
    network = require_gpt(model, "the authors' format")
    if (destination / CONFIG).exists():
        raise ConfigError(
            f"{destination} holds a checkpoint in the hf format, which would be read in place of "
            "the authors'; name another folder"
        )
    with atomic_folder(destination, size_bytes=4 * model.num_parameters()) as temporary:
        openai_shards.write(temporary, network)
        scratch = temporary / "tokenizer"
        tokenizer.save(scratch)
        for name, release_name in _TOKENIZER_FILES.items():
            (scratch / name).rename(temporary / release_name)
        shutil.rmtree(scratch)
        if Tokenizer.load(temporary).fingerprint != tokenizer.fingerprint:
            _log.warning(
                "the authors' format stores vocabulary and merges only; "
                "special tokens and other settings of this tokenizer are left out"
            )
