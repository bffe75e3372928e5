"""Texts the model in training writes, the same in a run that was stopped and resumed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gpt1.backbone import Backbone, evaluation_mode, new_backbone, require_gpt
from gpt1.config import GenerationConfig, TrainingConfig
from gpt1.generation.decode import Decoder
from gpt1.generation.stopping import CompletionBuilder
from gpt1.model import GPT
from gpt1.tokenizer import Tokenizer
from gpt1.training.distributed import sharded, whole
from gpt1.training.journal import Sample

MAX_NEW_TOKENS = 64

SAMPLING = "sample_every_steps"

NEUTRAL_START = "the"
"""Begins a text where the tokenizer has no end-of-text token to begin one after."""


def sampler(
    model: Backbone, tokenizer: Tokenizer, prompts: Sequence[str], training: TrainingConfig
) -> Callable[[], list[Sample]] | None:
    """A function that has the model continue prompts as it then is.

    Args:
        model: In training; is left as it is.
        tokenizer: Of the model.
        prompts: Beginnings of texts.
        training: Its seed is that of the draw: the same weights write the same texts.

    Returns:
        The function, or None if the run does not ask for samples.

    Raises:
        CheckpointError: If it does and the model is an LSTM, which cannot generate.
    """
    if not training.sample_every_steps:
        return None
    require_gpt(model, SAMPLING)
    return lambda: write_samples(
        require_gpt(in_one_piece(model), SAMPLING), tokenizer, prompts, training.seed
    )


def in_one_piece(model: Backbone) -> Backbone:
    """The model, or a copy of one whose weights are spread over the processes.

    Args:
        model: In all processes at once.
    """
    if not any(map(sharded, model.parameters())):
        return model
    copy = new_backbone(model.config).to(model.device)
    copy.load_state_dict({name: whole(tensor) for name, tensor in model.state_dict().items()})
    return copy


def write_samples(
    model: GPT, tokenizer: Tokenizer, prompts: Sequence[str], seed: int, n: int = 1
) -> list[Sample]:
    """Continue prompts by nucleus sampling (top_p 0.95, temperature 0.8).

    Args:
        model: Any device; is left as it is.
        tokenizer: Of the model.
        prompts: Beginnings of texts; an empty one begins after the end-of-text token, or with
            `NEUTRAL_START`.
        seed: Of the draw.
        n: Continuations of each prompt.

    Returns:
        n samples a prompt, in their order.
    """
    config = GenerationConfig(
        max_new_tokens=MAX_NEW_TOKENS, temperature=0.8, top_p=0.95, seed=seed, n=n
    )
    starts = [_start(tokenizer, prompt) for prompt in prompts]
    builders = [CompletionBuilder(tokenizer, start, config) for start in starts for _ in range(n)]
    end = tokenizer.end_of_text_id
    unnamed = range(tokenizer.vocab_size, model.config.vocab_size)
    with evaluation_mode(model):
        decoder = Decoder(
            model,
            starts,
            config,
            stop_ids=() if end is None else (end,),
            suppress={*tokenizer.special_tokens.values(), *unnamed} - {end},
        )
        for step in decoder:
            for sequence, token in step:
                builders[sequence].push(token)
    for builder in builders:
        builder.finish()
    done = [builder.completion for builder in builders]
    return [Sample(prompts[number // n], c.prompt + c.text, c.ids) for number, c in enumerate(done)]


def _start(tokenizer: Tokenizer, prompt: str) -> list[int]:
    ids = tokenizer.encode(prompt)
    if ids:
        return ids
    end = tokenizer.end_of_text_id
    return tokenizer.encode(NEUTRAL_START) if end is None else [end]
