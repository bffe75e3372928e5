"""From files of text to token shards: ``gpt1 data prepare``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from gpt1.atomic import check_destination
from gpt1.checkpoint import locate
from gpt1.config import PrepareConfig
from gpt1.data.shards import INDEX, Shards, ShardWriter, write_index
from gpt1.data.sources import TextSource
from gpt1.errors import DataError
from gpt1.tokenizer import Tokenizer

Advance = Callable[[str, int, int], None]
"""Told what is being done, how many texts are done, and of how many."""


def prepare(
    inputs: Sequence[str | Path],
    out: str | Path,
    config: PrepareConfig | None = None,
    *,
    advance: Advance | None = None,
) -> Shards:
    """Tokenise texts into shards, with part of the documents held out for validation.

    Documents are spread evenly over the two splits: at a validation share of 1%, every hundredth is
    held out. With fewer documents than that, the last part of each is held out instead.

    Args:
        inputs: Files or folders of text, see `TextSource`.
        out: Folder to write; it is complete once it has an ``index.json``.
        config: Tokenizer and split.
        advance: Told about the progress.

    Returns:
        The shards.

    Raises:
        DataError: If an input cannot be read or holds no text.
        ConfigError: If the folder holds something else.
    """
    config = config or PrepareConfig()
    out = Path(out)
    check_destination(out)
    texts = _Texts([TextSource(path, config.text_column) for path in inputs], advance)
    texts.documents = sum(1 for _ in texts.read("counting"))
    if not texts.documents:
        raise DataError(f"there is no text in {', '.join(map(str, inputs))}")
    if config.tokenizer is None:
        tokenizer = Tokenizer.train(
            texts.read("training"),
            vocab_size=config.vocab_size,
            mode=config.tokenizer_mode or "bert",
        )
    else:
        tokenizer = Tokenizer.load(locate(config.tokenizer), config.tokenizer_mode)
    out.mkdir(parents=True, exist_ok=True)
    # Until the new index is there, what is left of older shards must not pass for complete ones.
    for old in (out / INDEX, *out.glob("*-[0-9][0-9][0-9][0-9][0-9].bin")):
        old.unlink(missing_ok=True)
    tokenizer.save(out)
    splits = {
        split: ShardWriter(out, split).write(
            tokenizer.encode_stream(texts.split(split, config.valid_fraction))
        )
        for split in ("train", "valid")
    }
    write_index(
        out,
        splits,
        tokenizer.fingerprint,
        documents=texts.documents,
        characters=texts.characters,
        sources=[str(path) for path in inputs],
    )
    return Shards(out)


class _Texts:
    """All documents of the inputs, read as often as needed."""

    def __init__(self, sources: list[TextSource], advance: Advance | None) -> None:
        self.sources = sources
        self.advance = advance
        self.documents = 0
        self.characters = 0

    def read(self, doing: str) -> Iterator[str]:
        """All texts; tells about each."""
        self.characters = 0
        number = 0
        for source in self.sources:
            for text in source:
                yield text
                number += 1
                self.characters += len(text)
                if self.advance:
                    self.advance(doing, number, self.documents)

    def split(self, split: str, fraction: float) -> Iterable[str]:
        """The texts of one split; a held-out part is left out of the other."""
        texts = self.read(split)
        if 0 < self.documents * fraction < 1:
            return (_part(text, split, fraction) for text in texts)
        return (
            text
            for number, text in enumerate(texts, start=1)
            if (split == "valid") == (int(number * fraction) > int((number - 1) * fraction))
        )


def _part(text: str, split: str, fraction: float) -> str:
    """The text before or from the last blank before the held-out share; one word is not cut."""
    cut = int(len(text) * (1 - fraction))
    cut = max(text.rfind("\n", 0, cut), text.rfind(" ", 0, cut))
    cut = len(text) if cut < 0 else cut
    return text[:cut] if split == "train" else text[cut:]
