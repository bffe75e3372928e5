"""Text to token ids and back: GPT-1's byte-pair encoding over the `tokenizers` (Rust) library.

Mode ``original`` splits text into words as GPT-1's authors did, mode ``bert`` as every current
transformers release does: see `gpt1.text.original_mode` and `gpt1.text.bert_mode`. BPE is the same.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as Rust
from tokenizers import normalizers

from gpt1.config import MODES
from gpt1.errors import ConfigError, TokenizerError
from gpt1.text.bert_mode import BertMode
from gpt1.text.detokenize import END_OF_WORD, TokenStream, checked_id
from gpt1.text.original_mode import NEWLINE, OriginalMode
from gpt1.text.pipeline import Pipeline
from gpt1.text.vocabulary import (
    STANDARD_FORMS,
    UNKNOWN,
    assemble,
    base_vocabulary,
    bert_normalizer,
    find_files,
    learn_merges,
    read_files,
    stored_mode,
)
from gpt1.text.word_cache import IdsAndSizes
from gpt1.text.word_counts import count_bert_words, count_original_words

START, DELIMITER, CLASSIFY = "_start_", "_delimiter_", "_classify_"
END_OF_TEXT, PAD = "<|endoftext|>", "<pad>"
NEWLINE_PIECE = NEWLINE + END_OF_WORD
PIECE_CHARS = 1 << 16
BATCH_CHARS = 1 << 18
BATCH_TEXTS = 1024


class Encoding(NamedTuple):
    """Parallel lists: ids, their pieces, and (start, end) character offsets into the text."""

    ids: list[int]
    pieces: list[str]
    offsets: list[tuple[int, int]]


class Mode(Protocol):
    """How text becomes ids."""

    blank: re.Pattern[str]
    """Finds the whitespace at which a long repaired text may be cut without a change of its ids."""

    @staticmethod
    def repair(text: str) -> str:
        """What is encoded in place of a text."""

    def repair_all(self, texts: list[str]) -> list[str]:
        """The same of each of many texts, sooner."""

    def encode(self, texts: Sequence[str]) -> IdsAndSizes:
        """Ids of repaired texts or parts of them, and how many each has."""

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids of one text as it was given, and the characters of it that each stands for."""


