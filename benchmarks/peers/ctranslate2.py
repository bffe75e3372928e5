"""CTranslate2: its specification of a decoder with norms behind the layers is GPT-1 itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.peers import Generate, shape

TITLE = "CTranslate2"
NEEDS = ("ctranslate2",)
PRECISIONS = ("float32", "int8")
FAMILY = "gpt1"
MOST_PROMPT_TOKENS = None


def prepare(checkpoint: Path, folder: Path, precision: str) -> None:
    """Convert the checkpoint."""
    import ctranslate2
    from safetensors.numpy import load_file

    config = shape(checkpoint)
    weights = load_file(checkpoint / "model.safetensors")
    weights = {name.removeprefix("transformer."): value for name, value in weights.items()}
    spec = ctranslate2.specs.TransformerDecoderModelSpec.from_config(
        config["n_layer"],
        config["n_head"],
        pre_norm=False,
        activation=ctranslate2.specs.Activation.GELUTanh,
    )
    _fill(spec.decoder, weights)
    spec.register_vocabulary([str(token) for token in range(config["vocab_size"])])
    spec.config.bos_token = spec.config.eos_token = spec.config.unk_token = "0"
    spec.validate()
    spec.optimize(quantization="int8" if precision == "int8" else None)
    spec.save(str(folder))


def _fill(decoder: Any, weights: dict[str, Any]) -> None:
    decoder.scale_embeddings = False
    decoder.embeddings.weight = weights["tokens_embed.weight"]
    decoder.projection.weight = weights["tokens_embed.weight"]
    decoder.position_encodings.encodings = weights["positions_embed.weight"]

    def linear(spec: Any, name: str) -> None:
        spec.weight = weights[f"{name}.weight"].T.copy()
        spec.bias = weights[f"{name}.bias"]

    def norm(spec: Any, name: str) -> None:
        spec.gamma, spec.beta = weights[f"{name}.weight"], weights[f"{name}.bias"]

    for number, layer in enumerate(decoder.layer):
        block = f"h.{number}"
        linear(layer.self_attention.linear[0], f"{block}.attn.c_attn")
        linear(layer.self_attention.linear[1], f"{block}.attn.c_proj")
        norm(layer.self_attention.layer_norm, f"{block}.ln_1")
        linear(layer.ffn.linear_0, f"{block}.mlp.c_fc")
        linear(layer.ffn.linear_1, f"{block}.mlp.c_proj")
        norm(layer.ffn.layer_norm, f"{block}.ln_2")


def load(folder: Path, precision: str, threads: int) -> Generate:
    """``generate_batch`` with beams of one."""
    import ctranslate2

    generator = ctranslate2.Generator(
        str(folder), compute_type=precision, inter_threads=1, intra_threads=threads
    )

    def generate(prompts: list[list[int]], new_tokens: int) -> list[list[int]]:
        results = generator.generate_batch(
            [[str(token) for token in prompt] for prompt in prompts],
            beam_size=1,
            sampling_topk=1,
            min_length=new_tokens,
            max_length=new_tokens,
            include_prompt_in_result=False,
        )
        return [list(result.sequences_ids[0]) for result in results]

    return generate
