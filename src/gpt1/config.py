"""Every setting of the package, as frozen, keyword-only dataclasses of plain data.

The text under a field is its documentation and becomes its line in ``--help``. Checks run when a
config is made, and report every problem at once.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, Literal, TypeAlias, get_args

from gpt1.errors import ConfigError

BELOW_1 = 0.999999
"""Largest decay of a running mean: at 1 it would never move."""

TokenizerMode: TypeAlias = Literal["original", "bert"]
"""How text is split: as GPT-1's authors did, or as transformers does."""

TrackerName: TypeAlias = Literal["tensorboard", "wandb", "mlflow"]
"""What a run can be followed with."""

MODES: tuple[TokenizerMode, ...] = get_args(TokenizerMode)

SAMPLERS = ("temperature", "top_k", "top_p", "min_p", "typical_p")
"""Settings of `GenerationConfig` that turn sampling on."""

GUESSES = ("prompt_lookup_num_tokens", "assistant_model")
"""Settings of `GenerationConfig` that turn speculative decoding on."""

OF_LANGUAGE_MODELS = ("seq_len", "sample_every_steps", "sample_prompts")
"""Settings of `TrainingConfig` that mean nothing to a task."""

RUN_FILE = "run.yaml"
"""The resolved settings of a run, in its folder."""


def _raise_all(problems: list[str]) -> None:
    if problems:
        raise ConfigError("; ".join(problems))


def _out_of_range(config: Any, low: float, high: float, *names: str) -> list[str]:
    """One message for each named field of ``config`` that is no number in ``[low, high]``."""
    limits = f"between {low:g} and {high:g}" if high != float("inf") else f"at least {low:g}"
    types = {field.name: str(field.type) for field in dataclasses.fields(config)}
    problems = []
    for name in names:
        value = getattr(config, name)
        whole = types[name].startswith("int")
        if value is None:
            continue
        if not isinstance(value, Integral if whole else Real):
            kind = "a whole number" if whole else "a number"
            problems.append(f"{name} is {value!r} but must be {kind}")
        elif not low <= float(value) <= high:
            problems.append(f"{name} is {value!r} but must be {limits}")
    return problems


