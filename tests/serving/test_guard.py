"""What is refused before the application sees it, and that all else reaches it unchanged."""

from __future__ import annotations

import json
import os
import random
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from guarded import application, guarded_live, program

KEY = "sk-0123456789abcdef"


def address_pair(address: str) -> tuple[str, int]:
    url = httpx.URL(address)
    return url.host, url.port or 80


def code_of(answer: httpx.Response) -> str | None:
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return str(error["code"]) if error["code"] else None


def test_requests_and_answers_pass_unchanged() -> None:
    value = {"text": "äöü \U0001f600", "numbers": [1, 2.5, None, True]}
    with guarded_live() as address:
        assert httpx.post(f"{address}/echo", json=value).json() == value
        answer = httpx.get(f"{address}/health")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["content-security-policy"] == "frame-ancestors 'none'"
    assert "server" not in answer.headers
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": "\xff"}',
        b'{"a": "\\ud800"}',
        b'{"a": "' + b"x" * 100_000 + b'"}',
    ],
    ids=["deep", "nan", "infinity", "too large", "no utf-8", "surrogate", "long text"],
)
def test_bodies_no_route_can_use_are_refused(body: bytes) -> None:
    with guarded_live() as address:
        headers = {"content-type": "application/json"}
        answer = httpx.post(f"{address}/echo", content=body, headers=headers)
        assert answer.status_code == 400
        assert code_of(answer) == "invalid_body"
        assert httpx.get(f"{address}/health").status_code == 200


def test_a_body_has_a_size_whether_it_is_told_or_not() -> None:
    def pieces() -> Iterator[bytes]:
        yield from [b"x" * 100] * 11

    with guarded_live(max_body_bytes=1000) as address:
        assert httpx.post(f"{address}/echo", content=b'"' + b"x" * 998 + b'"').status_code == 200
        for content in (b"x" * 1001, pieces()):
            answer = httpx.post(f"{address}/echo", content=content)
            assert answer.status_code == 413
            assert "more than 1000 bytes" in answer.json()["error"]["message"]
            assert code_of(answer) == "body_too_large"


def send_a_gigabyte(address: str) -> tuple[int, bytes]:
    """Send in pieces, whatever is answered, until the connection is closed; what was answered."""
    piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    with socket.create_connection(address_pair(address)) as client:
        client.settimeout(60)
        client.sendall(b"POST /echo HTTP/1.1\r\nHost: localhost\r\n")
        client.sendall(b"Transfer-Encoding: chunked\r\n\r\n")
        sent = 0
        try:
            while sent < 1_000_000_000:
                client.sendall(piece)
                sent += len(piece)
        except OSError:
            pass
        return sent, client.recv(65536)


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux's /proc")
def test_a_gigabyte_is_not_held_in_memory() -> None:
    with program() as server:
        status = Path(f"/proc/{server.process.pid}/status")

        def peak() -> int:
            found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="ascii"))
            assert found
            return int(found[1]) * 1024

        assert httpx.get(f"{server.address}/health").status_code == 200
        before = peak()
        sent, answer = send_a_gigabyte(server.address)
        assert b" 413 " in answer
        assert sent > 1_000_000
        assert peak() - before < 20_000_000
        assert httpx.get(f"{server.address}/health").status_code == 200


def test_a_body_has_to_come_in_time() -> None:
    with (
        guarded_live(body_s=0.2) as address,
        socket.create_connection(address_pair(address)) as client,
    ):
        client.settimeout(60)
        client.sendall(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n12")
        assert client.recv(65536).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:1", 200),
        ("127.0.0.1", 200),
        ("[::1]:80", 200),
        ("my-name", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost@evil.example", 403),
        ("[", 403),
    ],
)
def test_a_server_of_this_machine_alone_is_asked_by_its_name(host: str, status: int) -> None:
    with guarded_live(allowed_host=("my-name",)) as address:
        assert httpx.get(f"{address}/health", headers={"host": host}).status_code == status


def test_with_keys_the_name_does_not_matter() -> None:
    with guarded_live(keys=(KEY,)) as address:
        headers = {"host": "gpt1.example", "authorization": f"Bearer {KEY}"}
        assert httpx.get(f"{address}/v1/models", headers=headers).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1"])
def test_pages_of_other_origins_may_not_ask(origin: str) -> None:
    with guarded_live() as address:
        asked = httpx.post(f"{address}/echo", content=b"1", headers={"origin": origin})
        assert asked.status_code == 403
        own = httpx.post(f"{address}/echo", content=b"1", headers={"origin": address})
        assert own.status_code == 200


def test_an_origin_can_be_let_in() -> None:
    friend = "https://friend.example"
    with guarded_live(keys=(KEY,), cors_origin=(friend,)) as address:
        preflight = {
            "origin": friend,
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type",
        }
        asked = httpx.options(f"{address}/echo", headers=preflight)
        assert asked.status_code == 200
        assert asked.headers["access-control-allow-origin"] == friend
        headers = {"origin": friend, "authorization": f"Bearer {KEY}"}
        answer = httpx.post(f"{address}/echo", content=b"1", headers=headers)
        assert answer.json() == 1
        assert answer.headers["access-control-allow-origin"] == friend
        refused = httpx.post(f"{address}/echo", content=b"1", headers={"origin": friend})
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == friend
        preflight["origin"] = "https://evil.example"
        asked = httpx.options(f"{address}/echo", headers=preflight)
        assert "access-control-allow-origin" not in asked.headers


def test_each_key_has_its_own_rate() -> None:
    other = "sk-fedcba9876543210"
    with guarded_live(keys=(KEY, other), requests_per_minute=2) as address:

        def ask(key: str, path: str = "/v1/models") -> httpx.Response:
            return httpx.get(f"{address}{path}", headers={"authorization": f"Bearer {key}"})

        assert [ask(KEY).status_code for _ in range(3)] == [200, 200, 429]
        assert int(ask(KEY).headers["retry-after"]) <= 30
        assert code_of(ask(KEY)) == "rate_limit_exceeded"
        assert ask(other).status_code == 200
        assert ask(KEY, "/health").status_code == 200


def test_a_client_has_so_many_requests_at_a_time() -> None:
    app = application()
    with guarded_live(app, max_requests_per_client=1) as address:
        with httpx.stream("GET", f"{address}/hold") as running:
            lines = running.iter_lines()
            assert next(lines) == "begun"
            assert httpx.get(f"{address}/count").status_code == 429
        while (answer := httpx.get(f"{address}/count")).status_code == 429:
            pass
        assert answer.status_code == 200


def test_a_storm_of_clients_that_leave_leaves_nothing_behind() -> None:
    source = random.Random(0)
    body = json.dumps({"prompt": "x" * 2000}).encode()
    request = b"POST /hold HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    app = application()

    def client(ends: list[int]) -> None:
        for end in ends:
            with socket.create_connection(address_pair(address)) as connection:
                connection.sendall((request + body)[:end])
                if source.random() < 0.3:
                    connection.settimeout(0.02)
                    with suppress(TimeoutError):
                        connection.recv(100)

    with guarded_live(app) as address:
        whole = len(request + body)
        ends = [[source.choice((source.randint(0, whole), whole)) for _ in range(100)]] * 5
        threads = [threading.Thread(target=client, args=(each,)) for each in ends]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        while httpx.get(f"{address}/count").json():
            pass
        with httpx.stream("GET", f"{address}/hold") as running:
            assert next(running.iter_lines()) == "begun"
