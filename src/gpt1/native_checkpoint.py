"""From a checkpoint folder, or a torch module, to a `NativeModel`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from gpt1.config import GPTConfig
from gpt1.locate import weight_files
from gpt1.native.library import MATRICES, NORMS, library
from gpt1.native.model import NativeModel, supports
from gpt1.native.weights import Tensor, map_file

if TYPE_CHECKING:
    from gpt1.backbone import Backbone


def shapes(config: GPTConfig) -> dict[str, tuple[int, ...]]:
    """The tensors of a GPT, by the names of a checkpoint."""
    d = config.n_embd
    widths = dict(zip(MATRICES, [(d, 3 * d), (d, d), (d, 4 * d), (4 * d, d)], strict=True))
    found: dict[str, tuple[int, ...]] = {
        "tokens_embed.weight": (config.vocab_size, d),
        "positions_embed.weight": (config.n_positions, d),
    }
    for layer in range(config.n_layer):
        for name, (inputs, outputs) in widths.items():
            found[f"h.{layer}.{name}.weight"] = (inputs, outputs)
            found[f"h.{layer}.{name}.bias"] = (outputs,)
        for name in NORMS:
            found |= {f"h.{layer}.{name}.{part}": (d,) for part in ("weight", "bias")}
    return found


def open_folder(folder: Path, config: GPTConfig, form: str | None) -> NativeModel | None:
    """Read the weights of a folder, without torch.

    Args:
        folder: With safetensors files.
        config: What its `config.json` says.
        form: One of `gpt1.native.library.FORMATS`; None: as stored.

    Returns:
        The model; None if the library cannot run it, or there is anything uncommon about the
        weights: `gpt1.checkpoint.load_model` then knows what to do with them, or what to say.

    Raises:
        CheckpointError: If a file is damaged.
    """
    if not supports(config):
        return None
    stored: dict[str, Tensor] = {}
    for file in weight_files(folder):
        for name, tensor in map_file(file).items():
            stored[name.removeprefix("transformer.")] = tensor
    formats = {tensor.format for tensor in stored.values()}
    expected = shapes(config)
    if len(formats) != 1 or {name: t.array.shape for name, t in stored.items()} != expected:
        return None
    return NativeModel(config, stored, form or formats.pop())


def runs_natively(model: Backbone) -> bool:
    """Whether the library can stand in for a torch module: a GPT on the CPU, see `supports`."""
    config = model.config
    return isinstance(config, GPTConfig) and model.device.type == "cpu" and supports(config)


def from_module(model: Backbone) -> NativeModel:
    """The weights of a torch module, as they are now, for the library.

    Args:
        model: One that `runs_natively`.
    """
    assert isinstance(model.config, GPTConfig)
    return NativeModel(model.config, _tensors(model), str(model.dtype).removeprefix("torch."))


def fingerprint(model: Backbone) -> int:
    """A hash of the weights of a torch module, to notice that they changed."""
    loaded = library()
    assert loaded is not None
    found = 0
    for tensor in _tensors(model).values():
        array = tensor.array
        found = loaded.gpt1_hash(array.ctypes.data, array.nbytes // 8 * 8, found)
    return found


def _tensors(model: Backbone) -> Mapping[str, Tensor]:
    import torch

    form = str(model.dtype).removeprefix("torch.")
    arrays = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    if model.dtype == torch.bfloat16:
        arrays = {name: tensor.view(torch.uint16) for name, tensor in arrays.items()}
    return {name: Tensor(form, tensor.numpy()) for name, tensor in arrays.items()}
