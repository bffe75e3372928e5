"""From a file of jokes to rows of token ids: jokes per second, beside the tutorial's loop.

Both read the file with `TextSource` and put the prefix before each joke. gpt1 encodes batches and
packs them into rows where the jokes do not see each other; the tutorial encodes one joke at a time
with transformers' tokenizer and joins tensors. The limit is the library under both tokenizers,
encoding all jokes at once, with nothing read or packed. Every run is a process of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from pathlib import Path

from benchmarks.child import Outcome, call
from benchmarks.options import Options
from benchmarks.report import Report, Row
from benchmarks.timing import interleave, stopwatch
from gpt1.config import TextConfig
from gpt1.data.packing import pack
from gpt1.data.sources import TextSource
from gpt1.model import IGNORED
from gpt1.reproduce.tutorial_recipe import END_MARKER, PREFIX, encoded, packs
from gpt1.tokenizer import Tokenizer
from gpt1.training.finetune import encode_texts

TITLE = "tokenise and pack jokes, beside the tutorial's loop over transformers' tokenizer"
BAR = 30.0
ROUNDS = 5
THREADS = (1, 2)
SEQ_LEN = 512
QUICK_TEXTS = 100
COMPARED_TEXTS = 5000


def run(options: Options) -> Report:
    """Measure; see the top of this file."""
    data, vocabulary = str(options.data), str(options.vocabulary_folder())
    max_texts = QUICK_TEXTS if options.quick else options.max_texts
    arguments = {"data": data, "vocabulary": vocabulary, "max_texts": max_texts}
    sides: dict[str, Callable[[], Outcome]] = {
        f"{name} {threads}": partial(
            call, side, arguments, apart=not options.quick, threads=threads
        )
        for threads in THREADS
        for name, side in SIDES.items()
    }
    outcomes = interleave(sides, options.rounds or (1 if options.quick else ROUNDS))
    return Report(
        name="pack",
        title=TITLE,
        quick=options.quick,
        rows=[row for threads in THREADS for row in rows(outcomes, threads)],
        same={
            "ids before the end marker": same_ids(data, vocabulary, max_texts),
            "number of tokens in gpt1's rows as in its texts": all(
                outcome.result["kept"] for outcome in outcomes["gpt1 1"] + outcomes["gpt1 2"]
            ),
        },
        settings={
            "data": options.data.name,
            "jokes": outcomes["gpt1 1"][0].result["jokes"],
            "vocabulary": Path(vocabulary).name,
        },
    )


def rows(outcomes: dict[str, list[Outcome]], threads: int) -> list[Row]:
    """Speed beside the tutorial and beside the limit, and memory, at one number of threads."""
    speed = {
        name: [outcome.result["jokes_per_s"] for outcome in outcomes[f"{name} {threads}"]]
        for name in SIDES
    }
    peak = {name: [outcome.peak_mb for outcome in outcomes[f"{name} {threads}"]] for name in SIDES}
    label = f"{threads} thread{'s' if threads > 1 else ''}"
    return [
        Row(
            measure=f"tokenise and pack, {label}",
            unit="jokes/s",
            ours=speed["gpt1"],
            beside="tutorial",
            other=speed["tutorial"],
            how="times",
            bar=BAR,
        ),
        Row(
            measure=f"tokenise and pack, {label}",
            unit="jokes/s",
            ours=speed["gpt1"],
            beside="tokenizers library alone",
            other=speed["library"],
            how="%",
        ),
        Row(
            measure=f"peak memory of packing, {label}",
            unit="MB",
            ours=peak["gpt1"],
            beside="tutorial",
            other=peak["tutorial"],
            how="times less",
        ),
    ]


def pack_ours(data: str, vocabulary: str, max_texts: int | None) -> dict[str, float]:
    """As ``gpt1 finetune lm`` prepares its texts."""
    tokenizer = Tokenizer.load(vocabulary, "bert")
    tokenizer.add_special_tokens([END_MARKER])
    config = TextConfig(data=data, prefix=PREFIX, end_token=END_MARKER, max_texts=max_texts)

    def work() -> tuple[int, bool]:
        texts = encode_texts(TextSource(data), config, tokenizer)
        packed = pack(texts, SEQ_LEN)
        return len(texts), int((packed.labels != IGNORED).sum()) == len(texts.ids)

    seconds, (jokes, kept) = stopwatch(work)
    return {"jokes": jokes, "jokes_per_s": jokes / seconds, "kept": kept}


def pack_as_tutorial(data: str, vocabulary: str, max_texts: int | None) -> dict[str, float]:
    """As the tutorial does; the packs are made and dropped."""
    from benchmarks.peer import load_tokenizer

    tokenizer = load_tokenizer(vocabulary)
    encode = partial(tokenizer.encode, return_tensors="pt")

    def work() -> int:
        jokes = list(islice(TextSource(data), max_texts))
        for _ in packs(encoded(jokes, encode)):
            pass
        return len(jokes)

    seconds, jokes = stopwatch(work)
    return {"jokes": jokes, "jokes_per_s": jokes / seconds}


def encode_at_once(data: str, vocabulary: str, max_texts: int | None) -> dict[str, float]:
    """The library under both tokenizers, on texts that are in memory."""
    from benchmarks.peer import load_tokenizer

    library = load_tokenizer(vocabulary).backend_tokenizer
    jokes = list(prefixed(data, max_texts))
    seconds, _ = stopwatch(partial(library.encode_batch_fast, jokes))
    return {"jokes": len(jokes), "jokes_per_s": len(jokes) / seconds}


SIDES: dict[str, Callable[..., dict[str, float]]] = {
    "gpt1": pack_ours,
    "tutorial": pack_as_tutorial,
    "library": encode_at_once,
}


def same_ids(data: str, vocabulary: str, max_texts: int | None) -> bool:
    """Whether both tokenizers give the same ids for the first `COMPARED_TEXTS` jokes."""
    from benchmarks.peer import load_tokenizer

    jokes = list(islice(prefixed(data, max_texts), COMPARED_TEXTS))
    theirs = load_tokenizer(vocabulary)
    ours = Tokenizer.load(vocabulary, "bert").encode_batch(jokes)
    return ours == [theirs.encode(joke) for joke in jokes]


def prefixed(data: str, max_texts: int | None) -> Iterable[str]:
    """The jokes of a file behind the prefix."""
    return (PREFIX + joke for joke in islice(TextSource(data), max_texts))
