"""``gpt1 explain``: a text coloured by what the model expected, and why; or one HTML page.

Of a task model it is coloured by what each word did to the prediction, see `gpt1.cli.explain_task`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace

from gpt1.cli.loading import add_model_arguments, load_model
from gpt1.data.files import utf8_lines
from gpt1.errors import ConfigError, DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.console import Console
    from rich.text import Text

    from gpt1.evaluation.explaining import Alternative, Explanation

EXAMPLES = """\
gpt1 explain "The dog barked at the cat."
gpt1 explain "The dog barked at the cat." --html dog.html
gpt1 explain --file letter.txt --lens --top 3
gpt1 explain "A lovely film." --model runs/reviews
gpt1 explain "A dog runs." "An animal moves." --model runs/snli --label entailment --html why.html
gpt1 explain "The dog barked at the cat." --attention 3 --head 2
echo "The meaning of life" | gpt1 explain - --model openai-community/openai-gpt --json"""

WIDTH_OF_FILES = 120
"""Columns where the output is not written to a terminal."""

LENS_COLUMN = 16
"""Columns for one token of the lens."""

MARGIN = 20
"""Columns beside an attention map: for the number of a token, and its name."""

SHADES = ((0.5, "█"), (0.25, "▓"), (0.1, "▒"), (0.02, "░"), (0.0, "·"))
"""From which attention weight on a character is used."""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the flags of the command."""
    parser.add_argument(
        "text",
        nargs="*",
        help="Text to look at; - reads standard input. Of a task model: what it was trained on, "
        "such as both texts of a pair, or a context and its options.",
    )
    parser.add_argument("--file", help="A text file instead; - is standard input.")
    add_model_arguments(parser)
    parser.add_argument(
        "--top",
        type=int,
        default=5,
        help="Likeliest tokens to show a place; of a task model, words.",
    )
    parser.add_argument(
        "--lens", action="store_true", help="Show what each layer would have put behind each token."
    )
    parser.add_argument(
        "--attention", type=int, metavar="LAYER", help="Show the attention of a layer, from 1."
    )
    parser.add_argument(
        "--head", type=int, help="Of this head, from 1; default: the mean of all heads."
    )
    parser.add_argument(
        "--label", help="Of a task model: explain this class or option, not what is predicted."
    )
    parser.add_argument(
        "--method",
        choices=("leave_one_out", "gradient"),
        help="Of a task model: leave each word out in turn (the default), or use gradients.",
    )
    parser.add_argument("--html", help="Write everything to this HTML file, to hover over.")
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")


def run(args: Namespace) -> int:
    """Explain and print; returns the exit code."""
    from gpt1.locate import locate
    from gpt1.task_checkpoint import is_task_model

    texts = _texts(args)
    folder = locate(args.model, revision=args.revision)
    if is_task_model(folder):
        from gpt1.cli.explain_task import run_task

        return run_task(args, folder, texts)
    return _run_language_model(args, texts)


def _run_language_model(args: Namespace, texts: list[str]) -> int:
    for flag, value in (("--label", args.label), ("--method", args.method)):
        if value is not None:
            raise ConfigError(f"{flag} is for task models, but {args.model} is a language model")
    if len(texts) > 1:
        raise ConfigError(f"a language model reads one text, but there are {len(texts)}; quote it")
    [text] = texts
    lm = load_model(args)
    explanation = lm.explain(text, args.top)
    if not len(explanation):
        raise DataError("the text has no tokens, so there is nothing to show; give at least a word")
    lens = explanation.lens if args.lens else None
    attention = _attention(explanation, args.attention, args.head)
    if args.html:
        explanation.save_html(args.html)
    if args.json:
        print(json.dumps(_record(explanation, lens, attention), ensure_ascii=False))
        return 0
    console = output_console()
    _print_text(console, explanation)
    _print_table(console, explanation)
    if lens is not None:
        _print_lens(console, explanation)
    if attention is not None:
        _print_attention(console, explanation, attention)
    if args.html:
        console.print(f"\n{args.html} shows all of it in a browser.", markup=False, soft_wrap=True)
    return 0


def _texts(args: Namespace) -> list[str]:
    if bool(args.text) == (args.file is not None):
        raise ConfigError("give either a text or --file, not both and not neither")
    if args.text == ["-"] or args.file == "-":
        return ["".join(utf8_lines(sys.stdin.buffer, "standard input"))]
    if args.file is None:
        return list(args.text)
    try:
        with Path(args.file).open("rb") as stream:
            return ["".join(utf8_lines(stream, args.file))]
    except OSError as error:
        raise DataError(f"cannot read {args.file}: {error.strerror}; check the path") from error


def _attention(
    explanation: Explanation, layer: int | None, head: int | None
) -> NDArray[Any] | None:
    """The ``(T, T)`` map that was asked for, if one was."""
    if layer is None:
        if head is not None:
            raise ConfigError(f"--head {head} needs --attention, the layer the head is of")
        return None
    maps = explanation.attentions
    _check_number("--attention", layer, maps.shape[0], "layers")
    if head is None:
        return maps[layer - 1].mean(axis=0)  # type: ignore[no-any-return]
    _check_number("--head", head, maps.shape[1], "heads")
    return maps[layer - 1, head - 1]  # type: ignore[no-any-return]


