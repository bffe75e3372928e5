"""The OpenAPI document as a page for people, which needs no other host and no script."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from gpt1.evaluation.explanation_page import fill

TEMPLATE = Path(__file__).parents[1] / "assets" / "api.html"


def html_page(document: Mapping[str, Any]) -> str:
    """The page of an OpenAPI document.

    Args:
        document: As `gpt1.serving.openapi.document` makes it.

    Returns:
        HTML with everything in it.
    """
    info = document["info"]
    schemas = document.get("components", {}).get("schemas", {})
    values = {
        "title": escape(f"{info['title']} {info['version']}: API"),
        "facts": 'For programs: <a href="openapi.json">openapi.json</a>',
        "routes": "\n".join(_routes(document["paths"])),
        "schemas": "\n".join(_schema(name, schemas[name]) for name in sorted(schemas)),
    }
    return fill(TEMPLATE, values)


def _routes(paths: Mapping[str, Any]) -> Iterator[str]:
    for path, operations in paths.items():
        for method, operation in operations.items():
            lines = [
                f"<h2><b>{method.upper()}</b>{escape(path)}</h2>",
                f"<p>{escape(operation.get('description', ''))}</p>",
            ]
            if "requestBody" in operation:
                lines.append(f"<h3>Body</h3><p>{_content(operation['requestBody'])}</p>")
            rows = [
                (escape(status), escape(answer["description"]), _content(answer))
                for status, answer in operation["responses"].items()
            ]
            lines.append(_table(("status", "meaning", "content"), rows))
            yield _card("", lines)


def _content(body: Mapping[str, Any]) -> str:
    kinds = body.get("content", {}).values()
    return " or ".join(_kind(content.get("schema", {})) for content in kinds)


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    required = schema.get("required", ())
    rows = [
        (
            f"<code>{escape(field)}</code>",
            _kind(value),
            _default(value, field in required),
            escape(value.get("description", "")),
        )
        for field, value in schema.get("properties", {}).items()
    ]
    lines = [f"<h2>{escape(name)}</h2>", f"<p>{escape(schema.get('description', ''))}</p>"]
    return _card(name, [*lines, _table(("field", "type", "default", "meaning"), rows)])


def _default(value: Mapping[str, Any], is_required: bool) -> str:
    if is_required or "default" not in value:
        return "required" if is_required else ""
    return f"<code>{escape(json.dumps(value['default']))}</code>"


def _kind(schema: Mapping[str, Any]) -> str:
    """What a value may be, in words."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(map(_kind, schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        values = schema.get("enum") or [schema["const"]]
        return " or ".join(f"<code>{escape(json.dumps(value))}</code>" for value in values)
    if schema.get("type") == "array":
        return f"list of ({_kind(schema.get('items', {}))})"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"object of ({_kind(schema['additionalProperties'])})"
    return escape(schema.get("type", "any"))


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    body = "\n".join(
        f'<tr><th scope="row">{row[0]}</th>' + "".join(f"<td>{cell}</td>" for cell in row[1:])
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _card(anchor: str, lines: list[str]) -> str:
    identity = f' id="{escape(anchor)}"' if anchor else ""
    return "\n".join([f'<section class="card"{identity}>', *lines, "</section>"])
