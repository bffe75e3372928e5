"""Where a model is: names to folders, and which files in them hold weights. Loads no torch."""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path

from gpt1 import hub
from gpt1.errors import CheckpointError, ConfigError
from gpt1.hf_config import read_json

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
ASSETS = Path(__file__).parent / "assets"
BUNDLED = ("mini",)
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def locate(model: str | Path, *, revision: str | None = None) -> Path:
    """Find the folder a model name stands for.

    Args:
        model: A bundled model ("mini"), a folder, or an id on the Hugging Face hub
            ("openai-community/openai-gpt"), which is downloaded once and kept.
        revision: Branch, tag or commit; for hub ids only.

    Returns:
        A folder `load_model` and `Tokenizer.load` read.

    Raises:
        CheckpointError: If there is no such model, or it cannot be downloaded.
        ConfigError: If a revision is given for something that is not on the hub.
    """
    name, folder = str(model), Path(model).expanduser()
    local = ASSETS / name if model in BUNDLED else folder
    if local.is_dir():
        if revision is not None:
            raise ConfigError(f"revision is {revision!r} but {name!r} is a folder; omit it")
        return local
    # A path into an existing folder is a typing mistake, not something to ask the network about.
    if isinstance(model, str) and _HUB_ID.fullmatch(name) and not folder.parent.is_dir():
        return hub.download(name, revision=revision)
    raise CheckpointError(_not_found(name, folder))


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint folder.

    Raises:
        CheckpointError: If there are none.
    """
    if (folder / WEIGHTS).exists():
        return [folder / WEIGHTS]
    if (folder / INDEX).exists():
        parts = read_json(folder / INDEX).get("weight_map")
        if not isinstance(parts, dict):
            raise CheckpointError(f"{folder / INDEX} has no weight_map; fetch it again")
        return [folder / name for name in sorted(set(map(str, parts.values())))]
    pickles = sorted(file.name for pattern in _PICKLES for file in folder.glob(pattern))
    if not pickles:
        raise CheckpointError(f"{folder} holds no {WEIGHTS}; name the folder of a model")
    raise CheckpointError(
        f"{folder} holds only {', '.join(pickles)}, not {WEIGHTS}. Pickles (.bin, .pt) can run "
        "code when read, so gpt1 never opens them; convert one with transformers: "
        "OpenAIGPTLMHeadModel"
        f".from_pretrained({str(folder)!r}).save_pretrained('NEW')"
    )


def _not_found(name: str, folder: Path) -> str:
    if folder.is_file():
        return f"{name!r} is a file; name the folder it is in"
    parent = folder.parent
    siblings = [p.name for p in parent.iterdir() if p.is_dir()] if parent.is_dir() else []
    near = [str(parent / match) for match in get_close_matches(folder.name, siblings)]
    near = get_close_matches(name, BUNDLED) + near
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    if parent != Path() and parent.is_dir():
        hint += f" ({parent} is a folder here, so the hub was not asked)"
    return (
        f"no folder {name!r}; models bundled: {', '.join(BUNDLED)}; hub ids look like owner/name, "
        f"for example {hub.EXAMPLE_ID}{hint}"
    )
