"""Model folders in and out: the layout of Hugging Face's `openai-gpt`, safetensors and JSON only.

Weights are memory-mapped: loading copies nothing and renames nothing. Nothing is ever unpickled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gpt1 import hf_config, native_checkpoint, openai_shards
from gpt1.atomic import atomic_folder, check_destination
from gpt1.backbone import Backbone, new_backbone
from gpt1.config import BackboneConfig, GPTConfig
from gpt1.errors import CheckpointError, ConfigError
from gpt1.locate import CONFIG, WEIGHTS, weight_files
from gpt1.tokenizer import Tokenizer

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

# Buffers that older versions of transformers stored: the causal mask and 0, 1, 2, ...
_CONSTANT = re.compile(r"h\.\d+\.attn\.bias|position_ids")
HEADS = ("score.weight", "multiple_choice_head.summary.weight", "multiple_choice_head.summary.bias")
"""What a task model has beside its language model, see `gpt1.task_checkpoint`."""


def load_model(
    folder: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype | None = None,
) -> Backbone:
    """Read a model, in eval mode and trainable; on the CPU its weights stay in the mapped file.

    Args:
        folder: `config.json` with `model.safetensors` (or parts listed in
            `model.safetensors.index.json`), or the ten shards of the authors' release.
        device: Where the weights go, as torch names it: "cpu", "cuda", "cuda:1", "mps".
        dtype: "float32", "bfloat16" or "float16"; None keeps the stored one.

    Returns:
        The model, a `GPT` or, where `config.json` says so, an `LSTM`. Changing its weights never
        changes the files.

    Raises:
        CheckpointError: If a file is missing or damaged, or tensors do not fit the configuration.
        ConfigError: If the device or dtype cannot be used here.
    """
    folder, device, dtype = Path(folder), check_device(device), check_dtype(dtype)
    if openai_shards.is_release(folder):
        tensors = openai_shards.read(folder)
        config: BackboneConfig = openai_shards.infer_config(tensors)
    else:
        config = hf_config.read_config(folder / CONFIG)
        form = native_checkpoint.quantization_of(folder)
        if form is not None and isinstance(config, GPTConfig):
            stored = native_checkpoint.read_unquantized(folder, config, form)
            tensors = {name: torch.tensor(t.array) for name, t in stored.items()}
        else:
            tensors = _language_model_tensors(folder)
    model = build_model(config, tensors, folder)
    if dtype is None:
        _check_one_dtype(tensors, folder)
    return model.to(device=device, dtype=dtype)


def check_device(name: str | torch.device) -> torch.device:
    """The device of a name.

    Raises:
        ConfigError: If this computer has no such device.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch raises either, by cause
        raise ConfigError(
            f"device {str(name)!r} cannot be used here: {str(error).splitlines()[0]}; "
            "use 'cpu', or install a PyTorch built for the device"
        ) from error
    return device


def check_dtype(name: str | torch.dtype | None) -> torch.dtype | None:
    """The number format of a name; None, as stored, stays None.

    Raises:
        ConfigError: If it is not in `DTYPES`.
    """
    dtype = DTYPES.get(name) if isinstance(name, str) else name
    if name is not None and dtype not in DTYPES.values():
        raise ConfigError(f"dtype is {str(name)!r} but must be one of {', '.join(DTYPES)}")
    return dtype


def build_model(config: BackboneConfig, tensors: Mapping[str, Tensor], source: Path) -> Backbone:
    """A model, in eval mode, whose weights are the given tensors themselves.

    Args:
        config: Its shape.
        tensors: Exactly the names and shapes of its ``state_dict``.
        source: Where they come from, for messages.

    Returns:
        The model.

    Raises:
        CheckpointError: If tensors are missing, surplus or misshapen; the message lists all.
    """
    with torch.device("meta"):
        model = new_backbone(config)
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    problems = [
        f"{name}: expected {expected.get(name, 'no such tensor')}, found {found.get(name, 'none')}"
        for name in dict.fromkeys([*expected, *found])
        if expected.get(name) != found.get(name)
    ]
    problems += [
        f"{name}: holds {tensor.dtype}, not floating-point numbers"
        for name, tensor in tensors.items()
        if not tensor.is_floating_point()
    ]
    if problems:
        raise CheckpointError(
            f"the weights in {source} do not fit its configuration:\n  " + "\n  ".join(problems)
        )
    model.load_state_dict(tensors, assign=True)
    return model.eval()