@dataclass(frozen=True, kw_only=True)
class GPTConfig:
    """Shape of the network; the defaults are the paper's model (GPT-1 section 4.1)."""

    vocab_size: int = 40_478
    """Rows of the token table: every id is below this."""
    n_positions: int = 512
    """Longest sequence the model can take, in tokens."""
    n_embd: int = 768
    """Width of the hidden states."""
    n_layer: int = 12
    """Number of Transformer blocks."""
    n_head: int = 12
    """Attention heads of each block; must divide n_embd."""
    afn: Literal["gelu", "relu", "silu"] = "gelu"
    """Activation of the feed-forward layer; "gelu" is the tanh approximation the authors used."""
    embd_pdrop: float = 0.1
    """Dropout on the sum of token and position embeddings."""
    attn_pdrop: float = 0.1
    """Dropout on the attention weights."""
    resid_pdrop: float = 0.1
    """Dropout on the output of each attention and feed-forward layer."""
    layer_norm_epsilon: float = 1e-5
    """Added to the variance inside the square root of each layer norm."""
    initializer_range: float = 0.02
    """Standard deviation of freshly drawn weights and embeddings."""

    def __post_init__(self) -> None:
        """Refuse impossible shapes, all problems in one message."""
        inf = float("inf")
        problems = _out_of_range(
            self, 1, inf, "vocab_size", "n_positions", "n_embd", "n_layer", "n_head"
        )
        problems += _out_of_range(self, 0, 1, "embd_pdrop", "attn_pdrop", "resid_pdrop")
        problems += _out_of_range(self, 0, inf, "layer_norm_epsilon", "initializer_range")
        if self.afn not in ("gelu", "relu", "silu"):
            problems.append(f"afn is {self.afn!r} but must be 'gelu', 'relu' or 'silu'")
        if not problems and self.n_embd % self.n_head:
            divisors = [n for n in range(1, 33) if self.n_embd % n == 0]
            problems.append(
                f"n_head is {self.n_head} but must divide n_embd, which is {self.n_embd}; "
                f"try one of {divisors}"
            )
        _raise_all(problems)

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.n_embd // self.n_head

    def replace(self, **changes: object) -> GPTConfig:
        """A copy with some fields changed, checked like a new config."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class LSTMConfig:
    """Shape of the LSTM of the paper's ablation; the defaults are the paper's (GPT-1 section 5)."""

    vocab_size: int = 40_478
    """Rows of the token table: every id is below this."""
    n_positions: int = 512
    """Longest sequence that is read at once, in tokens, as for a GPT."""
    n_embd: int = 768
    """Width of the token table, which is the output layer as well."""
    n_units: int = 2048
    """Width of the LSTM's state; it is projected to n_embd."""
    embd_pdrop: float = 0.1
    """Dropout on the token embeddings."""
    resid_pdrop: float = 0.1
    """Dropout on the output of the LSTM."""
    initializer_range: float = 0.02
    """Standard deviation of freshly drawn embeddings."""

    def __post_init__(self) -> None:
        """Refuse impossible shapes, all problems in one message."""
        inf = float("inf")
        problems = _out_of_range(self, 1, inf, "vocab_size", "n_positions", "n_embd", "n_units")
        problems += _out_of_range(self, 0, 1, "embd_pdrop", "resid_pdrop")
        problems += _out_of_range(self, 1e-6, inf, "initializer_range")
        _raise_all(problems)

    def replace(self, **changes: object) -> LSTMConfig:
        """A copy with some fields changed, checked like a new config."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]


BackboneConfig: TypeAlias = GPTConfig | LSTMConfig
"""Shape of either language model."""


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """How gradients become updates."""

    name: Literal["adamw", "openai", "muon"] = "adamw"
    """AdamW for every parameter; the variant of Adam in GPT-1's released code; or Muon for the
    matrices of the blocks and AdamW for the rest."""
    beta1: float = 0.9
    """Decay of the running mean of gradients."""
    beta2: float = 0.999
    """Decay of the running mean of squared gradients."""
    epsilon: float = 1e-8
    """Added to the root of the second moment."""
    weight_decay: float = 0.01
    """Decoupled decay per update and unit of learning rate, on matrices only (section 4.1)."""
    clip_norm: float = 1.0
    """Largest global gradient norm; longer gradients are scaled down to it. 0: no clipping."""
    muon_lr: float = 0.01
    """Peak learning rate of the matrices that Muon updates; follows the same schedule as lr."""
    muon_momentum: float = 0.95
    """Momentum of Muon's running mean of gradients."""

    def __post_init__(self) -> None:
        """Refuse values no optimizer can use."""
        problems = _out_of_range(self, 0, BELOW_1, "beta1", "beta2", "muon_momentum")
        problems += _out_of_range(
            self, 0, float("inf"), "epsilon", "weight_decay", "clip_norm", "muon_lr"
        )
        if self.name not in ("adamw", "openai", "muon"):
            problems.append(
                f"optimizer.name is {self.name!r} but must be 'adamw', 'openai' or 'muon'"
            )
        _raise_all(problems)


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """How the learning rate moves over a run."""

    name: Literal["linear", "cosine", "constant", "openai"] = "linear"
    """Shape after the warm-up: linear or cosine down to final_fraction, or constant; or as in
    GPT-1's released code: linear from the first update on, which has rate 0."""
    warmup_steps: int | None = None
    """Updates over which the rate rises from 0; overrides warmup_fraction."""
    warmup_fraction: float = 0.02
    """Share of all updates over which the rate rises from 0 (the paper fine-tunes with 0.002)."""
    final_fraction: float = 0.0
    """Rate at the end of the run, as a share of the peak."""

    def __post_init__(self) -> None:
        """Refuse schedules that are not one."""
        problems = _out_of_range(self, 0, 1, "warmup_fraction", "final_fraction")
        problems += _out_of_range(self, 0, float("inf"), "warmup_steps")
        if self.name not in ("linear", "cosine", "constant", "openai"):
            problems.append(
                f"schedule.name is {self.name!r} but must be 'linear', 'cosine', 'constant' or "
                "'openai'"
            )
        _raise_all(problems)


