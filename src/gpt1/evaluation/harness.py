"""GPT-1 as the model ``gpt1`` of lm-evaluation-harness, the field's collection of benchmarks.

Texts are cut and scored as by the harness's own `lm_eval.models.huggingface`, so that figures can
be compared; see docs/harness.md for where the two differ, and why.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from gpt1.backbone import require_gpt
from gpt1.checkpoint import load_model
from gpt1.config import GenerationConfig
from gpt1.errors import ConfigError, MissingExtraError
from gpt1.evaluation.shared_prefix import ContinuationScore, continuation_scores
from gpt1.generation.decode import Decoder
from gpt1.generation.stopping import CompletionBuilder
from gpt1.locate import locate
from gpt1.text.detokenize import END_OF_WORD
from gpt1.text.vocabulary import UNKNOWN
from gpt1.tokenizer import END_OF_TEXT, NEWLINE_PIECE, Tokenizer

PREFIX_PIECES = (END_OF_TEXT, NEWLINE_PIECE, "." + END_OF_WORD, UNKNOWN)
"""What stands for an empty context, best first: what a text, a line or a sentence comes after."""

MAX_GEN_TOKS = 256
"""Most tokens generated where a task does not say, as for the harness's own models."""

LIMITS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""Names of the number of tokens to generate; of several the first counts."""

SAMPLING = {"do_sample", "temperature", "top_k", "top_p"}
"""Settings that change nothing in greedy decoding."""

GENERATED_AT_ONCE = 32
"""Continuations that are generated together with ``batch_size="auto"``."""


class Request(Protocol):
    """What is read of an `lm_eval.api.instance.Instance`."""

    @property
    def args(self) -> tuple[Any, ...]:
        """Context and continuation, or a text, or context and settings."""


class HarnessModel:
    """What the harness asks of a model; `register` makes it an `lm_eval.api.model.LM`.

    Args:
        model: As for `gpt1.load`: ``"mini"``, a checkpoint folder or a hub id.
        revision: Branch, tag or commit of a hub id.
        device: Where the model runs.
        dtype: Number format of the weights; default as stored.
        tokenizer_mode: How text is split; default as stored.
        batch_size: Continuations that are generated together; ``"auto"`` is a good number. It
            changes no text. What is scored goes through the model by number of tokens instead.
        max_batch_size: Most with ``"auto"``.
    """

    def __init__(
        self,
        model: str | Path = "mini",
        *,
        revision: str | None = None,
        device: str = "cpu",
        dtype: str | None = None,
        tokenizer_mode: str | None = None,
        batch_size: int | str = "auto",
        max_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        given = max_batch_size if str(batch_size).startswith("auto") else int(batch_size)
        if given is not None and given < 1:
            raise ConfigError(f"batch_size is {given} but must be at least 1, or auto")
        self.generated_at_once = given or GENERATED_AT_ONCE
        folder = locate(model, revision=revision)
        self.network = load_model(folder, device=device, dtype=dtype).eval()
        self.words = Tokenizer.load(folder, tokenizer_mode)

    @classmethod
    def create_from_arg_obj(
        cls, arg_dict: Mapping[str, Any], additional_config: Mapping[str, Any] | None = None
    ) -> HarnessModel:
        """Make a model from ``--model_args``, which take precedence over the command's flags.

        Args:
            arg_dict: Arguments of this class.
            additional_config: Batch size and device from the flags; None is not given.

        Returns:
            The model.
        """
        flags = {k: v for k, v in (additional_config or {}).items() if v is not None}
        return cls(**{**flags, **arg_dict})

    @classmethod
    def create_from_arg_string(
        cls, arg_string: str, additional_config: Mapping[str, Any] | None = None
    ) -> HarnessModel:
        """The same from text such as ``model=mini,device=cpu``."""
        from lm_eval.utils import simple_parse_args_string

        return cls.create_from_arg_obj(simple_parse_args_string(arg_string), additional_config)

    def get_model_info(self) -> dict[str, Any]:
        """What the harness's file of results shall say about the model."""
        return {
            "model_num_parameters": self.network.num_parameters(),
            "model_dtype": str(self.network.dtype),
            "tokenizer_mode": self.words.mode,
            "prefix_token": self.words.pieces([self.prefix_token_id])[0],
        }

    @cached_property
    def prefix_token_id(self) -> int:
        """Id that stands for an empty context: the first of `PREFIX_PIECES` there is."""
        pieces = set(self.words.pieces(range(self.words.vocab_size)))
        return self.words.token_id(next(piece for piece in PREFIX_PIECES if piece in pieces))

    def loglikelihood(
        self, requests: Sequence[Request], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Score continuations.

        Args:
            requests: Each with a context and a continuation. The two are encoded as one text, with
                the spaces between them in the continuation, as is a token that straddles the
                boundary. Of what is too long, the beginning is left out.
            disable_tqdm: Show no progress.

        Returns:
            For each, the log-probability of the continuation in nats, and whether it is what greedy
            decoding gives.
        """
        return self._score(self._encoded([request.args for request in requests]), disable_tqdm)

    def loglikelihood_rolling(
        self, requests: Sequence[Request], disable_tqdm: bool = False
    ) -> list[float]:
        """Score whole texts, their first tokens included.

        Args:
            requests: Each with a text, which comes after the prefix token. A long one is cut into
                windows; each begins with the last token of the one before.
            disable_tqdm: Show no progress.

        Returns:
            The log-probability of each text, in nats.
        """
        texts = self.words.encode_batch(request.args[0] for request in requests)
        pairs = (([self.prefix_token_id], ids) for ids in texts)
        return [log_prob for log_prob, _ in self._score(pairs, disable_tqdm)]

    def generate_until(self, requests: Sequence[Request], disable_tqdm: bool = False) -> list[str]:
        """Continue texts greedily.

        Args:
            requests: Each with a context and settings: ``until``, strings to stop before, and one
                of `LIMITS`. So much of the context is read as leaves room for what is generated,
                but at least half the positions; then generation slides on.
            disable_tqdm: Show no progress.

        Returns:
            The continuations, lower-case and spaced for people.

        Raises:
            ConfigError: If the settings ask for more than greedy decoding.
        """
        groups: dict[GenerationConfig, list[int]] = defaultdict(list)
        for number, request in enumerate(requests):
            groups[self._settings(request.args[1])].append(number)
        contexts = self.words.encode_batch(request.args[0] for request in requests)
        texts = [""] * len(requests)
        with _progress("generate_until", "it", disable_tqdm, len(requests)) as bar:
            for config, numbers in groups.items():
                numbers.sort(key=lambda number: len(contexts[number]))
                for start in range(0, len(numbers), self.generated_at_once):
                    batch = numbers[start : start + self.generated_at_once]
                    found = self._generate([contexts[number] for number in batch], config)
                    for number, text in zip(batch, found, strict=True):
                        texts[number] = text
                    bar.update(len(batch))
        return texts

    def _encoded(self, pairs: Sequence[tuple[str, str]]) -> Iterator[tuple[list[int], list[int]]]:
        """Ids of each context and of its continuation."""
        cut = [(context.rstrip(), context + continuation) for context, continuation in pairs]
        distinct = list(dict.fromkeys(context for context, _ in cut))
        ids_of = dict(zip(distinct, self.words.encode_batch(distinct), strict=True))
        wholes = self.words.encode_stream(whole for _, whole in cut)
        for (context, whole), ids in zip(cut, wholes, strict=True):
            size = len(ids_of[context])
            if ids[:size] != ids_of[context]:
                places = self.words.encode_with_offsets(whole).offsets
                size = sum(end <= len(context) for _, end in places)
            if size == 0 and ids[:1] == [self.prefix_token_id]:
                size = 1  # the text brings its own
            yield ids[:size] or [self.prefix_token_id], ids[size:]

    def _score(
        self, pairs: Iterable[tuple[list[int], list[int]]], quiet: bool
    ) -> list[tuple[float, bool]]:
        """Log-probability of each continuation, and whether each of its tokens is the likeliest."""
        limit = self.network.config.n_positions
        cut = [list(cut_to_fit(*pair, limit)) for pair in pairs]
        parts = list(chain.from_iterable(cut))
        contexts, continuations = [p.context for p in parts], [[p.continuation] for p in parts]
        with _progress("loglikelihood", "tokens", quiet) as bar:

            def advance(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            scores = continuation_scores(self.network, contexts, continuations, advance=advance)
        found = chain.from_iterable(scores)
        return [_combined(list(islice(found, len(own)))) for own in cut]

    def _settings(self, given: Mapping[str, Any]) -> GenerationConfig:
        """What the settings of a request ask for."""
        until = given.get("until") or []
        stop = [written(text) for text in ([until] if isinstance(until, str) else until)]
        sampled = given.get("do_sample")
        if sampled is None:
            sampled = float(given.get("temperature") or 0) > 0
        more = {name: given[name] for name in given if name not in {"until", *LIMITS, *SAMPLING}}
        if sampled or more:
            raise ConfigError(
                f"the generation settings {dict(given)} ask for more than greedy decoding until a "
                "string, which is all gpt1 does in the harness; pass --gen_kwargs do_sample=False "
                "and take out what is not among until, " + ", ".join(LIMITS)
            )
        own = min(MAX_GEN_TOKS, max(1, self.network.config.n_positions // 2))
        limit = next((given[name] for name in LIMITS if given.get(name) is not None), own)
        return GenerationConfig(max_new_tokens=int(limit), stop=tuple(filter(None, stop)))

    def _generate(self, contexts: list[list[int]], config: GenerationConfig) -> list[str]:
        """The greedy continuation of each context, up to a stop string."""
        positions, end = self.network.config.n_positions, self.words.end_of_text_id
        room = max(1, positions // 2, positions - config.max_new_tokens)
        prompts = [context[-room:] or [self.prefix_token_id] for context in contexts]
        unnamed = range(self.words.vocab_size, self.network.config.vocab_size)
        suppress = {*self.words.special_tokens.values(), *unnamed} - {end}
        builders = [CompletionBuilder(self.words, prompt, config) for prompt in prompts]
        stop_ids = () if end is None else (end,)
        network = require_gpt(self.network, "generating text")
        decoder = Decoder(network, prompts, config, stop_ids=stop_ids, suppress=suppress)
        for row, token in chain.from_iterable(decoder):
            builders[row].push(token)
            if builders[row].stopped:
                decoder.end(row)
        for builder in builders:
            builder.finish()
        return [builder.completion.text for builder in builders]


def written(text: str) -> str:
    """A string in the form GPT-1 writes it: lower-case, with single newlines and no space there."""
    return re.sub(r"\s*\n\s*", "\n", text.lower())


class Part(NamedTuple):
    """What is scored at once of a continuation.

    Attributes:
        context: What is read before it, at least one id.
        continuation: At least one id; with the context, at most ``n_positions + 1``.
    """

    context: list[int]
    continuation: list[int]


def cut_to_fit(context: list[int], continuation: list[int], n_positions: int) -> Iterator[Part]:
    """Cut a pair into parts that score each token of the continuation once, in order.

    Args:
        context: At least one id.
        continuation: Any number of ids; up to ``n_positions`` of them make one part.
        n_positions: Tokens the model can read at once.

    Yields:
        Parts, each with the longest context that fits: of a long text the windows of the harness's
        `get_rolling_token_windows`.
    """
    ids = context + continuation
    for start in range(len(context), len(ids), n_positions):
        end = min(len(ids), start + n_positions)
        yield Part(ids[max(0, end - 1 - n_positions) : start], ids[start:end])


def _combined(scores: Sequence[ContinuationScore]) -> tuple[float, bool]:
    total = math.fsum(float(value) for score in scores for value in score.log_probs)
    return total, all(bool(score.likeliest.all()) for score in scores)


def _progress(doing: str, unit: str, quiet: bool, total: int | None = None) -> Any:
    """A bar as other models of the harness show it."""
    from tqdm import tqdm

    return tqdm(total=total, desc=f"Running {doing} requests", unit=unit, disable=quiet)


@cache
def register() -> type[Any]:
    """Make the model known to the harness as ``gpt1``.

    Returns:
        The class: a `HarnessModel` and an `lm_eval.api.model.LM`.

    Raises:
        MissingExtraError: If lm-eval is not installed.
    """
    try:
        from lm_eval.api.model import LM
        from lm_eval.api.registry import register_model
    except ImportError:
        raise MissingExtraError(
            'lm-evaluation-harness is not installed: pip install "gpt1[harness]"'
        ) from None
    return register_model("gpt1")(type("GPT1", (HarnessModel, LM), {}))  # type: ignore[no-any-return]
