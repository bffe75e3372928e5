"""The same weights in transformers' GPT-1, for tests that compare with it."""

from __future__ import annotations

from transformers import OpenAIGPTConfig, OpenAIGPTLMHeadModel

from gpt1.model import GPT


def twin(model: GPT) -> OpenAIGPTLMHeadModel:
    """Of the same dtype, in evaluation mode."""
    c = model.config
    config = OpenAIGPTConfig(
        vocab_size=c.vocab_size,
        n_positions=c.n_positions,
        n_embd=c.n_embd,
        n_layer=c.n_layer,
        n_head=c.n_head,
    )
    other = OpenAIGPTLMHeadModel(config).eval().to(model.dtype)
    other.transformer.load_state_dict(model.state_dict())
    return other
