"""Going on with an answer on another replica, from where the client has it.

A continuation depends on its prompt, its settings and its seed alone. So another replica writes
the same, and what the client has had of it is left out.
"""

from __future__ import annotations

import json
import secrets
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from gpt1.serving.errors import ApiError
from gpt1.serving.replica import Call, Part

COMPLETIONS = "/v1/completions"
END = b"\n\n"
"""What is between two events."""

LOST = "replica_lost"
"""Code of the error of a request that no replica could bring to its end."""


OTHER_TEXT = (
    "the replica that wrote this was lost, and another wrote something else; sampled texts of "
    "several prompts need a seed to be gone on with"
)


def with_seed(call: Call) -> Call:
    """Give a stream of completions that has no seed one, so that another replica can go on.

    A request for several prompts stays as it is: with a seed, equal prompts might get equal texts.
    """
    if call.scope["path"] != COMPLETIONS:
        return call
    try:
        body = json.loads(call.body)
    except (ValueError, RecursionError):
        return call  # the application says what is wrong with it
    if not isinstance(body, dict) or not body.get("stream") or body.get("seed") is not None:
        return call
    if not _is_single(body.get("prompt")):
        return call
    return call.with_body(json.dumps({**body, "seed": secrets.randbelow(2**31)}).encode())


def _is_single(prompt: Any) -> bool:
    if not isinstance(prompt, list):
        return True
    return len(prompt) == 1 or all(isinstance(token, int) for token in prompt)


@dataclass
class _Progress:
    """How far a continuation has come.

    Attributes:
        text: All of it.
        tokens: How many were told with their scores.
        is_over: Whether its end was told.
    """

    text: str = ""
    tokens: int = 0
    is_over: bool = False

    def take(self, choice: dict[str, Any]) -> None:
        self.text += choice.get("text", "")
        self.tokens += len(_scored(choice))
        self.is_over = self.is_over or choice.get("finish_reason") is not None


def _scored(choice: dict[str, Any]) -> list[Any]:
    tokens: list[Any] = (choice.get("logprobs") or {}).get("tokens") or []
    return tokens


class Answer:
    """An answer as far as the client has it; it may have to begin anew.

    Attributes:
        is_over: Whether the client has had the last event of a stream.
    """

    def __init__(self) -> None:
        self.is_over = False
        self._has_begun = self._is_stream = self._is_again = False
        self._had: dict[int, _Progress] = defaultdict(_Progress)
        self._met: dict[int, _Progress] = defaultdict(_Progress)
        self._identity: dict[str, Any] = {}
        self._rest = b""

    def again(self) -> None:
        """Another replica begins with it."""
        self._met.clear()
        self._rest, self._is_again = b"", True

    def new(self, part: Part) -> Part | None:
        """What the client has not had of a part; None if that is nothing.

        Raises:
            ApiError: If the answer is not that which was begun.
        """
        head, body = part
        if head is not None and self._has_begun:
            if not head.is_stream:
                raise ApiError(503, "another replica refuses to go on with this", code=LOST)
            head = None
        elif head is not None:
            self._has_begun, self._is_stream = True, head.is_stream
        if self._is_stream:
            body = self._new_events(body)
        return Part(head, body) if head or body else None

    def _new_events(self, data: bytes) -> bytes:
        *events, self._rest = (self._rest + data).split(END)
        return b"".join(new + END for event in events if (new := self._new_event(event)))

    def _new_event(self, event: bytes) -> bytes:
        self.is_over = self.is_over or event == b"data: [DONE]"
        if not event.startswith(b"data: {"):
            return event
        content = json.loads(event.removeprefix(b"data: "))
        if "choices" not in content:
            return event
        choices = [new for choice in content["choices"] if (new := self._new_choice(choice))]
        if not self._is_again:
            self._identity = {key: content[key] for key in ("id", "created") if key in content}
            return event
        if content["choices"] and not choices:
            return b""
        content.update(self._identity, choices=choices)
        return b"data: " + json.dumps(content).encode()

    def _new_choice(self, choice: dict[str, Any]) -> dict[str, Any] | None:
        """What the client has not had of an event of a continuation.

        How a text is cut into events depends on the moment, so it is compared as a whole.
        """
        had, met = self._had[choice["index"]], self._met[choice["index"]]
        known, known_tokens = had.text[len(met.text) :], max(0, had.tokens - met.tokens)
        was_over = had.is_over
        met.take(choice)
        if not (met.text.startswith(had.text) or had.text.startswith(met.text)):
            raise ApiError(503, OTHER_TEXT, code=LOST)
        new = {**choice, "text": choice.get("text", "")[len(known) :]}
        if tokens := _scored(choice):
            new["logprobs"] = {
                name: values and values[known_tokens:]
                for name, values in choice["logprobs"].items()
            }
        is_new = bool(new["text"]) or len(tokens) > known_tokens
        if is_new or (met.is_over and not was_over):
            had.take(new)
            return new
        return None
