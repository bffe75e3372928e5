"""The text of an EPUB book: its chapters in the order of the spine, paragraphs by blank lines.

EPUB 3.3 (W3C) sections 4 and 5: a zip file whose ``META-INF/container.xml`` names the package
document, whose spine names the chapters, which are XHTML.
"""

from __future__ import annotations

import posixpath
import re
import zipfile
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote
from xml.etree import ElementTree

from gpt1.errors import DataError

_XHTML = ("application/xhtml+xml", "text/html")
_UNREAD = frozenset(("head", "script", "style", "svg", "math", "template"))
_BLOCKS = frozenset(
    re.findall(
        r"\w+",
        "address article aside blockquote body caption center dd details div dl dt figcaption"
        " figure footer h1 h2 h3 h4 h5 h6 header hr li main nav ol p pre section table td th tr ul",
    )
)
_ENCODING = re.compile(rb"""^\s*<\?xml[^>]*?encoding=["']([\w.-]+)["']""")


class Book(NamedTuple):
    """What is read of a book.

    Attributes:
        text: Of all chapters.
        license: The rights as the book states them.
    """

    text: str
    license: str | None


def read_epub(file: Path) -> Book:
    """Read a book.

    Args:
        file: An .epub file.

    Raises:
        DataError: If it is no EPUB, is damaged, or a chapter is missing or encrypted.
    """
    try:
        with file.open("rb") as raw, zipfile.ZipFile(raw) as archive:
            package = _package(archive)
            chapters = [chapter_text(_decode(archive.read(n))) for n in _spine(archive, package)]
            rights = ElementTree.fromstring(archive.read(package)).findtext(".//{*}rights")
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{file} is no readable EPUB: {error}") from None
    except (ElementTree.ParseError, LookupError, UnicodeDecodeError) as error:
        raise DataError(f"{file} is no valid EPUB: {error}") from None
    text = "\n\n".join(filter(None, chapters))
    return Book(f"{text}\n" if text else "", " ".join((rights or "").split()) or None)


def _package(archive: zipfile.ZipFile) -> str:
    """Name of the package document."""
    container = ElementTree.fromstring(archive.read("META-INF/container.xml"))
    root = container.find(".//{*}rootfile")
    if root is None:
        raise KeyError("its container names no package document")
    return root.attrib["full-path"]


def _spine(archive: zipfile.ZipFile, package: str) -> list[str]:
    """Names of the chapters in reading order, without the table of contents."""
    tree = ElementTree.fromstring(archive.read(package))
    items = {item.attrib["id"]: item.attrib for item in tree.iterfind(".//{*}manifest/{*}item")}
    folder = posixpath.dirname(package)
    names = []
    for reference in tree.iterfind(".//{*}spine/{*}itemref"):
        item = items[reference.attrib["idref"]]
        is_contents = "nav" in item.get("properties", "").split()
        is_aside = reference.get("linear") == "no"
        if item.get("media-type") in _XHTML and not is_contents and not is_aside:
            path = unquote(item["href"].partition("#")[0])
            names.append(posixpath.normpath(posixpath.join(folder, path)))
    return names


def _decode(chapter: bytes) -> str:
    declared = _ENCODING.match(chapter)
    if chapter.startswith((b"\xff\xfe", b"\xfe\xff")):
        return chapter.decode("utf-16")
    return chapter.decode(declared[1].decode() if declared else "utf-8").removeprefix("\ufeff")


def chapter_text(xhtml: str) -> str:
    """The paragraphs of a chapter, a blank line between two; a line break stays one."""
    reader = _Reader()
    reader.feed(xhtml)
    reader.close()
    paragraphs = "".join(reader.pieces).split(_BREAK)
    lines = ("\n".join(map(_one_line, text.split(_LINE))).strip() for text in paragraphs)
    return "\n\n".join(filter(None, lines))


def _one_line(text: str) -> str:
    return " ".join(text.split())


_BREAK, _LINE = "\x1d", "\x1e"  # XML has no such characters


class _Reader(HTMLParser):
    """Collects text; where a paragraph ends it puts `_BREAK`, for a line break `_LINE`."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self.unread = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.unread += tag in _UNREAD
        self._mark(tag)

    def handle_endtag(self, tag: str) -> None:
        self.unread = max(self.unread - (tag in _UNREAD), 0)
        self._mark(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._mark(tag)

    def handle_data(self, data: str) -> None:
        if not self.unread:
            self.pieces.append(data)

    def _mark(self, tag: str) -> None:
        if tag in _BLOCKS:
            self.pieces.append(_BREAK)
        elif tag == "br" and not self.unread:
            self.pieces.append(_LINE)
