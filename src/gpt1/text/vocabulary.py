"""Vocabularies of GPT-1's kind as Rust tokenizers: read from files, checked, assembled, learned.

The kind: BPE within words, ``</w>`` on the last symbol of a word, ``<unk>`` for unknown characters.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from gpt1.errors import TokenizerError
from gpt1.text.detokenize import END_OF_WORD

UNKNOWN = "<unk>"
FILE_SETS = (
    ("tokenizer.json",),
    ("vocab.json", "merges.txt"),
    ("encoder_bpe_40000.json", "vocab_40000.bpe"),
)
TEXT_CHARS = 1 << 16
LONGEST_WORD = 1000
STANDARD_FORMS = {
    **dict.fromkeys("\u201c\u201d\u201e\u201f", '"'),
    **dict.fromkeys("\u2018\u2019\u201a\u201b\u00b4", "'"),
    **dict.fromkeys("\u2013\u2014\u2015", "-"),
    "\u2026": "...",
}
"""Typographic characters, and the plain ones that training puts in their place."""
BERT_NORMALIZER = {
    "type": "BertNormalizer",
    "clean_text": True,
    "handle_chinese_chars": True,
    "strip_accents": None,
    "lowercase": True,
}
"""transformers' normalizer for GPT-1, as in a `tokenizer.json`."""


def find_files(path: Path) -> list[Path]:
    """Return the `tokenizer.json`, or the vocabulary with its merges, that a path stands for.

    Raises:
        TokenizerError: If the path is a folder without either.
    """
    if not path.is_dir():
        names = next((names for names in FILE_SETS if path.name in names), (path.name,))
        return [path.with_name(name) for name in names]
    for names in FILE_SETS:
        if all((path / name).is_file() for name in names):
            return [path / name for name in names]
    choices = " or ".join(" with ".join(names) for names in FILE_SETS)
    raise TokenizerError(f"no tokenizer in the folder {path}; looked for {choices}")


def read_files(files: Sequence[Path]) -> str:
    """Return the text of a `tokenizer.json` for what `find_files` found.

    Raises:
        TokenizerError: If a file cannot be read, or vocabulary and merges do not fit together.
    """
    texts = [_read(file) for file in files]
    if len(texts) == 1:
        return texts[0]
    vocabulary = parsed(texts[0])
    lines = [line for line in texts[1].split("\n") if line and not line.startswith("#version")]
    try:
        merges = [(left, right) for left, right in (line.split(" ") for line in lines)]
        return assemble(vocabulary, merges, bert_normalizer({})).to_str()
    except Exception as error:  # all that the Rust library raises
        raise TokenizerError(f"vocabulary and merges do not fit together ({error})") from error


def stored_mode(folder: Path) -> str | None:
    """Return the tokenizer mode that a folder's `tokenizer_config.json` names, None if none.

    Raises:
        TokenizerError: If the file cannot be read or is not JSON.
    """
    file = folder / "tokenizer_config.json"
    if not file.is_file():
        return None
    try:
        mode = parsed(_read(file)).get("mode")
    except TokenizerError as error:
        raise TokenizerError(f"{file}: {error}") from error
    return None if mode is None else str(mode)


def bert_normalizer(standard_forms: Mapping[str, str]) -> normalizers.Normalizer:
    """Return transformers' normalizer for GPT-1, after the given replacements of characters."""
    bert = normalizers.BertNormalizer(lowercase=True)
    if not standard_forms:
        return bert
    replacements = [normalizers.Replace(old, new) for old, new in standard_forms.items()]
    return normalizers.Sequence([*replacements, bert])


def assemble(
    vocabulary: Mapping[str, int],
    merges: Iterable[tuple[str, str]],
    normalizer: normalizers.Normalizer,
) -> Tokenizer:
    """Build the pipeline of transformers' `OpenAIGPTTokenizer` round a vocabulary."""
    model = models.BPE(
        vocab=dict(vocabulary),
        merges=list(merges),
        continuing_subword_prefix="",
        end_of_word_suffix=END_OF_WORD,
        unk_token=UNKNOWN,
        fuse_unk=False,
    )
    rust = Tokenizer(model)
    rust.normalizer = normalizer
    rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    rust.decoder = decoders.BPEDecoder(suffix=END_OF_WORD)
    return rust


def base_vocabulary(counts: Mapping[str, int], alphabet_size: int) -> list[str]:
    """Return ``<unk>`` and the commonest characters, first plain, then with ``</w>``."""
    frequency: Counter[str] = Counter()
    for word, count in counts.items():
        for character in word:
            frequency[character] += count
    ranked = sorted(frequency, key=lambda character: (-frequency[character], character))
    alphabet = sorted(ranked[:alphabet_size])
    return [UNKNOWN, *alphabet, *(character + END_OF_WORD for character in alphabet)]


def learn_merges(
    counts: Mapping[str, int], base: Sequence[str], vocab_size: int, min_frequency: int
) -> list[tuple[str, str]]:
    """Return the pairs to merge, first to last, until ``base`` has grown to ``vocab_size``.

    Words with a character outside ``base`` or above `LONGEST_WORD` characters teach nothing: the
    time a word takes grows with the square of its length.
    """
    # Left to itself the trainer numbers the suffixed characters in random order and breaks ties
    # between equally common pairs by those numbers; naming all symbols here makes it repeatable.
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=list(base),
        end_of_word_suffix=END_OF_WORD,
        show_progress=False,
    )
    rust = Tokenizer(models.BPE())
    rust.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    alphabet = set(base)
    usable = {
        word: count
        for word, count in counts.items()
        if len(word) <= LONGEST_WORD and alphabet.issuperset(word)
    }
    rust.train_from_iterator(_repeated(usable), trainer)
    return [(left, right) for left, right in json.loads(rust.to_str())["model"]["merges"]]


def _repeated(counts: Mapping[str, int]) -> Iterator[str]:
    """Yield each word as often as it was counted, in texts of about `TEXT_CHARS` at most."""
    for word, count in counts.items():
        most = TEXT_CHARS // (len(word) + 1) + 1
        for done in range(0, count, most):
            yield f"{word} " * min(most, count - done)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TokenizerError(f"cannot read {file} as UTF-8 text ({error})") from error


def parsed(text: str) -> dict[str, Any]:
    """The object a text of JSON stands for.

    Raises:
        TokenizerError: If it is not JSON, or no object.
    """
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise TokenizerError(f"not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise TokenizerError(f"the JSON must be an object but is a {type(content).__name__}")
    return content