@dataclass(frozen=True, kw_only=True)
class StatesConfig:
    """Which of the states a run can be resumed from are kept."""

    keep_last: int = 2
    """The last so many: if the newest file is damaged, the one before is used."""
    keep_every_steps: int = 0
    """Also one every so many updates, for good. 0: none."""
    keep_best: bool = False
    """Also the state of the best validation."""

    def __post_init__(self) -> None:
        """Refuse to keep none."""
        inf = float("inf")
        problems = _out_of_range(self, 1, inf, "keep_last")
        _raise_all(problems + _out_of_range(self, 0, inf, "keep_every_steps"))


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """One training run: how long, how large a step, how often to look."""

    lr: float = 6.25e-5
    """Peak learning rate (the paper fine-tunes with 6.25e-5 and pre-trains with 2.5e-4)."""
    epochs: float = 3.0
    """Passes over the training data; max_steps, where given, overrides it."""
    max_steps: int | None = None
    """Optimizer updates in the whole run."""
    batch_size: int = 32
    """Sequences per optimizer update."""
    micro_batch_size: int | None = None
    """Sequences per forward pass: fewer need less memory, same update. Default: batch_size, or, for
    a language model on a CPU, as many as have 1,024 tokens."""
    seq_len: int | None = None
    """Tokens per sequence. Default: the model's n_positions."""
    seed: int = 42
    """Seed of the data order, of dropout and of new weights."""
    device: str = "cpu"
    """Where to train: "cpu", "cuda", "cuda:1", "mps"."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of matrix products; weights stay float32 under "bf16" too."""
    activation_checkpointing: bool = False
    """Recompute each block in the backward pass instead of keeping its activations."""
    compile: bool = False
    """Compile each block (torch.compile): slower to start, faster on a GPU."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """How processes started by torchrun share a run: all hold the whole model, or a part each."""
    skip_nonfinite: int = 0
    """Leave out and count so many updates whose loss or gradient is not finite before stopping."""
    eval_every_steps: int = 100
    """Validate, and keep the best weights, every so many updates and at the end. 0: at the end."""
    eval_batches: int | None = None
    """Validation batches at most; default all."""
    patience: int | None = None
    """Stop after so many validations in a row without a better loss."""
    save_every_steps: int = 500
    """Write the state a run resumes from every so many updates and at the end. 0: at the end."""
    states: StatesConfig = field(default_factory=StatesConfig)
    """Which of these states are kept."""
    log_every_steps: int = 10
    """Write a line of metrics every so many updates."""
    snapshot_steps: tuple[int, ...] = ()
    """Also keep the model as it is after these updates (0: before the first), in
    snapshots/step-N. A list: [0,100,1000]."""
    sample_every_steps: int = 0
    """Write texts with the model every so many updates, before the first and at the end, to
    samples.jsonl. 0: never."""
    sample_prompts: tuple[str, ...] = ("",)
    """What these texts begin with; an empty one: as a text begins. A list: ["", "Once"]."""
    track: tuple[TrackerName, ...] | None = None
    """Where to follow the run beside metrics.jsonl: a list of tensorboard, wandb and mlflow; []:
    nowhere. Default: TensorBoard, where it is installed."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """How gradients become updates."""
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    """How the learning rate moves."""

    def __post_init__(self) -> None:
        """Refuse settings no run can follow, all problems in one message."""
        inf = float("inf")
        problems = _out_of_range(
            self, 0, inf, "lr", "eval_every_steps", "save_every_steps", "skip_nonfinite"
        )
        problems += _out_of_range(
            self, 1, inf, "max_steps", "batch_size", "micro_batch_size", "log_every_steps"
        )
        problems += _out_of_range(self, 0, inf, "sample_every_steps")
        problems += _out_of_range(self, 2, inf, "seq_len")
        problems += _out_of_range(self, 1, inf, "eval_batches", "patience")
        problems += _out_of_range(self, 0, 2**32 - 1, "seed")
        if not all(isinstance(step, Integral) and step >= 0 for step in self.snapshot_steps):
            problems.append(
                f"snapshot_steps is {list(self.snapshot_steps)} but each must be a whole number of "
                "at least 0"
            )
        if self.max_steps is None and not 0 < self.epochs < inf:
            problems.append(f"epochs is {self.epochs:g} but must be more than 0")
        problems += [
            f"track holds {name!r} but must hold some of {', '.join(get_args(TrackerName))}"
            for name in self.track or ()
            if name not in get_args(TrackerName)
        ]
        if not self.sample_prompts or not all(isinstance(p, str) for p in self.sample_prompts):
            problems.append(
                f"sample_prompts is {list(self.sample_prompts)} but must hold texts, at least one"
            )
        if self.precision not in ("fp32", "bf16"):
            problems.append(f"precision is {self.precision!r} but must be 'fp32' or 'bf16'")
        if self.parallel not in ("ddp", "fsdp"):
            problems.append(f"parallel is {self.parallel!r} but must be 'ddp' or 'fsdp'")
        _raise_all(problems)


@dataclass(frozen=True, kw_only=True)
class GenerationConfig:
    """How text is continued. The default is greedy; any sampling setting turns sampling on."""

    max_new_tokens: int = 50
    """Tokens to add at most."""
    min_new_tokens: int = 0
    """Tokens to add before the text may end by an end-of-text token or a stop id."""
    temperature: float | None = None
    """Divides the logits before sampling; 0 is greedy, 1 leaves the model as it is."""
    top_k: int | None = None
    """Sample among the k most likely tokens only; with penalty_alpha, the number of candidates."""
    top_p: float | None = None
    """Sample among the smallest set of tokens whose probability reaches p."""
    min_p: float | None = None
    """Sample among the tokens at least p times as probable as the most likely one."""
    typical_p: float | None = None
    """Sample among the tokens closest to the expected surprise whose probability reaches p."""
    repetition_penalty: float = 1.0
    """Divides the positive and multiplies the negative logits of ids already in the text."""
    presence_penalty: float = 0.0
    """Subtracted from the logit of every id generated before; -2 to 2."""
    frequency_penalty: float = 0.0
    """Subtracted from the logit of an id once for each time it was generated before; -2 to 2."""
    no_repeat_ngram_size: int = 0
    """No run of so many ids occurs twice in the text. 0: no limit."""
    logit_bias: tuple[tuple[int, float], ...] = ()
    """Added to the logits of single ids, -100 to 100: pairs of an id and its bias."""
    bad_words: tuple[str, ...] = ()
    """Words and phrases that are never generated, however they are split into tokens."""
    bad_words_ids: tuple[tuple[int, ...], ...] = ()
    """Runs of token ids that are never completed."""
    num_beams: int = 1
    """Continuations that beam search pursues at a time. 1: no beam search."""
    length_penalty: float = 1.0
    """Beam search ranks by log-probability over length to this power: above 0 favours long ones."""
    early_stopping: bool | Literal["never"] = False
    """When beam search ends: true, at num_beams ends; false, by estimate; "never", when certain."""
    penalty_alpha: float | None = None
    """Contrastive search: weight of unlikeness to the text so far against probability, 0 to 1."""
    prompt_lookup_num_tokens: int | None = None
    """Guess up to so many tokens at a time by what the text says earlier: faster, the same text."""
    assistant_model: str | None = None
    """Let a smaller model with the same tokenizer guess: faster, the same text."""
    n: int = 1
    """Continuations of each prompt: samples, or the best of num_beams."""
    logprobs: int | None = None
    """Report the log-probability of every token, and so many of the likeliest in its place."""
    stop: tuple[str, ...] = ()
    """Strings that end the text; they are cut off."""
    stop_ids: tuple[int, ...] = ()
    """Token ids that end the text, beside the end-of-text token; they are cut off."""
    seed: int | None = None
    """Seed of the sampling; the same seed gives the same text, whatever else is in the batch."""

    def __post_init__(self) -> None:
        """Refuse values out of range and settings that contradict each other, by name."""
        _raise_all(self._missing() or self._bad_numbers() + self._bad_lists())
        _raise_all(self._bad_biases() + self._contradictions())

    def _missing(self) -> list[str]:
        return [
            f"{field.name} is None but must have a value; the default is {field.default!r}"
            for field in dataclasses.fields(self)
            if getattr(self, field.name) is None and field.default is not None
        ]

    def _bad_numbers(self) -> list[str]:
        inf = float("inf")
        problems = _out_of_range(self, 1, inf, "max_new_tokens", "top_k", "num_beams", "n")
        problems += _out_of_range(self, 1, inf, "prompt_lookup_num_tokens")
        problems += _out_of_range(self, 0, inf, "min_new_tokens", "no_repeat_ngram_size")
        problems += _out_of_range(self, 0, inf, "logprobs", "temperature", "repetition_penalty")
        problems += _out_of_range(self, 0, 1, "top_p", "min_p", "typical_p", "penalty_alpha")
        problems += _out_of_range(self, -2, 2, "presence_penalty", "frequency_penalty")
        problems += _out_of_range(self, -10, 10, "length_penalty")
        problems += _out_of_range(self, -inf, inf, "seed")
        if self.top_p == 0 or self.typical_p == 0:
            name = "top_p" if self.top_p == 0 else "typical_p"
            problems.append(f"{name} is {getattr(self, name)!r} but must be above 0 and at most 1")
        if self.repetition_penalty == 0:
            problems.append("repetition_penalty is 0 but must be above 0; 1 changes nothing")
        for name in ("temperature", "repetition_penalty"):
            if getattr(self, name) in (inf, -inf):
                problems.append(f"{name} is {getattr(self, name)} but must be finite")
        return problems

    def _bad_lists(self) -> list[str]:
        problems = [
            f"{name} holds {text!r} but must hold strings"
            for name in ("stop", "bad_words")
            for text in getattr(self, name)
            if not isinstance(text, str)
        ]
        if "" in self.stop:
            problems.append("stop holds an empty string, which would end every text at once")
        if any(isinstance(text, str) and not text.strip() for text in self.bad_words):
            problems.append("bad_words holds a blank string; give words or phrases")
        problems += [
            f"bad_words_ids holds {word!r} but must hold runs of ids, none empty"
            for word in self.bad_words_ids
            if not word or not isinstance(word, tuple)
        ]
        problems += [
            f"logit_bias holds {pair!r} but must hold pairs of an id and a bias"
            for pair in self.logit_bias
            if not isinstance(pair, tuple) or len(pair) != 2
        ]
        if self.early_stopping not in (True, False, "never"):
            problems.append(
                f"early_stopping is {self.early_stopping!r} but must be true, false or 'never'"
            )
        return problems

    def _bad_biases(self) -> list[str]:
        return [
            f"logit_bias of id {token} is {bias!r} but must be between -100 and 100"
            for token, bias in self.logit_bias
            if not isinstance(bias, Real) or not -100 <= bias <= 100
        ]

    def _contradictions(self) -> list[str]:
        beams, contrastive = self.num_beams > 1, self.penalty_alpha is not None
        samplers = [name for name in SAMPLERS if getattr(self, name) is not None]
        of_beams = {"length_penalty": 1.0, "early_stopping": False}
        unread = [name for name, default in of_beams.items() if getattr(self, name) != default]
        rules = [
            (
                self.min_new_tokens > self.max_new_tokens,
                f"min_new_tokens is {self.min_new_tokens} but max_new_tokens is "
                f"{self.max_new_tokens}; it cannot be more",
            ),
            (
                beams and contrastive,
                f"penalty_alpha is {self.penalty_alpha} and num_beams is {self.num_beams}, but "
                "contrastive search has no beams; set one of them",
            ),
            (
                beams and self.samples,
                f"num_beams is {self.num_beams} but {' and '.join(samplers)} would sample, and "
                "beam search does not; leave one of them out",
            ),
            (
                contrastive and self.temperature != 0 and samplers not in ([], ["top_k"]),
                f"penalty_alpha is {self.penalty_alpha} but {' and '.join(samplers)} would sample, "
                "and contrastive search does not; set top_k alone",
            ),
            (
                contrastive and self.top_k is None,
                f"penalty_alpha is {self.penalty_alpha} but top_k, the number of candidates of "
                "contrastive search, is not set; 4 is usual",
            ),
            (
                contrastive and self.n > 1,
                f"n is {self.n} but contrastive search (penalty_alpha) has one answer; set n to 1",
            ),
            (
                beams and self.n > self.num_beams,
                f"n is {self.n} but must be at most num_beams, which is {self.num_beams}",
            ),
            (
                self.n > 1 and not (self.samples or beams or contrastive),
                f"n is {self.n} but greedy decoding has one answer; set temperature, top_k, top_p, "
                "min_p or typical_p to sample, or num_beams",
            ),
            (
                unread and not beams,
                f"{' and '.join(unread)} would not be read: only beam search does, so set num_beams"
                " above 1 as well",
            ),
        ]
        return [problem for wrong, problem in (*rules, *self._rules_of_guesses()) if wrong]

    def _rules_of_guesses(self) -> list[tuple[bool, str]]:
        guesses = [name for name in GUESSES if getattr(self, name) is not None]
        search = "num_beams" if self.num_beams > 1 else "penalty_alpha"
        searches = self.num_beams > 1 or self.penalty_alpha is not None
        return [
            (
                bool(guesses) and searches,
                f"{search} is {getattr(self, search)} but {' and '.join(guesses)} would guess "
                "tokens, which only greedy decoding and sampling check; leave one of them out",
            ),
            (
                len(guesses) > 1,
                f"{' and '.join(guesses)} would both guess tokens; set one of them",
            ),
        ]

    @property
    def guesses(self) -> bool:
        """Whether tokens are guessed and checked together."""
        return any(getattr(self, name) is not None for name in GUESSES)

    @property
    def samples(self) -> bool:
        """Whether tokens are drawn at random rather than by highest probability."""
        if self.temperature == 0 or self.penalty_alpha is not None:
            return False
        return any(getattr(self, name) is not None for name in SAMPLERS)


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """Which texts a language model is fine-tuned on, and how they look to it."""

    data: str
    """A .csv, .tsv, .jsonl or .txt file (also .gz, .xz) or a folder of them."""
    text_column: str | None = None
    """Column that holds the text. Default: found by name or length, and said."""
    valid_data: str | None = None
    """Texts to validate on. Default: valid_fraction of the data is held out."""
    valid_fraction: float = 0.05
    """Share of the texts held out for validation, between 0 (none) and 0.5."""
    prefix: str = ""
    """Put before every text, for example "JOKE: "."""
    end_token: str | None = "<|endoftext|>"
    """Special token put behind every text, so that generation knows where to stop."""
    max_texts: int | None = None
    """Use only the first so many texts."""
    tokenizer_mode: TokenizerMode | None = None
    """How text is split. Default: as stored with the model; saved with the new one."""

    def __post_init__(self) -> None:
        """Refuse shares that leave nothing to train on."""
        problems = _out_of_range(self, 0, 0.5, "valid_fraction")
        problems += _out_of_range(self, 1, float("inf"), "max_texts")
        _raise_all(problems)


@dataclass(frozen=True, kw_only=True)
class CleaningConfig:
    """What is done to documents, and which are left out, before they become tokens.

    The defaults suit books that somebody has chosen: each is kept whole. Pages of the web want
    more: min_words, max_symbol_share, max_repeated_lines, language and near_duplicates.
    """

    repair: bool = True
    """Undo mojibake, HTML entities, odd widths and curly quotes, as the paper does with ftfy."""
    gutenberg: bool = True
    """Cut what Project Gutenberg prints before and after a book."""
    min_words: int = 0
    """Fewest words of a document; 50 is usual for the web."""
    max_symbol_share: float = 1.0
    """Largest share of symbols (code, markup, emoji) among the characters that are not blank; 0.1
    is usual for the web."""
    max_repeated_lines: float = 1.0
    """Largest share of the text in lines that repeat an earlier line of the document; 0.3 is usual
    for the web."""
    language: str | None = None
    """Language to keep, such as "en"; needs gpt1[data]. Default: any, since books are chosen."""
    exact_duplicates: bool = True
    """Leave out documents that equal an earlier one but for case and blanks."""
    near_duplicates: float | None = None
    """Share of five-word sequences in common with an earlier document (Jaccard) from which one is
    left out; 0.8 is usual for the web; needs gpt1[data]. Default: they are kept."""
    seed: int = 0
    """Of the hashes by which near duplicates are found."""

    def __post_init__(self) -> None:
        """Refuse shares that are none and languages that are not written as codes."""
        inf = float("inf")
        problems = _out_of_range(self, 0, inf, "min_words")
        problems += _out_of_range(self, 0, 2**32 - 1, "seed")
        problems += _out_of_range(self, 0, 1, "max_symbol_share", "max_repeated_lines")
        problems += _out_of_range(self, 0.1, 1, "near_duplicates")
        if self.language is not None and not re.fullmatch("[a-z]{2,3}", self.language):
            problems.append(
                f"language is {self.language!r} but must be a code of ISO 639 such as 'en'"
            )
        _raise_all(problems)


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """How files of text become token shards."""

    tokenizer: str | None = None
    """Model or folder whose tokenizer is used. Default: a new one is trained on the texts."""
    vocab_size: int = 8192
    """Entries of a new tokenizer."""
    tokenizer_mode: TokenizerMode | None = None
    """How text is split. Default: as stored with the tokenizer; "bert" for a new one."""
    text_column: str | None = None
    """Column that holds the text. Default: found by name or length, and said."""
    license: str | None = None
    """Licence of all inputs, for the index. Default: of each document, where its file says it."""
    valid_fraction: float = 0.01
    """Share of the documents held out for validation, between 0 (none) and 0.5."""
    clean: CleaningConfig = field(default_factory=CleaningConfig)
    """What is done to the documents, and which are left out."""

    def __post_init__(self) -> None:
        """Refuse sizes that do not fit a shard."""
        problems = _out_of_range(self, 0, 0.5, "valid_fraction")
        problems += _out_of_range(self, 2, 2**16, "vocab_size")
        _raise_all(problems)


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """What `gpt1 data prepare` asks Slurm or Ray for."""

    parts: int | None = None
    """Parts the work is cut into. Default: four for each worker, so that none waits for long."""
    cpus_per_task: int = 1
    """Cores for each part."""
    mem_per_cpu_gb: int = 2
    """Memory for each of these cores, in GB."""
    partition: str | None = None
    """Slurm only, and needed there: partition the jobs are sent to."""
    time: str = "24:00:00"
    """Slurm only: longest time of a part, as hours:minutes:seconds."""
    account: str | None = None
    """Slurm only: account the jobs are charged to. Default: that of the user."""

    def __post_init__(self) -> None:
        """Refuse to ask for nothing."""
        sizes = "parts", "cpus_per_task", "mem_per_cpu_gb"
        _raise_all(_out_of_range(self, 1, float("inf"), *sizes))


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """What the outputs of a task model mean; stored with its weights."""

    layout: Literal["text", "pair", "similarity", "choice"]
    """How an example becomes sequences, see `gpt1.tasks.example`."""
    classes: tuple[str, ...] = ()
    """Names of the classes, in the order of the outputs; none for values and choices."""
    label_mean: float = 0.0
    """Mean of the values of the training data: an output of 0 stands for it."""
    label_std: float = 1.0
    """Their standard deviation, which an output of 1 stands for."""
    clf_pdrop: float = 0.1
    """Dropout on the vector the head reads."""
    task: str = ""
    """Name of the task."""

    def __post_init__(self) -> None:
        """Refuse heads that cannot be."""
        problems = _out_of_range(self, 0, 1, "clf_pdrop")
        if len(self.classes) == 1:
            problems.append(
                f"classes is {self.classes} but there must be two or more to choose from"
            )
        if not self.label_std > 0:
            problems.append(f"label_std is {self.label_std!r} but must be more than 0")
        _raise_all(problems)

    @property
    def kind(self) -> Literal["class", "value", "choice"]:
        """What is predicted."""
        if self.layout == "choice":
            return "choice"
        return "class" if self.classes else "value"

    @property
    def n_outputs(self) -> int:
        """Outputs of the linear layer: one a class; one for a value, or for each option."""
        return len(self.classes) or 1


@dataclass(frozen=True, kw_only=True)
class TaskSource:
    """Which labelled examples a model is fine-tuned on."""

    data: str
    """Folder of the task's files, one file of examples of your own (.csv, .tsv, .jsonl, also .gz,
    .xz), or a data set on the hub: "hub:" for the usual one of the task, or owner/name."""
    task: str | None = None
    """Name of a task of the paper. Default: your own, told by the columns of the data."""
    valid_data: str | None = None
    """Examples to validate on. Default: the dev split of the folder, else a part held out."""
    columns: str | None = None
    """Columns of your own data, as "text=review,label=stars"; the names on the left are text, or
    first and second, or context, option1, option2, ...; and label. Default: told by their names."""
    layout: Literal["pair", "similarity"] | None = None
    """How two texts of your own data are read: in their order, or as equals in both orders.
    Default: in their order."""


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """How a model is fine-tuned on labelled examples (GPT-1 sections 3.2 and 3.3)."""

    lm_coef: float = 0.5
    """Weight of the language-model loss beside that of the task; 0 leaves it out."""
    transfer_layers: int | None = None
    """Keep the embeddings and the first so many blocks of the model and draw the rest anew; -1
    draws everything anew. Default: keep all."""
    class_weights: dict[str, float] | Literal["balanced"] | None = None
    """What the loss of each class is multiplied with, by its name; 1 where a class is left out.
    "balanced": every class counts the same in the loss, however many examples it has."""
    clf_pdrop: float = 0.1
    """Dropout before the head."""
    pdrop: float = 0.1
    """Dropout inside the network: on embeddings, attention weights and residual branches."""
    max_train: int | None = None
    """Use only so many training examples, drawn by the seed."""
    max_valid: int | None = None
    """Use only so many validation examples, likewise."""
    valid_fraction: float = 0.1
    """Share of the training examples held out, where the data has no validation examples."""
    tokenizer_mode: TokenizerMode | None = None
    """How text is split. Default: as stored with the model; saved with the new one."""

    def __post_init__(self) -> None:
        """Refuse values out of range, all problems in one message."""
        inf = float("inf")
        problems = _out_of_range(self, 0, inf, "lm_coef")
        problems += _out_of_range(self, -1, inf, "transfer_layers")
        problems += _out_of_range(self, 0, 1, "clf_pdrop", "pdrop")
        problems += _out_of_range(self, 1, inf, "max_train", "max_valid")
        problems += _out_of_range(self, 0, 0.9, "valid_fraction")
        _raise_all(problems + self._bad_class_weights())

    def _bad_class_weights(self) -> list[str]:
        weights = self.class_weights
        if isinstance(weights, dict):
            return [
                f"class_weights of {name!r} is {weight!r} but must be a number of at least 0"
                for name, weight in weights.items()
                if not (isinstance(weight, int | float) and 0 <= weight < float("inf"))
            ]
        if weights in (None, "balanced"):
            return []
        return [
            f"class_weights is {weights!r} but must be 'balanced', a weight for each class, or None"
        ]
