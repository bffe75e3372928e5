"""A `tokenizer.json`: its pieces at once, and the Rust tokenizer of it when that is needed.

The Rust library takes up to a fifth of a second to build one of 40,000 pieces, and the C++ library
does most of its work. So it judges and reads a file at once only if that is not of the common kind.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import AddedToken, Tokenizer

from gpt1.errors import TokenizerError
from gpt1.native.words import Vocabulary
from gpt1.text.detokenize import END_OF_WORD
from gpt1.text.vocabulary import BERT_NORMALIZER, STANDARD_FORMS, UNKNOWN, parsed

_NORMALIZERS = [
    BERT_NORMALIZER,
    {
        "type": "Sequence",
        "normalizers": [
            *(
                {"type": "Replace", "pattern": {"String": old}, "content": new}
                for old, new in STANDARD_FORMS.items()
            ),
            BERT_NORMALIZER,
        ],
    },
]
_DROPPED = dict.fromkeys(("truncation", "padding", "post_processor"))
_ABSENT: dict[str, Any] = {
    **dict.fromkeys(("normalizer", "pre_tokenizer", "decoder")),
    "added_tokens": [],
}
_RULES = {
    "version": "1.0",
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "decoder": {"type": "BPEDecoder", "suffix": END_OF_WORD},
    **_DROPPED,
}
_KIND = {"type": "BPE", "end_of_word_suffix": END_OF_WORD, "unk_token": UNKNOWN}
_OPTIONS = {
    **_KIND,
    **dict.fromkeys(("fuse_unk", "byte_fallback", "ignore_merges"), False),
    "dropout": None,
    "continuing_subword_prefix": "",
}
_SPECIAL = {
    **dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False),
    "special": True,
}


class Pipeline:
    """The vocabulary, special tokens and rules of a tokenizer of GPT-1's kind.

    Args:
        serialized: The text of a `tokenizer.json`. Truncation, padding and templates are dropped.

    Attributes:
        spec: The JSON, without the tokens that were added since.
        vocabulary: Its model in the C++ library, None if there is none or it has other rules.
        ids: Of every piece, added tokens included, in the order of their ids.
        added: Added tokens, by id, and whether each is special.

    Raises:
        TokenizerError: If the text is not the JSON of a GPT-1 style tokenizer.
    """

    def __init__(self, serialized: str) -> None:
        self.spec = _checked_spec(parsed(serialized))
        self.ids: dict[str, int] = {}
        self.added: dict[int, bool] = {}
        self._rust: Tokenizer | None = None
        ids = _known_ids(self.spec)
        self.vocabulary = Vocabulary.of(self.spec["model"]) if ids else None
        if ids and self.vocabulary:
            self.ids = ids
            self.added = {ids[token["content"]]: True for token in self.spec["added_tokens"]}
        else:
            self._rust = _build(self.spec)
            self._read(self._rust)
            self._check()
            self.vocabulary = Vocabulary.of(self.spec["model"])

    def _check(self) -> None:
        if UNKNOWN not in self.ids:
            raise TokenizerError(f"the vocabulary lacks {UNKNOWN}; add it, as id 0 in GPT-1")
        last = len(self.ids) - 1
        if list(self.ids.values()) != list(range(last + 1)):
            raise TokenizerError(f"the {last + 1} ids must be 0 to {last}, each once")

    @property
    def rust(self) -> Tokenizer:
        """The Rust tokenizer."""
        if self._rust is None:
            pieces = list(self.ids)
            self._rust = _build(self.spec, [pieces[i] for i in self.added])
        return self._rust

    def add_special(self, names: Sequence[str]) -> None:
        """Append special tokens; pieces that are known keep their id."""
        if self._rust is None:
            for name in names:
                self.added[self.ids.setdefault(name, len(self.ids))] = True
        else:
            self._rust.add_special_tokens(_special_tokens(names))
            self._read(self._rust)

    def _read(self, rust: Tokenizer) -> None:
        ids = rust.get_vocab()
        self.ids = {piece: ids[piece] for piece in sorted(ids, key=ids.__getitem__)}
        self.added = {i: token.special for i, token in rust.get_added_tokens_decoder().items()}


def _checked_spec(spec: dict[str, Any]) -> dict[str, Any]:
    model = spec.get("model")
    found = {key: model.get(key) for key in _KIND} if isinstance(model, dict) else model
    if found != _KIND:
        raise TokenizerError(f"not a GPT-1 tokenizer: its model must have {_KIND}, has {found}")
    return _ABSENT | spec | _DROPPED


def _known_ids(spec: Mapping[str, Any]) -> dict[str, int] | None:
    """The ids of a file of the common kind, which this package and transformers write, in order.

    Returns:
        None if anything about the file is not as there; merges are not looked at.
    """
    rules, options = dict(spec), dict(spec["model"])
    added, normalizer, _ = (rules.pop(name) for name in ("added_tokens", "normalizer", "model"))
    vocabulary, merges = (options.pop(name, None) for name in ("vocab", "merges"))
    common = _same(rules, _RULES) and _same(_OPTIONS | options, _OPTIONS)
    if not common or not any(_same(normalizer, known) for known in _NORMALIZERS):
        return None
    if not (isinstance(vocabulary, dict) and isinstance(merges, list) and UNKNOWN in vocabulary):
        return None
    numbers = list(vocabulary.values())
    if numbers != list(range(len(numbers))) or {*map(type, numbers)} != {int}:
        return None
    ids = dict(vocabulary)
    for name in _names(added):
        ids.setdefault(name, len(ids))
    special = [{"id": ids[name], "content": name, **_SPECIAL} for name in _names(added)]
    return ids if _same(added, special) else None


def _same(found: object, expected: object) -> bool:
    """Whether both are the same JSON, in which 0 is not false."""
    return json.dumps(found, sort_keys=True) == json.dumps(expected, sort_keys=True)


def _names(added: Any) -> list[str]:
    """The texts of added tokens, of those that have one."""
    tokens = added if isinstance(added, list) else []
    names = [token.get("content") for token in tokens if isinstance(token, dict)]
    return [name for name in names if name and isinstance(name, str)]


def _special_tokens(names: Sequence[str]) -> list[AddedToken]:
    return [AddedToken(name, normalized=False, special=True) for name in names]


def _build(spec: Mapping[str, Any], special: Sequence[str] = ()) -> Tokenizer:
    try:
        rust = Tokenizer.from_str(json.dumps(spec))
    except Exception as error:  # all that the Rust library raises
        raise TokenizerError(f"the tokenizers library refuses it ({error})") from error
    rust.add_special_tokens(_special_tokens(special))
    return rust
