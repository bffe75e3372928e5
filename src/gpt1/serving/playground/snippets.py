"""The request behind what is on the page, as a command and as a program."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from html import escape
from pprint import pformat
from typing import Any, NamedTuple

KEY = "GPT1_API_KEY"
"""The environment variable that holds the key of a server that asks for one."""

OF_OPENAI = ("model", "prompt", "max_tokens", "temperature", "top_p", "stop", "seed")
"""Arguments that the openai package has a name for."""


def completion(model: str, prompt: str | list[int], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a request to ``/v1/completions``.

    Args:
        model: Name of the model.
        prompt: Text, or token ids.
        settings: Of `GenerationConfig`; what is None is left out.
    """
    named = {
        "max_tokens" if name == "max_new_tokens" else name: settings[name] for name in settings
    }
    return {"model": model, "prompt": prompt} | {
        name: value for name, value in named.items() if value is not None
    }


class Server(NamedTuple):
    """Where requests go.

    Attributes:
        address: As in ``http://127.0.0.1:8000``.
        has_key: Whether it asks for a key, which the code then takes from the environment.
    """

    address: str
    has_key: bool = False


def curl(server: Server, path: str, body: Mapping[str, Any]) -> str:
    """A command that sends a request.

    Args:
        server: Where to.
        path: As in ``/v1/completions``.
        body: Becomes JSON.
    """
    data = shlex.quote(json.dumps(body, ensure_ascii=False))
    lines = [f"curl {shlex.quote(server.address + path)}", "-H 'Content-Type: application/json'"]
    if server.has_key:
        lines.append(f'-H "Authorization: Bearer ${KEY}"')
    return " \\\n  ".join([*lines, f"-d {data}"])


def openai_program(server: Server, bodies: list[dict[str, Any]]) -> str:
    """A program that asks for completions and prints them.

    Args:
        server: Where to.
        bodies: Of the requests, one after the other.
    """
    key = f'os.environ["{KEY}"]' if server.has_key else '"none"'
    lines = [
        *_imports("from openai import OpenAI", server),
        f"client = OpenAI(base_url={server.address + '/v1'!r}, api_key={key})",
    ]
    for body in bodies:
        known = [f"    {name}={body[name]!r}," for name in OF_OPENAI if name in body]
        others = {name: body[name] for name in body if name not in OF_OPENAI}
        extra = [f"    extra_body={others!r},"] if others else []
        lines += ["answer = client.completions.create(", *known, *extra, ")"]
        lines += ["print(answer.choices[0].text)"]
    return "\n".join(lines)


def http_program(server: Server, path: str, body: Mapping[str, Any]) -> str:
    """A program that sends another request and prints the answer."""
    lines = [
        *_imports("import httpx", server),
        f"body = {pformat(dict(body), sort_dicts=False, width=80)}",
    ]
    headers = ""
    if server.has_key:
        lines.append(f'headers = {{"Authorization": "Bearer " + os.environ["{KEY}"]}}')
        headers = ", headers=headers"
    call = f"httpx.post({server.address + path!r}, json=body, timeout=300{headers})"
    return "\n".join([*lines, f"print({call}.json())"])


def _imports(line: str, server: Server) -> list[str]:
    return ["import os", "", line, ""] if server.has_key else [line, ""]


def code_html(command: str, program: str) -> str:
    """Both, with buttons that copy them."""
    return (
        '<section class="g-code" aria-label="As code">'
        + _block("curl", command)
        + _block("Python", program)
        + "</section>"
    )


def _block(name: str, code: str) -> str:
    return (
        f'<div><div class="g-code-head"><h2>{name}</h2>'
        f'<button type="button" data-copy aria-label="Copy {name}">Copy</button></div>'
        f'<pre tabindex="0" aria-label="{name}"><code>{escape(code)}</code></pre></div>'
    )
