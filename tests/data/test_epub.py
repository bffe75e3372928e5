"""EPUB: chapters in the order of the spine, and nothing but their text."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest

from gpt1.data.epub import chapter_text, read_epub
from gpt1.data.sources import TextSource
from gpt1.errors import DataError

CONTAINER = """<?xml version="1.0"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">
  <rootfiles>
    <rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/>
  </rootfiles>
</container>"""
PACKAGE = """<?xml version="1.0" encoding="utf-8"?>
<package xmlns="http://www.idpf.org/2007/opf" version="3.0">
  <metadata xmlns:dc="http://purl.org/dc/elements/1.1/">
    <dc:title>A Book</dc:title><dc:rights>Public domain
      in the USA</dc:rights>
  </metadata>
  <manifest>
    <item id="two" href="text/a%20second.xhtml" media-type="application/xhtml+xml"/>
    <item id="one" href="text/z-first.xhtml" media-type="application/xhtml+xml"/>
    <item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>
    <item id="notes" href="notes.xhtml" media-type="application/xhtml+xml"/>
    <item id="cover" href="cover.svg" media-type="image/svg+xml"/>
  </manifest>
  <spine>
    <itemref idref="cover"/><itemref idref="nav"/><itemref idref="one"/><itemref idref="two"/>
    <itemref idref="notes" linear="no"/>
  </spine>
</package>"""
PAGE = """<?xml version="1.0" encoding="{encoding}"?>
<html xmlns="http://www.w3.org/1999/xhtml">
<head><title>not text</title><style>p {{ margin: 0 }}</style></head>
<body><section><h2>{title}</h2>{body}</section></body></html>"""


def page(title: str, body: str, encoding: str = "utf-8") -> bytes:
    return PAGE.format(title=title, body=body, encoding=encoding).encode(encoding)


FILES = {
    "mimetype": b"application/epub+zip",
    "META-INF/container.xml": CONTAINER.encode(),
    "OEBPS/book.opf": PACKAGE.encode(),
    "OEBPS/nav.xhtml": page("Contents", "<p>not text</p>"),
    "OEBPS/notes.xhtml": page("Notes", "<p>not text</p>"),
    "OEBPS/text/a second.xhtml": page("II", "<p>Caf\u00e9.</p>", "iso-8859-1"),
    "OEBPS/text/z-first.xhtml": page("I", "<p>It &amp; he\n  went&#8212;<i>home</i>.</p><p/>"),
    "OEBPS/cover.svg": b"<svg/>",
}


def epub(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_chapters_are_read_in_the_order_of_the_spine(tmp_path: Path) -> None:
    book = read_epub(epub(tmp_path / "a.epub", FILES))
    assert book.text == "I\n\nIt & he went\u2014home.\n\nII\n\nCafé.\n"
    assert book.license == "Public domain in the USA"


def test_a_book_is_one_text_of_a_source(tmp_path: Path) -> None:
    epub(tmp_path / "a.epub", FILES)
    [(name, text)] = TextSource(tmp_path).named()
    assert name == "a.epub"
    assert text.startswith("I\n\nIt & he")


@pytest.mark.parametrize(
    ("xhtml", "text"),
    [
        ("<p>one</p><p>two</p>", "one\n\ntwo"),
        ("<p>a line<br/>another  <br>\n third</p>", "a line\nanother\nthird"),
        ("<div>outer<p>inner</p>after</div>", "outer\n\ninner\n\nafter"),
        ("<ul><li>one</li><li>two</li></ul>", "one\n\ntwo"),
        ("<p>a<script>var x = '<p>';</script>b</p>", "ab"),
        ("<p>x<svg><text>y</text></svg>z</p>", "xz"),
        ("<p><span>un</span><em>broken</em></p>", "unbroken"),
        ("<p>a < b</p>", "a < b"),
        ("", ""),
    ],
)
def test_blocks_become_paragraphs_and_inline_tags_nothing(xhtml: str, text: str) -> None:
    assert chapter_text(xhtml) == text


def test_pages_in_utf16_and_with_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    files = FILES | {
        "OEBPS/text/z-first.xhtml": "<p>\u201csixteen\u201d</p>".encode("utf-16"),
        "OEBPS/text/a second.xhtml": b"\xef\xbb\xbf<p>eight</p>",
    }
    assert read_epub(epub(tmp_path / "a.epub", files)).text == "“sixteen”\n\neight\n"


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({}, "is no valid EPUB: .*META-INF/container.xml"),
        (FILES | {"META-INF/container.xml": b"<container/>"}, "names no package document"),
        (FILES | {"OEBPS/book.opf": b"<package>"}, "is no valid EPUB: no element found"),
        ({k: v for k, v in FILES.items() if "first" not in k}, "z-first.xhtml"),
        (FILES | {"OEBPS/text/z-first.xhtml": b"<p>\xff</p>"}, "is no valid EPUB: 'utf-8' codec"),
    ],
)
def test_a_book_that_lacks_something_is_refused_with_what_it_lacks(
    tmp_path: Path, files: dict[str, bytes], problem: str
) -> None:
    path = epub(tmp_path / "a.epub", files)
    with pytest.raises(DataError, match=re.escape(str(path)) + ".*" + problem):
        read_epub(path)


def test_what_is_no_zip_file_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    whole = epub(tmp_path / "a.epub", FILES).read_bytes()
    place = whole.index(b"z-first.xhtml") + len(b"z-first.xhtml") + 10
    damaged = whole[:place] + b"\xff" * 20 + whole[place + 20 :]
    for content in (b"hello", whole[: len(whole) // 2], damaged):
        (tmp_path / "b.epub").write_bytes(content)
        with pytest.raises(DataError, match=r"b\.epub is no readable EPUB: "):
            read_epub(tmp_path / "b.epub")
