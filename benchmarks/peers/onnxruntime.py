"""ONNX Runtime over what ``gpt1 export --format onnx`` writes; keys and values stay inside it."""

from __future__ import annotations

from pathlib import Path

from benchmarks.peers import Generate

TITLE = "ONNX Runtime"
NEEDS = ("onnxruntime", "onnx")
PRECISIONS = ("float32", "int8")
FAMILY = "gpt1"
MOST_PROMPT_TOKENS = None


def prepare(checkpoint: Path, folder: Path, precision: str) -> None:
    """Export the checkpoint."""
    import gpt1

    gpt1.export_model(checkpoint, folder, format="onnx", dtype=precision)


def load(folder: Path, precision: str, threads: int) -> Generate:
    """A loop over ``run_with_ort_values``."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=providers)
    value = onnxruntime.OrtValue.ortvalue_from_numpy
    pasts = [i for i in session.get_inputs() if i.name.startswith("past_key_values")]
    outputs = [output.name for output in session.get_outputs()]

    def generate(prompts: list[list[int]], new_tokens: int) -> list[list[int]]:
        count, begin = len(prompts), 0
        tokens = np.array(prompts, np.int64)
        found = np.empty((count, 0), np.int64)
        past = {
            i.name: value(np.zeros((count, i.shape[1], 0, i.shape[3]), np.float32)) for i in pasts
        }
        while found.shape[1] < new_tokens:
            end = begin + tokens.shape[1]
            inputs = {
                "input_ids": tokens,
                "attention_mask": np.ones((count, end), np.int64),
                "position_ids": np.broadcast_to(np.arange(begin, end), tokens.shape),
            }
            given = {name: value(np.ascontiguousarray(i)) for name, i in inputs.items()}
            logits, *present = session.run_with_ort_values(outputs, given | past)
            past = dict(zip(past, present, strict=True))
            tokens, begin = logits.numpy()[:, -1].argmax(-1)[:, None], end
            found = np.concatenate([found, tokens], axis=1)
        ids: list[list[int]] = found.tolist()
        return ids

    return generate
