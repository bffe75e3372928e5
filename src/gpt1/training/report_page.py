"""The report card of a run as one HTML file that needs no network and runs no scripts."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path

from gpt1.evaluation.explanation_page import fill
from gpt1.training.report_card import GENERAL_TEXT, Change, ReportCard
from gpt1.training.svg_chart import Points, line_chart

TEMPLATE = Path(__file__).parents[1] / "assets" / "report.html"

CHARTS = {
    "Loss": ({"loss": "training", "valid_loss": "validation"}, "nats per token"),
    "Learning rate": ({"lr": "learning rate"}, ""),
    "Gradient norm": ({"grad_norm": "gradient norm"}, "before clipping"),
    "Throughput": ({"tokens_per_s": "throughput"}, "tokens per second"),
}
"""Title of each chart, its lines by their names in the metrics, and their unit."""


def html_page(card: ReportCard) -> str:
    """The page of a report card: curves, samples, tables.

    Args:
        card: What to show.

    Returns:
        HTML with everything in it.
    """
    values = {
        "title": escape(card.title),
        "origin": escape(card.origin),
        "tiles": "\n".join(_tile(*tile) for tile in _tiles(card)),
        "charts": "\n".join(_chart(card, title) for title in CHARTS),
        "samples": _samples(card),
        "copying": _copying(card),
        "cost": _table(card.cost),
        "command": f"<pre>{escape(card.command)}</pre>" if card.command else "",
        "versions": escape(card.versions),
        "facts": _table(card.facts),
    }
    return fill(TEMPLATE, values)


def _tiles(card: ReportCard) -> list[tuple[str, str, str]]:
    """Heading, figure and remark of each tile."""
    copied = max((size for size, rate in card.copied.items() if rate is not None), default=None)
    tiles = [
        (
            "Perplexity on validation data",
            _change(card.validation),
            "before the first update → of the kept model",
        ),
        ("Perplexity on general text", _change(card.general), _forgetting(card.general)),
    ]
    if copied is not None:
        rate = card.copied[copied]
        remark = f"of runs of {copied} tokens stand in the training data"
        tiles.append(("Copied", _percent(rate), remark))
    tiles.append(("Training time", card.cost["training time"], card.cost["hardware"]))
    return tiles


def _tile(name: str, figure: str, remark: str) -> str:
    return (
        f'<div class="card tile"><dt>{escape(name)}</dt>'
        f"<dd>{escape(figure)}<small>{escape(remark)}</small></dd></div>"
    )


def _change(change: Change) -> str:
    before, after = (
        "?" if value is None else f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"
        for value in change.perplexities
    )
    return "no validation" if before == after == "?" else f"{before} → {after}"


def _forgetting(change: Change) -> str:
    words = len(GENERAL_TEXT.read_text(encoding="utf-8").split())
    text = f"{words} words of plain English"
    if change.before is None or change.after is None:
        return text
    return f"{text}: {'worse' if change.after > change.before else 'no worse'} than before"


def _chart(card: ReportCard, title: str) -> str:
    names, unit = CHARTS[title]
    lines: dict[str, Points] = {
        shown: [(row["step"], row[name]) for row in card.metrics if name in row]
        for name, shown in names.items()
    }
    shown = [name for name, points in lines.items() if points]
    keys = "".join(
        f'<span><i class="key line-{number}"></i>{name}</span>' for number, name in enumerate(shown)
    )
    legend = f'<div class="legend">{keys}</div>' if len(shown) > 1 else ""
    heading = f"{title} ({unit})" if unit else title
    return f"<div><h3>{heading}</h3>{line_chart(lines, unit)}{legend}</div>"


def _samples(card: ReportCard) -> str:
    if not card.samples:
        return '<p class="hint">None: an LSTM cannot be sampled from.</p>'
    hint = "Drawn with temperature 0.8 and top_p 0.95, not picked. What was given is bold."
    return f'<p class="hint">{hint}</p>' + "\n".join(
        f'<p class="sample">{_marked(sample.text, sample.prompt)}</p>' for sample in card.samples
    )


def _marked(text: str, prompt: str) -> str:
    """A sample with its beginning in bold, as far as the tokenizer left it recognisable."""
    if prompt and text.lower().startswith(prompt.lower()):
        return f"<b>{escape(text[: len(prompt)])}</b>{escape(text[len(prompt) :])}"
    return escape(text) or "(nothing)"


def _copying(card: ReportCard) -> str:
    part = "" if card.searched_whole else ", of which the first 20 million tokens were searched"
    lines = []
    if card.copied:
        rates = {"tokens": "copied"}
        rates |= {str(size): _percent(rate) for size, rate in card.copied.items()}
        varied = {f"distinct-{size}": _percent(rate) for size, rate in card.distinct.items()}
        lines += [
            '<p class="hint">Share of the runs of so many tokens in the samples that occur in the '
            f"training data{part}. Short runs recur in any text; long ones are copied.</p>",
            f'<div class="wide">{_row_table(rates)}</div>',
            '<p class="hint">Share of the runs of 1, 2 and 3 tokens in the samples that differ: '
            "low where the model repeats itself.</p>",
            f'<div class="wide">{_row_table(varied)}</div>',
        ]
    found = card.repeats
    share = found.repeated / found.total if found.total else 0.0
    lines.append(
        f'<p class="hint">In the training data{part}, {found.repeated:,} of {found.total:,} '
        f"{escape(found.unit)} ({share:.1%}) had been there before.</p>"
    )
    return "\n".join(lines)


def _percent(rate: float | None) -> str:
    return "too short" if rate is None else f"{rate:.1%}"


def _row_table(cells: Mapping[str, str]) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in cells)
    return (
        f"<table><tr>{head}</tr><tr>{''.join(f'<td>{v}</td>' for v in cells.values())}</tr></table>"
    )


def _table(rows: Mapping[str, str]) -> str:
    lines = (
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>'
        for name, value in rows.items()
    )
    return f"<table>{''.join(lines)}</table>"
