"""A model with its tokenizer: text in, text or figures out. `gpt1.load` makes one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from gpt1.config import BackboneConfig, GenerationConfig, GPTConfig
from gpt1.errors import ConfigError, DataError
from gpt1.generation.bad_words import BadWords
from gpt1.generation.decode import Decoder, replay
from gpt1.generation.readers import Network
from gpt1.generation.scores import Scores
from gpt1.generation.settings import Settings, generation_config
from gpt1.generation.speculative import SpeculativeDecoder
from gpt1.generation.stopping import Completion, CompletionBuilder
from gpt1.hf_config import read_config
from gpt1.locate import CONFIG, locate
from gpt1.native.library import FORMATS, kernels
from gpt1.native.model import NativeModel, supports
from gpt1.native_checkpoint import (
    fingerprint,
    from_module,
    open_folder,
    quantization_of,
    runs_natively,
)
from gpt1.text.detokenize import END_OF_WORD
from gpt1.tokenizer import Tokenizer

if TYPE_CHECKING:
    import torch
    from typing_extensions import Unpack

    from gpt1.backbone import Backbone
    from gpt1.evaluation.explaining import Explanation
    from gpt1.evaluation.scoring import Document, Perplexity, Score
    from gpt1.int8 import Int8GPT
    from gpt1.model import GPT

QUANTIZED = ("int8", "int4")
"""Number formats of quantized weights."""

BACKENDS = ("auto", "native", "torch")
"""What computes on a CPU: the C++ library where it can, always, or never."""

SEQUENCES_AT_ONCE = 32
"""Continuations that are generated together; more prompts than that are taken in turn."""

Texts: TypeAlias = "list[str] | tuple[str, ...]"
"""Several texts. Not any sequence: a lone string is one as well."""


class LanguageModel:
    """GPT-1, or the LSTM it was compared with, and its tokenizer.

    Args:
        model: The network; is put in evaluation mode. None if `ready` and `source` are given.
        tokenizer: The one it was trained with.
        backend: One of `BACKENDS`.
        ready: The same network, ready for the C++ library, or quantized.
        source: Reads the torch module when it is first needed.

    Attributes:
        tokenizer: Text to ids and back.
    """

    def __init__(
        self,
        model: Backbone | None,
        tokenizer: Tokenizer,
        *,
        backend: str = "auto",
        ready: NativeModel | Int8GPT | None = None,
        source: Callable[[], Backbone] | None = None,
    ) -> None:
        self._model = None if model is None else model.eval()
        self.tokenizer = tokenizer
        self._backend, self._ready, self._source = backend, ready, source
        self._fingerprint: int | None = None
        self._assistant: tuple[object, LanguageModel] | None = None  # as given last, and opened

    @property
    def model(self) -> Backbone:
        """The torch module: ``model(input_ids).logits`` is ``(B, T, V)``.

        Of a model that was loaded for the C++ library it is read when it is first asked for.
        Changes of its weights count from the next call on, unless the model is quantized: then it
        is a copy in float, to look at.
        """
        if self._model is None:
            assert self._source is not None
            self._model = self._source().eval()
            if not self.quantized:
                self._fingerprint = fingerprint(self._model)
        return self._model

    @property
    def quantized(self) -> str | None:
        """Number format of quantized weights, "int8" or "int4"; None in float."""
        form = None if self._ready is None else self._ready.form
        return form if form in QUANTIZED else None

    def _network(self) -> Backbone | NativeModel:
        """What computes: the C++ library where it can, with the weights as they are now."""
        module = self._model
        if module is None or self.quantized:
            assert self._ready is not None
            return self._ready
        if self._backend == "torch" or not runs_natively(module):
            return module
        found = fingerprint(module)
        if self._ready is None or self._fingerprint != found:
            self._ready, self._fingerprint = from_module(module), found
        return self._ready

    @property
    def generator(self) -> Network:
        """What computes when text is generated.

        It has the weights as they are when this is asked for.

        Raises:
            CheckpointError: If the model is an LSTM.
        """
        network = self._network()
        if isinstance(network, NativeModel):
            return network
        from gpt1.backbone import require_gpt

        return require_gpt(network, "generation")

    @property
    def _config(self) -> BackboneConfig:
        if self._ready is not None:
            return self._ready.config
        return self.model.config

    @overload
    def generate(
        self, prompt: str, *, include_prompt: bool = ..., **settings: Unpack[Settings]
    ) -> str: ...
    @overload
    def generate(
        self, prompt: Texts, *, include_prompt: bool = ..., **settings: Unpack[Settings]
    ) -> list[str]: ...
    @overload
    def generate(
        self,
        prompt: str | Texts,
        *,
        n: int,
        include_prompt: bool = ...,
        **settings: Unpack[Settings],
    ) -> Any: ...
    def generate(
        self,
        prompt: str | Texts,
        *,
        n: int = 1,
        include_prompt: bool = True,
        **settings: Unpack[Settings],
    ) -> Any:
        """Continue one text, or each of several.

        The result begins with the prompt as the model read it, lower-case and respaced:
        ``generate("Hello, my dog")`` starts with ``hello, my dog``.

        Args:
            prompt: Text or texts. An empty one needs a tokenizer with an end-of-text token, after
                which the model then begins a new text.
            n: Continuations of each prompt; more than 1 needs sampling or beam search.
            include_prompt: False returns the continuations alone, usually with a leading space.
            **settings: As in `GenerationConfig`; ``stop`` and ``bad_words`` may be one string,
                ``logit_bias`` a mapping and ``assistant_model`` a `LanguageModel`, or what `load`
                takes. The prompt may hold stop strings. A text also ends at the
                end-of-text token. With a seed, a prompt has the same continuations alone and among
                others.

        Returns:
            A string for a string and a list for a list; with n above 1, a list for each prompt.

        Raises:
            ConfigError: If a setting is unknown or out of range.
            CheckpointError: If the model is an LSTM.
            DataError: If a prompt is empty and the tokenizer has no end-of-text token.
        """
        texts = [
            [(c.prompt if include_prompt else "") + c.text for c in completions]
            for completions in self.complete(prompt, n=n, **settings)
        ]
        results = texts if n > 1 else [text for (text,) in texts]
        return results[0] if isinstance(prompt, str) else results

    def stream(
        self, prompt: str, *, include_prompt: bool = True, **settings: Unpack[Settings]
    ) -> Iterator[str]:
        """Continue a text, handing out each piece as soon as it is final.

        Beam search decides at the end, and its continuation comes in one piece.

        Args:
            prompt: Text.
            include_prompt: As for `generate`.
            **settings: As for `generate`.

        Returns:
            Pieces of text, none empty; joined, they are what `generate` returns.

        Raises:
            Gpt1Error: As `generate` does; at once, not when the first piece is read.
        """
        config, assistant = self._configured(settings)
        if config.n > 1:
            raise ConfigError(f"n is {config.n} but a stream is one text; use generate for several")
        builder = self._builder(prompt, config)
        steps = self._steps([builder], config, assistant)
        return _growth(steps, builder.completion, include_prompt)

    def complete(
        self, prompts: str | Texts, *, n: int = 1, **settings: Unpack[Settings]
    ) -> list[list[Completion]]:
        """Continue texts and return ids and the reason of each end as well: `generate` in full.

        Args:
            prompts: One text or several.
            n: Continuations of each.
            **settings: As for `generate`.

        Returns:
            n continuations for each prompt, of beam search the best first, and fewer if the
            settings allow no more.

        Raises:
            Gpt1Error: As `generate` does.
        """
        config, assistant = self._configured({"n": n, **settings})
        prompts = [prompts] if isinstance(prompts, str) else prompts
        builders = [[self._builder(prompt, config) for _ in range(n)] for prompt in prompts]
        by_length = sorted(builders, key=lambda group: len(group[0].completion.prompt_ids))
        candidates = 1 if config.penalty_alpha is None else config.top_k or 1
        size = max(1, SEQUENCES_AT_ONCE // max(n, config.num_beams, candidates))
        for start in range(0, len(by_length), size):
            batch = [builder for group in by_length[start : start + size] for builder in group]
            for _ in self._steps(batch, config, assistant):
                pass
        completions = [[builder.completion for builder in group] for group in builders]
        return [[c for c in group if c.finish_reason is not None] for group in completions]

    def prompt_ids(self, prompt: str | Sequence[int]) -> list[int]:
        """What the model reads of a prompt.

        Args:
            prompt: Text, or token ids.

        Returns:
            Its ids; the end-of-text token for an empty one.

        Raises:
            DataError: If the prompt is empty and the tokenizer has no end-of-text token.
        """
        ids = self.tokenizer.encode(prompt) if isinstance(prompt, str) else list(prompt)
        if not ids and self.tokenizer.end_of_text_id is not None:
            ids = [self.tokenizer.end_of_text_id]
        if not ids:
            raise DataError(
                f"the prompt {prompt!r} has no tokens, and this model has no end-of-text token to "
                "begin a text with; give at least one word"
            )
        return ids

    def _builder(self, prompt: str, config: GenerationConfig) -> CompletionBuilder:
        return CompletionBuilder(self.tokenizer, self.prompt_ids(prompt), config)

    def _configured(
        self, settings: Mapping[str, Any]
    ) -> tuple[GenerationConfig, LanguageModel | None]:
        """What the settings say, and the assistant among them."""
        given = settings.get("assistant_model")
        name = "of this call" if isinstance(given, LanguageModel) else given and str(given)
        config = generation_config(**{**settings, "assistant_model": name})
        return config, None if config.assistant_model is None else self._assistant_of(given)

    def _assistant_of(self, given: Any) -> LanguageModel:
        """A model that may guess for this one; the last one is kept.

        Raises:
            ConfigError: If it has another vocabulary.
        """
        if self._assistant is None or self._assistant[0] != given:
            lm = given
            if not isinstance(given, LanguageModel):
                network = self._network()
                device = "cpu" if isinstance(network, NativeModel) else network.device
                lm = load(given, device=device, backend=self._backend)
            if _pieces(lm) != _pieces(self):
                raise ConfigError(
                    f"assistant_model has another vocabulary, of {lm.tokenizer.vocab_size} tokens "
                    f"where the model has {self.tokenizer.vocab_size}; it has to be a model with "
                    "the same tokenizer"
                )
            self._assistant = given, lm
        return self._assistant[1]

    def _steps(
        self,
        builders: list[CompletionBuilder],
        config: GenerationConfig,
        assistant: LanguageModel | None,
    ) -> Iterator[None]:
        """Generate for n builders a prompt; yields before the first token and as texts grow."""
        prompts = [builder.completion.prompt_ids for builder in builders[:: config.n]]
        limits = self.limits(config)
        if config.guesses:
            draft = None if assistant is None else assistant.generator
            return _run(
                SpeculativeDecoder(self.generator, prompts, config, draft, **limits), builders
            )
        if config.num_beams == 1 and config.penalty_alpha is None:
            return _run(Decoder(self.generator, prompts, config, **limits), builders)
        from gpt1.backbone import require_gpt
        from gpt1.generation.contrastive import ContrastiveDecoder

        model = require_gpt(self.model, "generation")
        if config.num_beams == 1:
            return _run(ContrastiveDecoder(model, prompts, config, **limits), builders)
        Scores(model.config.vocab_size, config, **limits)  # refuses wrong ids now, not later
        return _beam_search(model, prompts, builders, config, limits)

    def limits(self, config: GenerationConfig) -> dict[str, Any]:
        """What the tokenizer says about ids: which end a text, which may not occur.

        Args:
            config: May forbid words.

        Returns:
            Arguments of `gpt1.generation.scores.Scores`.
        """
        end_of_text = self.tokenizer.end_of_text_id
        special = self.tokenizer.special_tokens.values()
        unnamed = range(self.tokenizer.vocab_size, self._config.vocab_size)
        return {
            "stop_ids": () if end_of_text is None else (end_of_text,),
            "suppress": {*special, *unnamed} - {end_of_text},
            "bad_words": self._bad_words(config.bad_words) if config.bad_words else None,
        }

    def _bad_words(self, texts: Sequence[str]) -> BadWords:
        pieces = self.tokenizer.pieces(range(self.tokenizer.vocab_size))
        words = ["".join(pieces[i] for i in self.tokenizer.encode(text)) for text in texts]
        if "" in words:
            raise ConfigError(
                f"bad_words holds {texts[words.index('')]!r}, which has no tokens; leave it out"
            )
        for token in self.tokenizer.special_tokens.values():
            pieces[token] = END_OF_WORD  # special tokens are no part of any word
        return BadWords([word.replace(END_OF_WORD, "") for word in words], pieces)

    @overload
    def score(self, texts: str) -> Score: ...
    @overload
    def score(self, texts: Texts) -> list[Score]: ...
    def score(self, texts: str | Texts) -> Score | list[Score]:
        """Log-probability of every token of each text.

        Args:
            texts: One text or several, of any length; long ones are read in overlapping windows
                (see `gpt1.evaluation.scoring`).

        Returns:
            A `Score` for a string and a list for a list.
        """
        if isinstance(texts, str):
            return self.score([texts])[0]
        from gpt1.evaluation.scoring import score_ids

        return score_ids(self._network(), self.tokenizer.encode_batch(texts))

    def perplexity(
        self,
        texts_or_path: str | Path | Iterable[str],
        *,
        text_column: str | None = None,
        prefix: str = "",
        stride: int | None = None,
        documents: Callable[[Document], object] | None = None,
        advance: Callable[[int], object] | None = None,
        seed: int = 0,
    ) -> Perplexity:
        """How well the model predicts texts: per token, per character and per byte.

        Args:
            texts_or_path: Texts, or the path of a file or folder that `TextSource` can read (a
                ``.txt`` file is one text). A lone string is a path.
            text_column: Of a csv or jsonl file.
            prefix: Put in front of every text.
            stride: Tokens the window slides by in a text that is too long to be read at once, from
                1, exact, to ``n_positions``, fastest; default: ``n_positions // 2``.
            documents: Called with the figures of each text, for example ``list.append``.
            advance: Called now and then with the number of tokens just scored.
            seed: Of the resampling that gives the confidence interval.

        Returns:
            A `Perplexity`. A first token has nothing before it and is not scored.

        Raises:
            ConfigError: If the stride is out of range.
            DataError: If the file cannot be read or no text has two tokens.
        """
        from gpt1.data.sources import TextSource
        from gpt1.evaluation.scoring import perplexity

        named: Iterable[tuple[str | None, str]] = (
            TextSource(texts_or_path, text_column).named()
            if isinstance(texts_or_path, (str, Path))
            else ((None, text) for text in texts_or_path)
        )
        for_names, for_texts = tee(named)
        texts = (prefix + text for _, text in for_texts)
        return perplexity(
            self._network(),
            ((text, self.tokenizer.encode(text)) for text in texts),
            names=(name for name, _ in for_names),
            stride=stride,
            documents=documents,
            advance=advance,
            seed=seed,
        )

    def explain(self, text: str | Sequence[int], top: int = 5) -> Explanation:
        """What the model expected in each place of a text, and how it came to expect it.

        Args:
            text: Text, or token ids.
            top: Alternatives a place, at least 1.

        Returns:
            A sequence with an entry for each token: its probability, surprisal (bits) and rank
            given those before it, and the most probable tokens in its place. It also has ``next``,
            the logit ``lens``, the ``attentions`` of every head, and ``save_html``.

        Raises:
            Gpt1Error: If ``top`` is below 1, an id is outside the vocabulary or the model an LSTM.
        """
        from gpt1.backbone import require_gpt
        from gpt1.evaluation.explaining import explain_ids

        ids = self.tokenizer.encode(text) if isinstance(text, str) else list(text)
        return explain_ids(require_gpt(self.model, "an explanation"), ids, self.tokenizer, top)

    def save(self, folder: str | Path) -> None:
        """Write a checkpoint folder that `gpt1.load` and, for a GPT, transformers can read.

        The weights are written in float, also those of a quantized model: see `gpt1.export_model`.

        Args:
            folder: Where to.
        """
        from gpt1 import checkpoint

        checkpoint.save_model(folder, self.model, self.tokenizer)


def _pieces(lm: LanguageModel) -> list[str]:
    return lm.tokenizer.pieces(range(lm.tokenizer.vocab_size))


def _beam_search(
    model: GPT,
    prompts: list[list[int]],
    builders: list[CompletionBuilder],
    config: GenerationConfig,
    limits: dict[str, Any],
) -> Iterator[None]:
    from gpt1.generation.beam import beam_search

    yield
    found = beam_search(model, prompts, config, **limits)
    for number, group in enumerate(found):
        # Where the settings allow less than n continuations, builders are left over.
        for builder, hypothesis in zip(builders[number * config.n :], group, strict=False):
            for token in hypothesis.ids:
                builder.push(token)
                if builder.stopped:
                    break
            builder.finish()
    if config.logprobs is not None:
        for builder in builders:
            prompt, ids = builder.completion.prompt_ids, builder.completion.ids
            for score in replay(model, prompt, ids, config.logprobs):
                builder.add_score(score)
    yield


def _run(decoder: Decoder, builders: list[CompletionBuilder]) -> Iterator[None]:
    """Decode to the end; yields before the first token, after each step and at the end."""
    yield
    for step in decoder:
        for sequence, token in step:
            builders[sequence].push(token)
            if decoder.scores:
                builders[sequence].add_score(decoder.scores[sequence])
            if builders[sequence].stopped:
                decoder.end(sequence)
        yield
    for builder in builders:
        builder.finish()
    yield


def _growth(steps: Iterator[None], completion: Completion, include_prompt: bool) -> Iterator[str]:
    """What each step adds to the text."""
    sent = 0
    for _ in steps:
        text = (completion.prompt if include_prompt else "") + completion.text
        if len(text) > sent:
            yield text[sent:]
        sent = len(text)


def load(
    model: str | Path = "mini",
    *,
    revision: str | None = None,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype | None = None,
    quantize: str | None = None,
    backend: str = "auto",
    tokenizer_mode: str | None = None,
) -> LanguageModel:
    """Load a model with its tokenizer.

    Args:
        model: ``"mini"`` (comes with the package), a checkpoint folder, or a Hugging Face hub id
            such as ``"openai-community/openai-gpt"``.
        revision: Branch, tag or commit of a hub id.
        device: Where to put it: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
        dtype: Number format of the weights; default as stored.
        quantize: ``"int8"`` or, on the CPU, ``"int4"``: keep the matrices in so many bits. The
            weights of a quantized checkpoint stay as they are. On a GPU, ``dtype`` is the format
            of all else.
        backend: What computes on the CPU: ``"native"``, the C++ library, which generates and scores
            without torch; ``"torch"``; or ``"auto"``, the library where it can.
        tokenizer_mode: How text is split, ``"original"`` or ``"bert"``; default: as stored, see
            `Tokenizer.load`.

    Returns:
        The model, in evaluation mode.

    Raises:
        ConfigError: If there is no such device, number format or backend, or it cannot be used for
            this model.
        CheckpointError: If the checkpoint is missing, incomplete or damaged.
        TokenizerError: If its tokenizer cannot be read.
    """
    if backend not in BACKENDS:
        raise ConfigError(f"backend is {backend!r} but must be one of {', '.join(BACKENDS)}")
    if quantize not in (None, *QUANTIZED):
        raise ConfigError(f"quantize is {quantize!r} but must be one of {', '.join(QUANTIZED)}")
    folder = locate(model, revision=revision)

    def source() -> Backbone:
        from gpt1 import checkpoint

        return checkpoint.load_model(folder, device=device, dtype=dtype)

    with ThreadPoolExecutor(1) as beside:  # Python reads the tokenizer while C++ lays out weights
        reading = beside.submit(Tokenizer.load, folder, tokenizer_mode)
        ready = _open_ready(folder, str(device), _name(dtype), quantize, backend)
        network = source() if ready is None else None
        tokenizer = reading.result()
    return LanguageModel(network, tokenizer, backend=backend, ready=ready, source=source)


def _name(dtype: str | torch.dtype | None) -> str | None:
    return None if dtype is None else str(dtype).removeprefix("torch.")


def _open_ready(
    folder: Path, device: str, dtype: str | None, quantize: str | None, backend: str
) -> NativeModel | Int8GPT | None:
    """The model for the C++ library, or in int8 for torch; None if torch is to have it in float.

    Raises:
        ConfigError: If it is asked for and cannot be had.
    """
    asked = f"backend is {backend!r}" if backend == "native" else f"quantize is {quantize!r}"
    needed = backend == "native" or quantize is not None
    problem = "its weights are not stored as this package stores those of a GPT"
    by_torch = backend == "torch" or device != "cpu"
    if by_torch and backend != "native" and quantize == "int8":
        return _open_int8(folder, device, dtype)
    if by_torch:
        problem = f"that is for the C++ library, and torch computes: backend {backend}, on {device}"
    elif kernels() is None:
        problem = "the C++ library was not built when gpt1 was installed: that takes GCC or Clang"
    elif dtype in (None, *FORMATS) and (folder / CONFIG).is_file():
        config = read_config(folder / CONFIG)
        form = quantize or dtype
        _check_stored(folder, "quantize" if quantize else "dtype", form)
        native = open_folder(folder, config, form) if isinstance(config, GPTConfig) else None
        if native is not None:
            return native
        if isinstance(config, GPTConfig) and not supports(config):
            problem = (
                f"n_embd is {config.n_embd} and the heads are {config.head_size} wide, which both "
                "have to be multiples of 16"
            )
    if needed:
        raise ConfigError(f"{asked} but cannot be used for {folder}: {problem}; leave it out")
    return None


def _open_int8(folder: Path, device: str, dtype: str | None) -> Int8GPT:
    """The model in int8 for torch: made on the CPU, so that the device needs no room for more.

    Raises:
        ConfigError: If it is stored in int4, or is an LSTM.
    """
    from gpt1.checkpoint import check_device, load_model
    from gpt1.int8 import Int8GPT
    from gpt1.model import GPT

    place = check_device(device)
    _check_stored(folder, "quantize", "int8")
    model = load_model(folder, dtype=dtype)
    if not isinstance(model, GPT):
        raise ConfigError(
            f"quantize is 'int8' but cannot be used for {folder}: it is an LSTM; leave it out"
        )
    return Int8GPT(model).to(place)


def _check_stored(folder: Path, setting: str, form: str | None) -> None:
    """Refuse to give a quantized checkpoint another number format.

    Raises:
        ConfigError: If that is asked for.
    """
    stored = quantization_of(folder) if (folder / CONFIG).is_file() else None
    if stored is not None and form not in (None, stored):
        raise ConfigError(
            f"{setting} is {form!r} but {folder} holds a model in {stored}; leave it out, or load "
            "the model it was made from"
        )
