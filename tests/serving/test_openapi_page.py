"""The page of the API shows all of the document, and loads nothing."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from gpt1.serving.app import create_app
from gpt1.serving.openapi_page import html_page
from served_tasks import models_of_all_kinds


class Page(HTMLParser):
    """Takes down what a page shows and where it leads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.shown, self.tags, self.links, self.anchors = "", set[str](), set[str](), set[str]()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attributes:
            if name in ("href", "src"):
                self.links.add(str(value))
            if name == "id":
                self.anchors.add(str(value))

    def handle_data(self, data: str) -> None:
        self.shown += data


def test_the_page_shows_every_route_and_field_and_loads_nothing() -> None:
    app = create_app(models_of_all_kinds())
    document = app.openapi()
    text = html_page(document)
    page = Page(text)
    for path, operations in document["paths"].items():
        assert path in page.shown
        assert all(operation["description"] in page.shown for operation in operations.values())
    for schema in document["components"]["schemas"].values():
        assert all(field in page.shown for field in schema.get("properties", ()))
    assert page.tags.isdisjoint({"script", "img", "iframe"})
    assert {link for link in page.links if not link.startswith("#")} == {"openapi.json", "data:,"}
    assert {link[1:] for link in page.links if link.startswith("#")} <= page.anchors
    assert not re.search("https?://|url\\(|@import", text)


def test_names_do_not_break_out_of_the_page() -> None:
    bad = "<script>alert(1)</script>"
    operation = {"description": bad, "responses": {bad: {"description": bad}}}
    schema = {"description": bad, "properties": {bad: {"const": bad, "default": bad}}}
    text = html_page(
        {
            "info": {"title": bad, "version": bad},
            "paths": {bad: {"get": operation}},
            "components": {"schemas": {bad: schema, "b": {"properties": {"c": {"type": bad}}}}},
        }
    )
    assert "<script" not in text
