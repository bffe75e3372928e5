"""Text to ids in the authors' way: MB/s of UTF-8, beside transformers' fast tokenizer.

Every run is a process of its own that reads its texts and then encodes all of them twice: the first
time no word is known, the second time every word is. A corpus that is read lies in between, nearer
to the second the longer it is. gpt1 runs `encode_flat` in mode ``original``, on one thread however
many there are; transformers is called once on the list, without masks. Its ids are those of mode
``bert``, which is less work.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path

from benchmarks.child import Outcome, call
from benchmarks.options import SHARED_DATA, Options
from benchmarks.report import Report, Row
from benchmarks.timing import interleave, stopwatch
from gpt1.data.sources import TextSource
from gpt1.tokenizer import Tokenizer

TITLE = "text to ids as GPT-1's authors made them, beside transformers' tokenizer"
BAR = 5.0
ROUNDS = 5
THREADS = (1, 2)
PASSES = ("first time", "words known")
MEGABYTES = 40
"""Least size of the texts, where there are so many."""
QUICK_MEGABYTES = 0.01
COMPARED_CHARS = 1000


def run(options: Options) -> Report:
    """Measure; see the top of this file."""
    megabytes = QUICK_MEGABYTES if options.quick else MEGABYTES
    data = {"jokes": options.data, "books": SHARED_DATA / "books"}
    data = {name: path for name, path in data.items() if path.exists()}
    vocabulary = str(options.vocabulary_folder())
    sides: dict[str, Callable[[], Outcome]] = {
        f"{side} {name} {threads}": partial(
            call,
            function,
            {"data": str(path), "vocabulary": vocabulary, "megabytes": megabytes},
            apart=not options.quick,
            threads=threads,
        )
        for threads in THREADS
        for name, path in data.items()
        for side, function in SIDES.items()
    }
    outcomes = interleave(sides, options.rounds or (1 if options.quick else ROUNDS))
    return Report(
        name="tokenize",
        title=TITLE,
        quick=options.quick,
        rows=[
            row(outcomes, name, threads, number)
            for threads in THREADS
            for name in data
            for number in range(len(PASSES))
        ],
        same={"ids in mode bert": all(same_ids(str(p), vocabulary) for p in data.values())},
        settings={"data": ", ".join(data), "vocabulary": Path(vocabulary).name},
    )


def row(outcomes: dict[str, list[Outcome]], name: str, threads: int, number: int) -> Row:
    """Speed beside transformers' on one kind of text, threads and pass."""
    speed = {
        side: [outcome.result[number] for outcome in outcomes[f"{side} {name} {threads}"]]
        for side in SIDES
    }
    return Row(
        measure=f"{name}, {threads} thread{'s' if threads > 1 else ''}, {PASSES[number]}",
        unit="MB/s",
        ours=speed["gpt1"],
        beside="transformers",
        other=speed["transformers"],
        how="times",
        bar=BAR,
    )


def encode_ours(data: str, vocabulary: str, megabytes: float) -> list[float]:
    """MB/s of mode ``original`` in each pass."""
    tokenizer = Tokenizer.load(vocabulary, mode="original")
    return rates(tokenizer.encode_flat, texts(data, megabytes))


def encode_theirs(data: str, vocabulary: str, megabytes: float) -> list[float]:
    """MB/s of transformers in each pass."""
    from benchmarks.peer import load_tokenizer

    tokenizer = load_tokenizer(vocabulary)
    only_ids = {"return_attention_mask": False, "return_token_type_ids": False, "verbose": False}
    return rates(partial(tokenizer, **only_ids), texts(data, megabytes))


SIDES: dict[str, Callable[..., list[float]]] = {"gpt1": encode_ours, "transformers": encode_theirs}


def rates(encode: Callable[[list[str]], object], texts: list[str]) -> list[float]:
    """MB of UTF-8 that are encoded in a second, in each pass."""
    encode(["I can\u2019t."])  # compiles the rules, which is a matter of start-up
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    return [megabytes / stopwatch(partial(encode, texts))[0] for _ in PASSES]


def texts(data: str, megabytes: float) -> list[str]:
    """The first texts of a file or folder, of so many MB at least."""
    found: list[str] = []
    left = megabytes * 1e6
    source = iter(TextSource(data))
    while left > 0 and (text := next(source, None)):
        found.append(text)
        left -= len(text.encode())
    return found


def same_ids(data: str, vocabulary: str) -> bool:
    """Whether both sides give the same ids where they should: in mode ``bert``."""
    from benchmarks.peer import load_tokenizer

    starts = [text[:COMPARED_CHARS] for text in islice(TextSource(data), 100)]
    ours = Tokenizer.load(vocabulary, mode="bert").encode_batch(starts)
    return ours == [load_tokenizer(vocabulary).encode(text) for text in starts]
