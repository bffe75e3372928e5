"""llama.cpp through llama-cpp-python: a GPT-2 as GGUF, decoded with the batch interface.

The file has as many tokens and merges as the checkpoint. Quantised, it is what ``llama-quantize``
makes by default: in Q4_0 the output table is of 6 bits. The key-value cache is of 16 bits, as by
default.
"""

from __future__ import annotations

import ctypes
import json
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.peers import Generate, gpt2_weights, shape

TITLE = "llama.cpp"
NEEDS = ("llama_cpp", "gguf")
FAMILY = "gpt2"
MOST_PROMPT_TOKENS = None

FILE_TYPES = {"float32": "ALL_F32", "16-bit": "MOSTLY_F16", "int8": "MOSTLY_Q8_0"}
FILE_TYPES["int4"] = "MOSTLY_Q4_0"
PRECISIONS = tuple(FILE_TYPES)

TOKENS_AT_ONCE = 2048
"""Of a prompt; the library's own default."""

NAMES = {
    "wte": "token_embd",
    "wpe": "position_embd",
    "ln_f": "output_norm",
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}
"""Of a GPT-2: transformers' to llama.cpp's."""

Row = tuple[int, int, int, bool]
"""Token, position, sequence, and whether its logits are wanted."""


@cache
def quiet_library() -> Any:
    """llama-cpp-python, which logs no more."""
    import llama_cpp

    llama_cpp.llama_log_set(_no_log, None)
    return llama_cpp


@ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
def _no_log(level: int, text: bytes, data: int) -> None:
    """Take a line and drop it; lives as long as the library."""


def prepare(checkpoint: Path, folder: Path, precision: str) -> None:
    """Write a GPT-2 of the same shape, then have the library change its format."""
    write_gguf(checkpoint, folder / "float32.gguf")
    if precision != "float32":
        quantise(folder / "float32.gguf", folder / f"{precision}.gguf", FILE_TYPES[precision])
        (folder / "float32.gguf").unlink()


def write_gguf(checkpoint: Path, file: Path) -> None:
    """Write a GPT-2 in float32."""
    import gguf

    config = shape(checkpoint)
    tokens = json.loads((checkpoint / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    writer = gguf.GGUFWriter(file, "gpt2")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["n_positions"])
    writer.add_embedding_length(config["n_embd"])
    writer.add_feed_forward_length(4 * config["n_embd"])
    writer.add_block_count(config["n_layer"])
    writer.add_head_count(config["n_head"])
    writer.add_layer_norm_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(sorted(tokens["vocab"], key=tokens["vocab"].get))
    writer.add_token_types([gguf.TokenType.NORMAL] * len(tokens["vocab"]))
    writer.add_token_merges([" ".join(merge) for merge in tokens["merges"]])
    for name, tensor in gpt2_weights.tensors(config).items():
        is_matrix = ".c_" in name and name.endswith(".weight")
        writer.add_tensor(gguf_name(name), tensor.T.copy() if is_matrix else tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def gguf_name(name: str) -> str:
    """The name of a tensor of transformers' GPT-2 in a GGUF file."""
    module, _, kind = name.removeprefix("transformer.").rpartition(".")
    if not module.startswith("h."):
        return f"{NAMES[module]}.{kind}"
    _, block, part = module.split(".", 2)
    return f"blk.{block}.{NAMES[part]}.{kind}"


def quantise(source: Path, target: Path, file_type: str) -> None:
    """Have the library write a file in another format.

    Raises:
        RuntimeError: If it does not.
    """
    llama_cpp = quiet_library()
    settings = llama_cpp.llama_model_quantize_default_params()
    settings.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_{file_type}")
    paths = str(source).encode(), str(target).encode()
    if llama_cpp.llama_model_quantize(*paths, ctypes.byref(settings)):
        raise RuntimeError(f"llama.cpp could not write {file_type}")


def load(folder: Path, precision: str, threads: int) -> Generate:
    """The model, and a context for each size of batch."""
    return Model(folder / f"{precision}.gguf", threads).generate


class Model:
    """A GGUF file, ready to decode.

    Args:
        file: To map into memory.
        threads: To compute with.
    """

    def __init__(self, file: Path, threads: int) -> None:
        llama_cpp = quiet_library()
        self._library, self._threads = llama_cpp, threads
        llama_cpp.llama_backend_init()
        settings = llama_cpp.llama_model_default_params()
        self._model = llama_cpp.llama_model_load_from_file(str(file).encode(), settings)
        vocabulary = llama_cpp.llama_model_get_vocab(self._model)
        self._vocab_size = llama_cpp.llama_vocab_n_tokens(vocabulary)
        self._contexts: dict[int, Any] = {}

    def generate(self, prompts: list[list[int]], new_tokens: int) -> list[list[int]]:
        """As `Generate`."""
        context, length = self._context(len(prompts)), len(prompts[0])
        self._library.llama_memory_clear(self._library.llama_get_memory(context), True)
        texts: list[list[int]] = [[] for _ in prompts]
        steps = prompt_rows(prompts)
        for position in range(length, length + new_tokens):
            newest: dict[int, int] = {}
            for rows in steps:
                newest |= self._decode(context, rows)
            for sequence, text in enumerate(texts):
                text.append(newest[sequence])
            steps = [[(text[-1], position, i, True) for i, text in enumerate(texts)]]
        return texts

    def _context(self, sequences: int) -> Any:
        if sequences not in self._contexts:
            positions = self._library.llama_model_n_ctx_train(self._model)
            settings = self._library.llama_context_default_params()
            settings.n_ctx, settings.n_seq_max = sequences * positions, sequences
            settings.n_batch = TOKENS_AT_ONCE
            settings.n_threads = settings.n_threads_batch = self._threads
            context = self._library.llama_init_from_model(self._model, settings)
            self._contexts[sequences] = context
        return self._contexts[sequences]

    def _decode(self, context: Any, rows: list[Row]) -> dict[int, int]:
        """Read tokens; the likeliest next one of each sequence that asks for it."""
        import numpy as np

        batch = self._library.llama_batch_init(len(rows), 0, 1)
        fill(batch, rows)
        if self._library.llama_decode(context, batch):
            raise RuntimeError("llama.cpp could not decode")
        self._library.llama_batch_free(batch)
        found = {}
        for number, (_, _, sequence, wanted) in enumerate(rows):
            if wanted:
                logits = self._library.llama_get_logits_ith(context, number)
                found[sequence] = int(np.ctypeslib.as_array(logits, (self._vocab_size,)).argmax())
        return found


def prompt_rows(prompts: list[list[int]]) -> list[list[Row]]:
    """The tokens of all prompts, as many at once as the library takes."""
    rows = [
        (token, position, sequence, position == len(prompt) - 1)
        for sequence, prompt in enumerate(prompts)
        for position, token in enumerate(prompt)
    ]
    starts = range(0, len(rows), TOKENS_AT_ONCE)
    return [rows[start : start + TOKENS_AT_ONCE] for start in starts]


def fill(batch: Any, rows: list[Row]) -> None:
    """Write rows into a ``llama_batch``."""
    batch.n_tokens = len(rows)
    for number, (token, position, sequence, wanted) in enumerate(rows):
        batch.token[number] = token
        batch.pos[number] = position
        batch.n_seq_id[number] = 1
        batch.seq_id[number][0] = sequence
        batch.logits[number] = wanted