def save_model(
    folder: str | Path,
    model: Backbone,
    tokenizer: Tokenizer,
    *,
    files: Mapping[str, str] | None = None,
    tensors: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a folder that `load_model` and, of a GPT, transformers' `OpenAIGPTLMHeadModel` read.

    All or nothing: see `gpt1.atomic.atomic_folder`. Equal weights give equal bytes.

    Args:
        folder: New, empty, or a checkpoint to replace; other files in it stay.
        model: Its weights are written as they are, in their own dtype.
        tokenizer: Written beside it.
        files: More text files, name to content, for example a model card.
        tensors: Its weights, where the model holds only a part of each.

    Raises:
        ConfigError: If the folder holds something that is not a checkpoint.
        CheckpointError: If the tokenizer has ids the model does not know, or writing fails.
    """
    texts = {
        **(files or {}),
        CONFIG: hf_config.config_text(model, tokenizer),
        "generation_config.json": hf_config.generation_text(tokenizer),
    }
    write_folder(folder, tensors or model.state_dict(), tokenizer, texts)


def write_folder(
    folder: str | Path,
    tensors: Mapping[str, Tensor],
    tokenizer: Tokenizer,
    texts: Mapping[str, str],
) -> None:
    """Write a checkpoint folder: weights, a tokenizer and text files, all or nothing.

    Args:
        folder: New, empty, or a checkpoint to replace; other files in it stay.
        tensors: Among them the token table, by a name that ends with ``tokens_embed.weight``.
        tokenizer: Written beside them.
        texts: Names of files to their content.

    Raises:
        ConfigError: If the folder holds something that is not a checkpoint.
        CheckpointError: If the tokenizer has ids the model does not know, or writing fails.
    """
    check_destination(folder)
    rows = next(len(t) for name, t in tensors.items() if name.endswith("tokens_embed.weight"))
    if tokenizer.vocab_size > rows:
        raise CheckpointError(
            f"the tokenizer has {tokenizer.vocab_size} tokens but the model only {rows}; "
            "call model.grow_vocabulary, or save the tokenizer the model was trained with"
        )
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    size_bytes = sum(tensor.nbytes for tensor in tensors.values())
    with atomic_folder(folder, size_bytes=size_bytes) as temporary:
        tokenizer.save(temporary)
        for name, text in texts.items():
            (temporary / name).write_text(text, encoding="utf-8")
        save_file(tensors, temporary / WEIGHTS, metadata={"format": "pt"})


def _language_model_tensors(folder: Path) -> dict[str, Tensor]:
    """Memory-map the weights under our names; without constants and the tied output layer."""
    tensors = read_tensors(folder)
    for name in HEADS:
        tensors.pop(name, None)
    output, table = tensors.pop("lm_head.weight", None), tensors.get("tokens_embed.weight")
    if output is not None and table is not None and not torch.equal(output, table):
        raise CheckpointError(
            f"{folder}: lm_head.weight differs from tokens_embed.weight; GPT-1's output layer is "
            "its token table, so an untied model cannot be loaded"
        )
    return {name: tensor for name, tensor in tensors.items() if not _CONSTANT.fullmatch(name)}


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Memory-map all weights of a folder, without the prefix ``transformer.``.

    Raises:
        CheckpointError: If there are none, or a file is damaged.
    """
    tensors: dict[str, Tensor] = {}
    for file in weight_files(folder):
        try:
            with safe_open(file, framework="pt") as opened:
                for name in opened.keys():  # noqa: SIM118 (not a dict)
                    tensors[name.removeprefix("transformer.")] = opened.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{file} is missing, cut short or not a safetensors file ({error}); "
                "fetch or save it again"
            ) from error
    return tensors


def _check_one_dtype(tensors: Mapping[str, Tensor], source: Path) -> None:
    dtypes = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()})
    if len(dtypes) > 1:
        raise CheckpointError(
            f"{source} mixes {' and '.join(dtypes)}; pass dtype= to load all of it as one of "
            f"{', '.join(DTYPES)}"
        )
