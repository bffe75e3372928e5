"""Bodies of requests, checked before anything is made of them."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

import numpy as np

from gpt1.serving.refusal import Refusal

STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
"""A string of JSON, or the beginning of one; it never has to look back."""


def check_json(body: bytes, max_depth: int, max_text_chars: int) -> None:
    """Make sure that a body is JSON that can be worked with.

    Args:
        body: Is read for a fraction of a second at most, if it has 1 MB.
        max_depth: Lists and objects within one another.
        max_text_chars: Characters of a string.

    Raises:
        Refusal: With status 400, and why; what was sent is not repeated.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise _wrong(f"the body is not UTF-8: byte {error.start} is none of a character") from None
    if depth(body) > max_depth:
        raise _wrong(f"the body has more than {max_depth} lists and objects within one another")
    try:
        value = json.loads(text, parse_constant=_refuse_number, parse_float=_finite)
    except json.JSONDecodeError as error:
        message = f"the body is no JSON: {error.msg} at line {error.lineno} column {error.colno}"
        raise _wrong(message) from None
    except ValueError:  # more digits than Python takes
        raise _wrong("the body holds a number that is too long") from None
    if rb"\u" in body:
        _check_surrogates(value)
    if len(body) > max_text_chars and _longest(value) > max_text_chars:
        raise _wrong(f"a text has more than {max_text_chars} characters; send less at a time")


def depth(body: bytes) -> int:
    """How many lists and objects of a JSON text are within one another.

    Counted on the bytes: a parser goes down a level for each, and may have no room for that.
    """
    signs = np.frombuffer(STRING.sub(b"", body), np.uint8)
    opening = (signs == ord("[")) | (signs == ord("{"))
    closing = (signs == ord("]")) | (signs == ord("}"))
    levels = np.cumsum(opening.astype(np.int64) - closing)
    return int(levels.max(initial=0))


def _refuse_number(name: str) -> NoReturn:
    raise _wrong(f"the body holds {name}, which is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise _wrong("the body holds a number that is too large")
    return number


def _check_surrogates(value: Any) -> None:
    """Refuse halves of characters: escapes can write them, but they are no text."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise _wrong("the body holds half of a character (a lone surrogate)") from None


def _longest(value: Any) -> int:
    """Characters of the longest string, keys of objects included."""
    longest, left = 0, [value]
    while left:
        value = left.pop()
        if isinstance(value, str):
            longest = max(longest, len(value))
        elif isinstance(value, list):
            left += value
        elif isinstance(value, dict):
            left += value.values()
            left += value
    return longest


def _wrong(message: str) -> Refusal:
    return Refusal(400, message, code="invalid_body", more=False)
