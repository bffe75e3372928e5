"""The report of a reproduction: the same sections as Markdown, HTML and JSON."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from gpt1.atomic import write_text_atomic
from gpt1.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPLATE = Path(__file__).parents[1] / "assets" / "reproduction.html"


class Ink(NamedTuple):
    """Colours of a picture: of text and lines, of what is faint, and of series."""

    text: str
    faint: str
    series: tuple[str, ...]


LIGHT = Ink("#1d1b18", "#a49c8f", ("#1f5fc4", "#d0662a", "#2c8c5a", "#a03c8c", "#7a6a10"))
DARK = Ink("#f1eee8", "#767c88", ("#8cb8ff", "#ff9f66", "#6fd0a0", "#e08fd0", "#d8c860"))

Drawing: TypeAlias = "Callable[[Ink], Figure]"
"""Draws a picture in some colours, on nothing."""


@dataclass(frozen=True)
class Grid:
    """A table of texts.

    Attributes:
        columns: Headings.
        rows: Cells.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Section:
    """One table or figure of the paper.

    Attributes:
        name: Such as "table2".
        title: For people.
        summary: What came out, in sentences.
        grids: Tables.
        remarks: How to read it.
        drawings: Pictures by name.
        data: All of it, for JSON.
    """

    name: str
    title: str
    summary: Sequence[str]
    grids: Sequence[Grid] = ()
    remarks: Sequence[str] = ()
    drawings: Mapping[str, Drawing] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PaperReport:
    """What a reproduction found.

    Attributes:
        name: Of its files.
        title: For people.
        facts: Model, data, settings, machines.
        sections: Tables and figures.
        summary: What came out of all of them together, in sentences.
        remarks: Why all numbers may differ from the paper's.
    """

    name: str
    title: str
    facts: Mapping[str, str]
    sections: Sequence[Section]
    summary: Sequence[str] = ()
    remarks: Sequence[str] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "title": self.title,
            "summary": list(self.summary),
            "why": list(self.remarks),
            "facts": dict(self.facts),
            "sections": [
                {"name": s.name, "title": s.title, "summary": list(s.summary), **s.data}
                for s in self.sections
            ],
        }

    def write(self, out: Path) -> list[Path]:
        """Write ``NAME.html``, ``NAME.md``, ``NAME.json`` and a picture ``.png`` of each drawing.

        Returns:
            The files: the page first.
        """
        pictures = {n: draw for section in self.sections for n, draw in section.drawings.items()}
        notes = []
        try:
            new_figure(1, 1)
        except MissingExtraError as error:
            pictures, notes = {}, [str(error)]
        for name, draw in pictures.items():
            draw(LIGHT).savefig(out / f"{name}.png", dpi=150)
        texts = {
            ".html": self.html(pictures, notes),
            ".md": self.markdown(pictures, notes),
            ".json": json.dumps(self.as_dict(), indent=2, ensure_ascii=False) + "\n",
        }
        for ending, text in texts.items():
            write_text_atomic(out / (self.name + ending), text)
        return [out / (self.name + ending) for ending in texts]

    def markdown(self, pictures: Mapping[str, Drawing], notes: Sequence[str] = ()) -> str:
        """The report as Markdown; pictures are files beside it."""
        parts = [f"# {self.title}", *self.summary]
        for section in self.sections:
            parts += [f"## {section.title}", *section.summary]
            parts += [_markdown_grid(grid) for grid in section.grids]
            parts += [
                f"![{section.title}]({name}.png)" for name in section.drawings if name in pictures
            ]
            parts += ["\n".join(f"- {remark}" for remark in section.remarks)]
        facts = [[name, value] for name, value in self.facts.items()]
        parts += ["## How it was made", _markdown_grid(Grid(("", ""), facts))]
        parts.append("\n".join(f"- {remark}" for remark in [*self.remarks, *notes]))
        return "\n\n".join(part for part in parts if part) + "\n"

    def html(self, pictures: Mapping[str, Drawing], notes: Sequence[str] = ()) -> str:
        """The report as one page that needs no network, on a light or a dark page."""
        body = [f'<p class="summary">{html.escape(line)}</p>' for line in self.summary]
        body += [_html_section(section, pictures) for section in self.sections]
        facts = Grid(("", ""), [[name, value] for name, value in self.facts.items()])
        body.append(
            f'<section class="card"><h2>How it was made</h2>{_html_grid(facts)}'
            f"{_html_list([*self.remarks, *notes])}</section>"
        )
        filled = {"title": html.escape(self.title), "body": "\n".join(body)}
        template = TEMPLATE.read_text(encoding="utf-8")
        return re.sub(r"\{\{(\w+)\}\}", lambda found: filled[found[1]], template)


def _html_section(section: Section, pictures: Mapping[str, Drawing]) -> str:
    parts = [f'<section class="card" id="{section.name}"><h2>{html.escape(section.title)}</h2>']
    parts += [f'<p class="summary">{html.escape(line)}</p>' for line in section.summary]
    parts += [_html_grid(grid) for grid in section.grids]
    parts += [
        _html_picture(draw, section.title)
        for name, draw in section.drawings.items()
        if name in pictures
    ]
    return "\n".join([*parts, _html_list(section.remarks), "</section>"])


def _html_list(lines: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""


def new_figure(width: float, height: float) -> Figure:
    """An empty picture.

    Args:
        width: In inches.
        height: In inches.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError('a plot needs matplotlib: pip install "gpt1[plot]"') from None
    return Figure(figsize=(width, height), layout="constrained")


def _markdown_grid(grid: Grid) -> str:
    lines = [grid.columns, ["---"] * len(grid.columns), *grid.rows]
    return "\n".join("| " + " | ".join(map(_markdown_cell, line)) + " |" for line in lines)


def _markdown_cell(text: str) -> str:
    """Text that neither ends a cell nor starts a tag."""
    for old, new in (("&", "&amp;"), ("<", "&lt;"), ("|", "&#124;"), ("*", "&#42;")):
        text = text.replace(old, new)
    return " ".join(text.split())


def _html_grid(grid: Grid) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in grid.columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
        for row in grid.rows
    )
    head = f"<thead><tr>{head}</tr></thead>" if any(grid.columns) else ""
    return f'<div class="wide"><table>{head}<tbody>{rows}</tbody></table></div>'


def _html_picture(draw: Drawing, title: str) -> str:
    dark, light = (_svg(draw(ink)) for ink in (DARK, LIGHT))
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img src="{light}" alt="{html.escape(title)}"></picture>'
    )


def _svg(figure: Figure) -> str:
    """The picture as the address of itself."""
    stream = BytesIO()
    figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(stream.getvalue()).decode()