def _check_number(flag: str, value: int, count: int, what: str) -> None:
    if not 1 <= value <= count:
        raise ConfigError(
            f"{flag} is {value} but the model has {count} {what}; choose 1 to {count}"
        )


def _record(
    explanation: Explanation, lens: list[list[Alternative]] | None, attention: NDArray[Any] | None
) -> dict[str, Any]:
    """What ``--json`` prints."""
    record = explanation.to_dict()
    if lens is not None:
        record["lens"] = [[best._asdict() for best in layer] for layer in lens]
    if attention is not None:
        record["attention"] = attention.tolist()
    return record


def output_console() -> Console:
    """Where results are drawn: as wide as the terminal, or `WIDTH_OF_FILES`."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else WIDTH_OF_FILES
    return Console(width=width, highlight=False)


def _print_text(console: Console, explanation: Explanation) -> None:
    """Print the text, each token on the colour of its surprisal, and what the colours mean."""
    from rich.text import Text

    from gpt1.evaluation.explanation_page import BITS_PER_LEVEL, LIGHT, level

    text = Text()
    for token in explanation:
        word = token.text.lstrip(" ")
        text.append(" " * (len(token.text) - len(word)))
        text.append(word.replace("\n", "\\n\n"), _background(level(token.surprisal)))
    console.print(text)
    if console.color_system and not console.no_color:
        legend = Text("\nsurprisal in bits: ")
        for number in range(len(LIGHT) + 1):
            more = "+" if number == len(LIGHT) else ""
            legend.append(f" {number * BITS_PER_LEVEL}{more} ", _background(number))
        console.print(legend)
    mean = explanation.bits_per_token
    count = f"{len(explanation):,} token{'' if len(explanation) == 1 else 's'}"
    console.print(f"\n{count}" + ("" if mean is None else f", {mean:.2f} bits per token"))


def _background(number: int) -> str:
    from gpt1.evaluation.explanation_page import LIGHT

    return f"#1d1b18 on {LIGHT[number - 1]}" if number else ""


def _print_table(console: Console, explanation: Explanation) -> None:
    """Print a line a token, and one for what comes next."""
    from rich.table import Table
    from rich.text import Text

    from gpt1.evaluation.explanation_page import level, readable

    table = Table("", "token", "probability", "rank", "bits", "likeliest")
    for column in (0, 2, 3, 4):
        table.columns[column].justify = "right"
    for token in explanation:
        figures = ("", "", "")
        if token.probability is not None:
            figures = (f"{token.probability:.2%}", f"{token.rank:,}", f"{token.surprisal:.2f}")
        word = Text(readable(token.piece), _background(level(token.surprisal)))
        row = (str(token.position + 1), word, *figures, _likeliest(token.alternatives))
        table.add_row(*row, end_section=token.position == len(explanation) - 1)
    table.add_row("", Text("next?", "italic"), "", "", "", _likeliest(explanation.next))
    console.print(table)


def _likeliest(alternatives: Iterable[Alternative]) -> Text:
    from rich.text import Text

    from gpt1.evaluation.explanation_page import readable

    return Text("  ".join(f"{readable(a.piece)} {a.probability:.1%}" for a in alternatives))


def _print_lens(console: Console, explanation: Explanation) -> None:
    """Print the best token of each layer behind each token, as many tokens a table as fit."""
    from rich.table import Table
    from rich.text import Text

    from gpt1.evaluation.explanation_page import readable

    console.print("\nLogit lens: what each layer would put behind each token")
    size = max(1, (console.width - len("│ embeddings │")) // (LENS_COLUMN + 3))
    for start in range(0, len(explanation), size):
        places = range(len(explanation))[start : start + size]
        table = Table("layer")
        for t in places:
            table.add_column(Text(readable(explanation[t].piece)), width=LENS_COLUMN, no_wrap=True)
        for number, layer in enumerate(explanation.lens):
            best = (layer[t] for t in places)
            cells = (Text(f"{b.probability:4.0%} {readable(b.piece)}") for b in best)
            table.add_row(str(number) if number else "embeddings", *cells)
        console.print(table)


def _print_attention(console: Console, explanation: Explanation, attention: NDArray[Any]) -> None:
    """Print a map as shaded characters: a row a token, with its name at its own column."""
    from rich.text import Text

    from gpt1.evaluation.explanation_page import readable

    total = len(explanation)
    room = console.width - MARGIN
    first = max(0, total - room)
    cell = 2 if 2 * (total - first) <= room else 1
    scale = "  ".join(f"{shade} {least:.0%}" for least, shade in reversed(SHADES))
    console.print(f"\nAttention: a row looks at the columns up to its own.  {scale} and more")
    if first:
        console.print(f"(The last {total - first} of {total} tokens; --html shows all.)")
    for row in range(first, total):
        cells = "".join(_shade(weight) * cell for weight in attention[row, first : row + 1])
        name = readable(explanation[row].piece)
        console.print(Text(f"{row + 1:4} {cells} {name}"), no_wrap=True, overflow="ellipsis")


def _shade(weight: float) -> str:
    return next(shade for least, shade in SHADES if weight >= least)
