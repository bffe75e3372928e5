"""What a server writes down: a line a request, and errors without what clients sent."""

from __future__ import annotations

import logging
import time
import traceback
from datetime import datetime, timezone

from starlette.types import Scope

logger = logging.getLogger("gpt1.access")

LEFT = 499
"""Status of a request whose client did not wait for the answer, as nginx has it."""


def log_request(scope: Scope, status: int | None, start: float) -> None:
    """Write down a request: when, method, route, status and duration.

    What follows ``?``, headers and paths that lead nowhere are the client's, and left out.

    Args:
        scope: Of the request, after the application has found its route.
        status: Of the answer; None if there was none.
        start: Time of `time.monotonic` at which it came.
    """
    logger.info(
        "%s %s %s %d %.3f s",
        datetime.now(timezone.utc).isoformat(timespec="seconds"),
        scope["method"] if scope["method"].isalpha() else "-",
        getattr(scope.get("route"), "path", "-"),
        LEFT if status is None else status,
        time.monotonic() - start,
    )


def quiet_tracebacks() -> None:
    """From now on handlers of the root logger name the kind and the place of an error alone.

    A traceback shows paths of the machine, and its last line may show what a client sent.
    """
    for handler in logging.getLogger().handlers:
        handler.addFilter(_shorten)


def _shorten(record: logging.LogRecord) -> bool:
    if record.exc_info and record.exc_info[1] is not None:
        error = record.exc_info[1]
        *_, last = [None, *traceback.walk_tb(error.__traceback__)]
        record.msg = f"{record.getMessage().strip()}: {type(error).__name__}"
        if last is not None:
            frame, line = last
            record.msg += f" in {frame.f_globals.get('__name__')}, line {line}"
        record.msg += "; --log-tracebacks shows more"
        record.args = record.exc_info = record.exc_text = None
    return True
