"""What the words of a text did to a prediction, as one HTML file that needs no network."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt1.evaluation.explanation_page import fill, shortened
from gpt1.tasks.example import Example

if TYPE_CHECKING:
    from gpt1.evaluation.attribution import Attribution, Word

TEMPLATE = Path(__file__).parents[1] / "assets" / "attribution.html"

HEADING = "Which words drove the prediction"
METHODS = {
    "leave_one_out": "each word left out in turn",
    "gradient": "gradient times embedding",
}
"""What the methods are called for people."""

WEAK = 0.08
"""Words below this share of the strongest score stay without a colour."""


def html_page(attribution: Attribution, title: str | None = None) -> str:
    """The page of an attribution: the text in colour, and a table of all words.

    Args:
        attribution: What to draw.
        title: Heading and title; default: `HEADING` and the beginning of the text.

    Returns:
        HTML with everything in it; it has no scripts.
    """
    value = attribution.label is None
    label = escape(label_text(attribution, attribution.label))
    beginning = shortened(" ".join(attribution.example.segments[0]))
    values = {
        "title": escape(title or beginning or HEADING),
        "heading": escape(title or HEADING),
        "facts": f"<b>{escape(prediction_text(attribution))}</b> · {METHODS[attribution.method]}",
        "texts": "\n".join(_texts(attribution)),
        "rows": "\n".join(_rows(attribution)),
        "without": '<th scope="col">without it</th>' if _has_without(attribution) else "",
        "against": "lowers it" if value else f"against {label}",
        "for": "raises it" if value else f"for {label}",
        "unit": "in the units of the value" if value else "in log-odds (nats)",
    }
    return fill(TEMPLATE, values)


def prediction_text(attribution: Attribution) -> str:
    """What was predicted, for people, and the label that is explained if it is another."""
    if attribution.label is None:
        return f"predicted {attribution.figure:.4g}"
    explained = f"{label_text(attribution, attribution.label)}, {attribution.figure:.1%}"
    if attribution.label == attribution.prediction:
        return f"predicted {explained}"
    return f"predicted {label_text(attribution, attribution.prediction)}; explained {explained}"


def label_text(attribution: Attribution, label: Any) -> str:
    """What a class or option is called."""
    return f"option {label}" if attribution.example.layout == "choice" else str(label)


def place_name(example: Example, segment: int) -> str:
    """What a segment is called; nothing where it is the only one."""
    if example.layout == "text":
        return ""
    if example.layout == "choice":
        return f"option {segment - 1}" if segment else "context"
    return ("first", "second")[segment]


def share(attribution: Attribution) -> Callable[[float], float]:
    """A function from scores to their share of the strongest one, 0 to 1, whatever the sign."""
    largest = max((abs(word.score) for word in attribution), default=0.0)
    return lambda score: abs(score) / largest if largest else 0.0


def _has_without(attribution: Attribution) -> bool:
    return attribution.method == "leave_one_out"


def _texts(attribution: Attribution) -> list[str]:
    """A paragraph a segment."""
    return [
        _named(
            place_name(attribution.example, segment),
            "".join(_coloured(attribution, segment, part) for part in range(len(parts))),
        )
        for segment, parts in enumerate(attribution.example.segments)
    ]


def _named(name: str, text: str) -> str:
    heading = f"<h3>{name}</h3>\n" if name else ""
    return f'{heading}<p class="text">{text}</p>'


def _coloured(attribution: Attribution, segment: int, part: int) -> str:
    """A part of the text, each word of some weight in a mark."""
    text = attribution.example.segments[segment][part]
    strength = share(attribution)
    pieces, done = [], 0
    for word in attribution:
        if word.place[:2] == (segment, part):
            pieces.append(escape(text[done : word.place.start]))
            pieces.append(_mark(word, strength(word.score)))
            done = word.place.end
    return "".join([*pieces, escape(text[done:])])


def _mark(word: Word, strength: float) -> str:
    if strength < WEAK:
        return f'<span title="{word.score:+.3f}">{escape(word.text)}</span>'
    kind = "for" if word.score > 0 else "against"
    style = f"--look: {100 * strength:.0f}%"
    return (
        f'<mark class="{kind}" style="{style}" title="{word.score:+.3f}">{escape(word.text)}</mark>'
    )


def _rows(attribution: Attribution) -> list[str]:
    strength = share(attribution)
    return [_row(attribution, word, strength(word.score)) for word in attribution.strongest()]


def _row(attribution: Attribution, word: Word, strength: float) -> str:
    kind = "for" if word.score > 0 else "against"
    name = place_name(attribution.example, word.place.segment)
    where = f" <small>{name}</small>" if name else ""
    without = ""
    if word.without is not None:
        figure = f"{word.without:.4g}" if attribution.label is None else f"{word.without:.1%}"
        without = f"<td>{figure}</td>"
    bar = f'<span class="{kind}" style="--look: {100 * strength:.1f}%"></span>'
    return (
        f'<tr><th scope="row">{escape(word.text)}{where}</th><td class="bar">{bar}</td>'
        f"<td>{word.score:+.3f}</td>{without}</tr>"
    )
