"""What the user of ``python -m benchmarks`` can choose, and the data that is there by default."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal

from gpt1.data.sources import TextSource
from gpt1.locate import ASSETS, locate

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = Path(os.environ.get("GPT1_SHARED_DATA", ROOT.parent / "shared" / "data"))
BUNDLED_JOKES = ASSETS / "jokes.csv"
HELD_OUT_EVERY = 10

Peer = Literal["gpt1", "transformers"]


def default_data() -> Path:
    """The shared jokes where they are, else those of the package."""
    file = SHARED_DATA / "jokes" / "train.csv.gz"
    return file if file.exists() else BUNDLED_JOKES


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings of a run; each benchmark reads those that concern it.

    Attributes:
        quick: Tiny sizes and a single process: shows that everything runs and that both sides
            agree, and measures nothing.
        rounds: Turns of each side; default: as the benchmark has it.
        precisions: Of `decode`; default: all.
        batches: Sizes of `decode`, sequences of `train`, clients of `serve`; default: as they have
            them.
        prompts: Of `decode`, tokens; default: as it has them.
        data: Jokes: any file `TextSource` reads.
        valid_data: Held-out jokes; None: those that belong to the shared jokes, or every tenth of
            other ``data``.
        vocabulary: Folder of the tokenizer of `pack`; None: OpenAI's where it is, else of
            ``model``.
        model: Of `finetune`, `speculative`, `startup` and `soak`: "mini", a folder or a hub id.
        max_texts: Use only the first so many jokes.
        seconds: Of `soak`; default: ten minutes.
        peer: What the tutorial of `finetune` trains: our module or transformers'.
    """

    quick: bool = False
    rounds: int | None = None
    precisions: tuple[str, ...] | None = None
    batches: tuple[int, ...] | None = None
    prompts: tuple[int, ...] | None = None
    data: Path = field(default_factory=default_data)
    valid_data: Path | None = None
    vocabulary: Path | None = None
    model: str = "mini"
    max_texts: int | None = None
    seconds: float | None = None
    peer: Peer = "gpt1"

    def texts(self) -> list[str]:
        """The jokes of ``data``, as many as asked for."""
        return list(islice(TextSource(self.data), self.max_texts))

    def split(self) -> tuple[list[str], list[str]]:
        """Jokes to train on and jokes held out, each as many as asked for."""
        texts, valid_data = self.texts(), self.valid_data
        shared = SHARED_DATA / "jokes"
        if valid_data is None and self.data == shared / "train.csv.gz":
            valid_data = shared / "valid.csv.gz"
        if valid_data is not None:
            return texts, list(islice(TextSource(valid_data), self.max_texts))
        held_out = texts[::HELD_OUT_EVERY]
        del texts[::HELD_OUT_EVERY]
        return texts, held_out

    def vocabulary_folder(self) -> Path:
        """Where the tokenizer of `pack` is read from."""
        if self.vocabulary is not None:
            return self.vocabulary
        openai = SHARED_DATA / "openai-bpe"
        return openai if openai.exists() else locate(self.model)