class Tokenizer:
    """GPT-1's tokenizer. Encoding is thread-safe; add special tokens before sharing it.

    Attributes:
        mode: How text is split, one of `MODES`.
    """

    def __init__(self, serialized: str, mode: str | None = None) -> None:
        """Build from the text of a `tokenizer.json`; prefer `Tokenizer.load` and `Tokenizer.train`.

        Args:
            serialized: JSON as `tokenizers.Tokenizer.to_str` writes it.
            mode: One of `MODES`; default: ``original`` if the vocabulary has a piece for the
                newline word, as the released one has, else ``bert``.

        Raises:
            ConfigError: If the mode is unknown.
            TokenizerError: If the JSON is not a GPT-1 style tokenizer.
        """
        if mode is not None:
            _check_mode(mode)
        self._pipeline = Pipeline(serialized)
        has_newlines = NEWLINE_PIECE in self._pipeline.ids
        self.mode = mode or ("original" if has_newlines else "bert")
        self.add_special_tokens([UNKNOWN])
        self._encoder = self._new_encoder()

    def __reduce__(self) -> tuple[type[Tokenizer], tuple[str, str]]:
        """Pickle and copy through JSON: the Rust object forgets `encode_special_tokens`."""
        return Tokenizer, (self._marked.to_str(), self.mode)

    @property
    def _marked(self) -> Rust:
        """The Rust tokenizer, which marks special tokens."""
        return self._pipeline.rust

    def __len__(self) -> int:
        """Return `vocab_size`."""
        return self.vocab_size

    def __repr__(self) -> str:
        """Show mode, size and special tokens."""
        special = list(self._special)
        return f"Tokenizer(mode={self.mode!r}, vocab_size={self.vocab_size}, special={special})"

    @classmethod
    def load(cls, path: str | Path, mode: str | None = None) -> Tokenizer:
        """Read a tokenizer from disk.

        Args:
            path: A `tokenizer.json`, one of `VOCABULARY_FILES`, or a folder with such files.
            mode: One of `MODES`; default: the one in `tokenizer_config.json`, else ``original`` if
                the vocabulary has a piece for the newline word, else ``bert``.

        Returns:
            The tokenizer.

        Raises:
            ConfigError: If the mode is unknown.
            TokenizerError: If files are missing, unreadable or do not fit together.
        """
        files = find_files(Path(path))
        mode = mode or stored_mode(files[0].parent)
        try:
            return cls(read_files(files), mode)
        except TokenizerError as error:
            raise TokenizerError(f"{' with '.join(map(str, files))}: {error}") from error

    def with_mode(self, mode: str) -> Tokenizer:
        """A copy that splits text by another of the `MODES`; vocabulary and special tokens stay.

        Raises:
            ConfigError: If the mode is unknown.
        """
        return Tokenizer(self._marked.to_str(), mode)

    def save(self, folder: str | Path) -> None:
        """Write every file that `load` and transformers' `AutoTokenizer` read.

        transformers knows no mode ``original``: what it loads splits text by the rules of ``bert``.

        Args:
            folder: Created if absent; gets `tokenizer.json`, `tokenizer_config.json`,
                `special_tokens_map.json`, `vocab.json` and `merges.txt`.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._marked.save(str(folder / "tokenizer.json"))
        self._marked.model.save(str(folder))
        named = {"unk_token": UNKNOWN, "eos_token": END_OF_TEXT, "pad_token": PAD}
        known = {UNKNOWN, *self._special}
        roles: dict[str, Any] = {role: name for role, name in named.items() if name in known}
        roles["additional_special_tokens"] = [n for n in self._special if n not in named.values()]
        config = {"tokenizer_class": "PreTrainedTokenizerFast", "mode": self.mode, **roles}
        for name, content in (("tokenizer_config", config), ("special_tokens_map", roles)):
            text = json.dumps(content, indent=2) + "\n"
            (folder / f"{name}.json").write_text(text, encoding="utf-8")

    @property
    def vocab_size(self) -> int:
        """Number of ids, special tokens included."""
        return len(self._pieces)

    @property
    def special_tokens(self) -> dict[str, int]:
        """Special tokens and their ids, in id order; ``<unk>`` is not one of them."""
        return dict(self._special)

    @property
    def end_of_text_id(self) -> int | None:
        """Id of ``<|endoftext|>``, None before it is added."""
        return self._special.get(END_OF_TEXT)

    @property
    def pad_id(self) -> int | None:
        """Id of ``<pad>``, None before it is added."""
        return self._special.get(PAD)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of everything that determines ids: equal prints give equal ids."""
        spec = json.loads(self._marked.to_str())
        model = [spec["model"][key] for key in ("vocab", "merges", "fuse_unk")]
        added = [
            (token["content"], token["id"], token["special"]) for token in spec["added_tokens"]
        ]
        is_bert = self.mode == "bert"  # the other mode does not read these
        rules = [spec[key] if is_bert else None for key in ("normalizer", "pre_tokenizer")]
        parts = [self.mode, *rules, model, added]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def token_id(self, name: str) -> int:
        """Return the id of a piece (``cute</w>``) or special token (``_start_``).

        Raises:
            TokenizerError: If there is none; the message names the nearest ones.
        """
        token_id = self._pipeline.ids.get(name)
        if token_id is None:
            near = get_close_matches(name, self._pieces) or [*self._special, UNKNOWN]
            raise TokenizerError(f"no token {name!r} in the vocabulary; nearest: {', '.join(near)}")
        return token_id

    def add_special_tokens(self, names: Sequence[str]) -> list[int]:
        """Append special tokens after the current vocabulary; known ones keep their id.

        Args:
            names: Texts without whitespace, in the order their ids shall have.

        Returns:
            The id of each name.

        Raises:
            TokenizerError: If a name is empty or holds whitespace, or ``names`` is one string.
        """
        if isinstance(names, str):
            raise TokenizerError(f"names is one string, {names!r}; pass a list of strings")
        for name in names:
            if not name or re.search(r"\s", name):
                raise TokenizerError(f"special token {name!r} is empty or holds whitespace")
        self._pipeline.add_special(names)
        self._index()
        return [self.token_id(name) for name in names]

    def _index(self) -> None:
        self.__dict__.pop("fingerprint", None)
        added = self._pipeline.added
        self._pieces = list(self._pipeline.ids)
        special = {self._pieces[i]: i for i in sorted(added) if added[i]}
        self._special = {name: i for name, i in special.items() if name != UNKNOWN}
        # Added tokens carry no suffix but are words of their own to a reader.
        self._words = self._pieces.copy()
        for i in added:
            self._words[i] += END_OF_WORD
        by_length = sorted([*self._special, UNKNOWN], key=len, reverse=True)
        self._names = re.compile(f"({'|'.join(map(re.escape, by_length))})")

    def _new_encoder(self) -> Mode:
        pipeline = self._pipeline
        if self.mode == "original":
            return OriginalMode(lambda: pipeline.rust, pipeline.vocabulary)
        return BertMode(lambda: pipeline.rust, pipeline.spec, pipeline.vocabulary)

    def encode(self, text: str, *, allow_special: bool = False) -> list[int]:
        """Return the ids of one text.

        Args:
            text: Any string; lone surrogates count as U+FFFD.
            allow_special: Whether ``_start_`` and its like in the text become their special ids,
                with a text of its own on either side; by default they are ordinary characters, so
                that no user can forge them.

        Returns:
            Ids in ``[0, vocab_size)``; empty for blank text.

        Raises:
            TokenizerError: If the text is not a string.
        """
        return self.encode_batch([text], allow_special=allow_special)[0]

    def encode_batch(self, texts: Iterable[str], *, allow_special: bool = False) -> list[list[int]]:
        """Return the ids of each text; arguments and errors as for `encode`."""
        return list(self.encode_stream(texts, allow_special=allow_special))

    def encode_stream(
        self, texts: Iterable[str], *, batch_size: int = BATCH_TEXTS, allow_special: bool = False
    ) -> Iterator[list[int]]:
        """Yield the ids of each text in order, holding one batch of text at a time.

        Args:
            texts: Read lazily; may be endless.
            batch_size: Most texts per batch, at least 1. A batch also ends at `BATCH_CHARS`
                characters; long texts are cut at whitespace, which leaves their ids unchanged.
            allow_special: As for `encode`.

        Returns:
            One list of ids per text.

        Raises:
            ConfigError: If ``batch_size`` is below 1.
            TokenizerError: If a text is not a string, or ``texts`` is one.
        """
        if batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size} but must be at least 1")
        texts = _checked(texts)
        if allow_special:
            return map(self._encode_trusted, texts)
        return self._encode(texts, batch_size)

    def _encode(self, texts: Iterable[str], batch_size: int) -> Iterator[list[int]]:
        for batch in _batches(texts, batch_size):
            flat, lengths = self._encode_batch(batch)
            values, start = flat.tolist(), 0
            for length in lengths.tolist():
                yield values[start : start + length]
                start += length

    def _encode_batch(self, texts: list[str]) -> IdsAndSizes:
        """Ids of texts; of long ones, a few parts at a time."""
        texts = self._encoder.repair_all(texts)
        if max(map(len, texts), default=0) <= PIECE_CHARS:
            return self._encoder.encode(texts)
        cut = [list(_cut(text, self._encoder.blank)) for text in texts]
        parts = _batches(chain.from_iterable(cut), BATCH_TEXTS)
        found, sizes = zip(*map(self._encoder.encode, parts), strict=True)
        firsts = np.cumsum([0, *map(len, cut[:-1])])
        return np.concatenate(found), np.add.reduceat(np.concatenate(sizes), firsts)

    def _encode_trusted(self, text: str) -> list[int]:
        parts = self._names.split(text)
        between = self.encode_batch(parts[::2])
        named = [[self.token_id(name)] for name in parts[1::2]]
        return [*chain.from_iterable(chain.from_iterable(zip(between, [*named, []], strict=True)))]

    def encode_flat(self, texts: Iterable[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the ids of many texts in little memory and time.

        Args:
            texts: Read lazily.

        Returns:
            The ids of all texts behind one another, and how many ids each text has.

        Raises:
            TokenizerError: If a text is not a string.
        """
        batches = map(self._encode_batch, _batches(_checked(texts), BATCH_TEXTS))
        none = np.empty(0, np.int32), np.empty(0, np.int64)
        found, sizes = zip(none, *batches, strict=True)
        return np.concatenate(found), np.concatenate(sizes)

    def encode_with_offsets(self, text: str) -> Encoding:
        """Return the ids of one text with their places in it.

        In mode ``original`` the places are exact where repair left a line of the text as long as it
        was, or changed nothing but single words. A word whose length changed is exact up to its
        first and from its last changed character; what is between came from all that was there.

        Args:
            text: As for `encode`.

        Returns:
            The ids, their pieces and the characters each of them came from.

        Raises:
            TokenizerError: If the text is not a string.
        """
        [text] = _checked([text])
        ids, offsets = self._encoder.encode_with_offsets(text)
        return Encoding(ids, self.pieces(ids), offsets)

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """Return the raw vocabulary strings, for example ``cute</w>``.

        Raises:
            TokenizerError: If an id is outside the vocabulary.
        """
        return [self._pieces[checked_id(i, len(self))] for i in ids]

    def detokenizer(self, *, skip_special: bool = True) -> TokenStream:
        """Return a decoder for ids that arrive one at a time; its texts join to `decode`'s."""
        return TokenStream(self._words, self._special.values() if skip_special else ())

    def decode(self, ids: Iterable[int], *, raw: bool = False, skip_special: bool = True) -> str:
        """Return the text of token ids.

        Args:
            ids: Ids in ``[0, vocab_size)``.
            raw: Whether words and punctuation stay apart, as transformers prints them; by default
                the text is spaced for people (see `gpt1.text.detokenize.Detokenizer`).
            skip_special: Whether special tokens are left out.

        Returns:
            The text, lower-case.

        Raises:
            TokenizerError: If an id is outside the vocabulary.
        """
        if raw:
            skipped = frozenset(self._special.values()) if skip_special else frozenset()
            checked = (checked_id(i, len(self)) for i in ids)
            return self._marked.decode([i for i in checked if i not in skipped], False)
        stream = self.detokenizer(skip_special=skip_special)
        return "".join([*map(stream.push, ids), stream.flush()])

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        *,
        vocab_size: int | None = None,
        merges: int | None = None,
        min_frequency: int = 2,
        alphabet_size: int = 238,
        standardize: bool = True,
        mode: str = "bert",
    ) -> Tokenizer:
        """Learn a vocabulary; the same texts always give the same one.

        Args:
            texts: Read once, lazily; only the counts of distinct words are kept, and of those the
                commonest `gpt1.text.word_counts.MOST_WORDS`.
            vocab_size: Most ids: ``<unk>``, each character plain and with ``</w>``, then merges.
            merges: Most merges, in place of ``vocab_size`` (GPT-1: 40,000).
            min_frequency: How often a pair must occur to be merged, at least 1.
            alphabet_size: Most characters, at least 1 (GPT-1: 238); rarer ones become ``<unk>``.
            standardize: Whether `STANDARD_FORMS` apply before anything else; mode ``original``
                always does as the authors did, and this is for who loads its files elsewhere.
            mode: One of `MODES`. In ``original`` the last id is the newline word's.

        Returns:
            The tokenizer, ``<unk>`` at id 0.

        Raises:
            ConfigError: If a size is out of range, the mode is unknown, or not exactly one of
                ``vocab_size`` and ``merges`` is given.
            TokenizerError: If a text is not a string, or none holds a word.
        """
        if (vocab_size is None) == (merges is None):
            raise ConfigError(f"give vocab_size ({vocab_size}) or merges ({merges}), just one")
        _check_at_least("merges", merges, 0)
        _check_at_least("min_frequency", min_frequency, 1)
        _check_at_least("alphabet_size", alphabet_size, 1)
        _check_mode(mode)
        normalizer = bert_normalizer(STANDARD_FORMS if standardize else {})
        counts = _count_words(texts, normalizer, mode)
        base = base_vocabulary(counts, alphabet_size)
        newline = [NEWLINE_PIECE] if mode == "original" else []
        least = len(base) + len(newline)
        size = least + (merges or 0) if vocab_size is None else vocab_size
        _check_at_least("vocab_size with this alphabet_size", size, least)
        learned = learn_merges(counts, base, size - len(newline), min_frequency)
        pieces = dict.fromkeys([*base, *("".join(pair) for pair in learned), *newline])
        ids = {piece: token_id for token_id, piece in enumerate(pieces)}
        return cls(assemble(ids, learned, normalizer).to_str(), mode)


def _check_mode(mode: str) -> None:
    if mode not in MODES:
        raise ConfigError(f"tokenizer mode is {mode!r} but must be one of {', '.join(MODES)}")


def _count_words(
    texts: Iterable[str], normalizer: normalizers.Normalizer, mode: str
) -> Mapping[str, int]:
    if mode == "original":
        return count_original_words(_parts(_checked(texts), OriginalMode))
    return count_bert_words(_parts(_checked(texts), BertMode), normalizer)


def _check_at_least(name: str, value: int | None, least: int) -> None:
    if value is not None and value < least:
        raise ConfigError(f"{name} is {value} but must be at least {least}")


def _checked(texts: Iterable[str]) -> Iterator[str]:
    if isinstance(texts, str):
        raise TokenizerError(f"texts is one string, {texts[:20]!r}; pass a list of strings")
    return map(_checked_text, texts)


def _checked_text(text: str) -> str:
    if not isinstance(text, str):
        raise TokenizerError(f"a text is {text!r} but must be a string; drop or convert such rows")
    return text


def _parts(texts: Iterable[str], mode: type[Mode]) -> Iterator[str]:
    """Repaired texts, the long ones cut."""
    return chain.from_iterable(_cut(text, mode.blank) for text in map(mode.repair, texts))


def _cut(text: str, blank: re.Pattern[str]) -> Iterator[str]:
    """Cut a text at whitespace into parts of about `PIECE_CHARS`."""
    start = 0
    while len(text) - start > PIECE_CHARS and (found := blank.search(text, start + PIECE_CHARS)):
        yield text[start : found.start()]
        start = found.start()
    yield text[start:]


def _batches(texts: Iterable[str], most: int) -> Iterator[list[str]]:
    batch: list[str] = []
    chars = 0
    for text in texts:
        batch.append(text)
        chars += len(text)
        if len(batch) == most or chars >= BATCH_CHARS:
            yield batch
            batch, chars = [], 0
    if batch:
        yield batch
