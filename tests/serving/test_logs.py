"""What a server writes down, and what it does not."""

from __future__ import annotations

import io
import logging
import re

import httpx
import pytest

from gpt1.serving.logs import quiet_tracebacks
from guarded import guarded_live

Capture = pytest.LogCaptureFixture


def lines(caplog: Capture, name: str = "gpt1.access") -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == name]


def test_a_request_is_a_line_with_its_route(caplog: Capture) -> None:
    with caplog.at_level(logging.INFO, logger="gpt1"), guarded_live() as address:
        httpx.get(f"{address}/health?secret=1")
        httpx.post(f"{address}/echo", content=b"{secret")
        httpx.get(f"{address}/secret%0Aline")
        httpx.request("SECRET", f"{address}/health")
    found = lines(caplog)
    assert [re.sub(r"^\S+ |\d\.\d+ s$", "", line) for line in found[:3]] == [
        "GET /health 200 ",
        "POST - 400 ",
        "GET - 404 ",
    ]
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00 ", line) for line in found)
    assert "secret" not in "".join(found)


def test_bodies_and_lines_are_written_down_only_if_asked_for(caplog: Capture) -> None:
    with caplog.at_level(logging.INFO, logger="gpt1"):
        with guarded_live(access_log=False) as address:
            httpx.post(f"{address}/echo", json="a prompt\nof two lines")
        assert caplog.records == [r for r in caplog.records if r.name.startswith("httpx")]
        with guarded_live(log_prompts=True) as address:
            httpx.post(f"{address}/echo", json="a prompt\nof two lines")
    assert lines(caplog, "gpt1.serving.guard") == [r'body: "a prompt\nof two lines"']


def test_an_error_is_named_without_what_a_client_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    handler = logging.StreamHandler(io.StringIO())
    root = logging.getLogger()
    with monkeypatch.context() as patch:
        patch.setattr(root, "handlers", [handler])
        quiet_tracebacks()
        with guarded_live(access_log=False) as address:
            answer = httpx.get(f"{address}/fail")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    log = handler.stream.getvalue()
    assert "a request failed: RuntimeError in guarded, line " in log
    assert "; --log-tracebacks shows more" in log
    assert "secret" not in log
    assert "Traceback" not in log
    assert "/" not in log


def test_other_lines_are_left_as_they_are() -> None:
    handler = logging.StreamHandler(io.StringIO())
    root = logging.getLogger()
    before, root.handlers = root.handlers, [handler]
    try:
        quiet_tracebacks()
        logging.getLogger("gpt1").warning("%d of %s", 3, "them")
    finally:
        root.handlers = before
    assert handler.stream.getvalue() == "3 of them\n"
