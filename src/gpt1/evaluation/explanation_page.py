"""An explanation as one HTML file that needs no network; its template is a file of the package."""

from __future__ import annotations

import base64
import html
import json
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gpt1.text.detokenize import END_OF_WORD

if TYPE_CHECKING:
    from gpt1.evaluation.explaining import Alternative, Explanation

TEMPLATE = Path(__file__).parents[1] / "assets" / "explanation.html"
STYLE = Path(__file__).parents[1] / "assets" / "page.css"
"""What all pages look like."""

BITS_PER_LEVEL = 2
"""Surprisal from one colour to the next; one step is four times less probable."""

LIGHT = ("#fff1bd", "#ffe08f", "#ffca75", "#ffb066", "#fc9468", "#f27a70", "#e3657f")
DARK = ("#38321c", "#4d3d17", "#654615", "#7e4b1a", "#964a24", "#a94434", "#b83e4e")
"""Backgrounds of levels 1 to 7 under dark and under light text; level 0 has none."""

HEADING = "What the model expected"
TITLE_CHARS = 60


def level(surprisal: float | None) -> int:
    """Which background a token gets: 0 for an expected one (or the first) to 7."""
    return 0 if surprisal is None else min(len(LIGHT), int(surprisal / BITS_PER_LEVEL))


def readable(piece: str) -> str:
    """A vocabulary piece for people: ``dog`` for ``dog</w>``, ``do…`` for one within a word."""
    word = piece.removesuffix(END_OF_WORD)
    unfinished = word == piece and piece.isalnum()  # _start_ and <unk> are words of their own
    return word.replace("\n", "\\n") + ("…" if unfinished else "")


def html_page(explanation: Explanation, title: str | None = None) -> str:
    """The page of an explanation.

    Args:
        explanation: Of at least one token; of one longer than ``n_positions`` the last window is
            shown.
        title: Heading and title; default: `HEADING` and the beginning of the text.

    Returns:
        HTML with everything in it. Attention weights are rounded to 1/255.

    Raises:
        DataError: If there are no tokens.
    """
    window = explanation.last_window()
    filled = {
        "title": html.escape(title or shortened(window.text)),
        "heading": html.escape(title or HEADING),
        "data": _json({**_data(window), "total": len(explanation)}),
    }
    return fill(TEMPLATE, filled)


def fill(template: Path, values: Mapping[str, str]) -> str:
    """A page from its template.

    Args:
        template: HTML; ``{{style}}`` is where the style of all pages goes, and ``{{name}}`` the
            value of that name.
        values: HTML, by name.
    """
    style = STYLE.read_text(encoding="utf-8")
    text = template.read_text(encoding="utf-8").replace("{{style}}", style.rstrip())
    filled = {"light": _colours(LIGHT), "dark": _colours(DARK), **values}
    return re.sub(r"\{\{(\w+)\}\}", lambda found: filled[found[1]], text)


def shortened(text: str) -> str:
    """The beginning of a text, on one line, as a title."""
    line = " ".join(text.split())
    return line if len(line) <= TITLE_CHARS else line[: TITLE_CHARS - 1].rstrip() + "…"


def _data(window: Explanation) -> dict[str, Any]:
    """What the page reads, short: a probability goes with its word, maps are packed."""
    maps = window.attentions
    return {
        "tokens": [
            {
                "text": token.text,
                "word": readable(token.piece),
                "piece": token.piece,
                "id": token.id,
                "bits": _rounded(token.surprisal),
                "level": level(token.surprisal),
                "rank": token.rank,
                "best": _pairs(token.alternatives),
            }
            for token in window
        ],
        "next": _pairs(window.next),
        "lens": [_pairs(layer) for layer in window.lens],
        "bitsPerToken": _rounded(window.bits_per_token),
        "bitsPerLevel": BITS_PER_LEVEL,
        "layers": maps.shape[0],
        "heads": maps.shape[1],
        "attention": _packed(maps),
    }


def _pairs(alternatives: Iterable[Alternative]) -> list[tuple[str, float | None]]:
    return [(readable(other.piece), _rounded(other.probability)) for other in alternatives]


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _packed(maps: NDArray[np.float32]) -> str:
    """What lies on and below the diagonal, a byte a weight, map after map, row after row."""
    rows, columns = np.tril_indices(maps.shape[2])
    weights = np.rint(maps[:, :, rows, columns] * 255).astype(np.uint8)
    return base64.b64encode(zlib.compress(weights.tobytes())).decode()


def _json(data: dict[str, Any]) -> str:
    """JSON that no text can break out of a script element with."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _colours(ramp: Sequence[str]) -> str:
    return " ".join(f"--s{number}: {colour};" for number, colour in enumerate(ramp, 1))
