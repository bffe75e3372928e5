"""Clients that send slowly, read slowly, or do nothing."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import httpx
import pytest

from guarded import application, guarded_live, program

BEGIN = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"


def connect(address: str) -> socket.socket:
    url = httpx.URL(address)
    client = socket.create_connection((url.host, url.port or 80))
    client.settimeout(60)
    return client


def everything(client: socket.socket) -> bytes:
    """What comes until the connection is closed."""
    found = b""
    try:
        while piece := client.recv(65536):
            found += piece
    except ConnectionResetError:
        pass
    return found


def drip(client: socket.socket, piece: bytes) -> bytes:
    """Send a little again and again until there is an answer; the answer."""
    client.settimeout(0.02)
    for _ in range(3000):
        try:
            client.sendall(piece)
            return client.recv(65536)
        except TimeoutError:
            pass
        except (BrokenPipeError, ConnectionResetError):
            return b""
    raise AssertionError("the server waits for ever")


def test_headers_that_come_slowly_are_not_waited_for() -> None:
    with guarded_live(header_s=0.3) as address, connect(address) as client:
        client.sendall(BEGIN)
        answer = drip(client, b"X: y\r\n")
        assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
        assert error["message"] == "the headers did not come within 0.3 s"
        assert httpx.get(f"{address}/health").status_code == 200


@pytest.mark.parametrize("before", [b"", BEGIN + b"\r\n"], ids=["first", "second"])
@pytest.mark.parametrize("piece", [b"\r\n", b"G"])
def test_empty_lines_and_letters_do_not_keep_a_connection(before: bytes, piece: bytes) -> None:
    with guarded_live(header_s=0.3, idle_s=30) as address, connect(address) as client:
        if before:
            client.sendall(before)
            assert client.recv(65536).startswith(b"HTTP/1.1 200 OK")
        assert not drip(client, piece).startswith(b"HTTP/1.1 200")


def test_a_connection_that_says_nothing_is_closed() -> None:
    with guarded_live(header_s=0.2) as address, connect(address) as client:
        assert everything(client) == b""


def test_a_connection_without_a_second_request_is_closed() -> None:
    with guarded_live(idle_s=0.2) as address, connect(address) as client:
        client.sendall(BEGIN + b"\r\n")
        assert everything(client).startswith(b"HTTP/1.1 200 OK")


def test_requests_one_after_the_other_and_at_once_are_all_answered() -> None:
    with guarded_live(header_s=60) as address:
        with httpx.Client() as client:
            for _ in range(20):
                assert client.get(f"{address}/health").status_code == 200
        with connect(address) as raw:
            raw.sendall((BEGIN + b"\r\n") * 4 + BEGIN + b"Connection: close\r\n\r\n")
            assert everything(raw).count(b"HTTP/1.1 200 OK") == 5


@pytest.mark.parametrize("header", [b"X: " + b"y" * 3000, b"X: y\r\n" * 700], ids=["one", "many"])
@pytest.mark.parametrize("pieces", [1, 7])
def test_headers_have_a_size(header: bytes, pieces: int) -> None:
    with guarded_live(max_header_bytes=2000) as address, connect(address) as client:
        request = BEGIN + header + b"\r\n\r\n"
        try:
            for start in range(0, len(request), len(request) // pieces):
                client.sendall(request[start : start + len(request) // pieces])
        except OSError:
            pass
        assert everything(client).startswith(b"HTTP/1.1 431 ")
        assert httpx.get(f"{address}/health").status_code == 200


def test_a_header_that_does_not_end_is_not_collected() -> None:
    with guarded_live(max_header_bytes=2000) as address, connect(address) as client:
        client.sendall(BEGIN + b"X: ")
        assert drip(client, b"y" * 500).startswith(b"HTTP/1.1 431 ")


def test_what_is_no_http_is_refused_in_the_shape_of_every_error() -> None:
    with guarded_live() as address, connect(address) as client:
        client.sendall(b"\x16\x03\x01\x02\x00\x01\x00 secret\r\n\r\n")
        answer = everything(client)
        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "invalid_http"
        assert b"secret" not in answer


def test_a_client_that_does_not_read_is_dropped() -> None:
    app = application()
    with guarded_live(app, stall_s=0.3) as address, connect(address) as client:
        client.sendall(BEGIN.replace(b"/health", b"/flood") + b"\r\n")
        assert app.state.flood_ended.wait(60)


def test_a_client_that_reads_slowly_is_not() -> None:
    app = application()
    with guarded_live(app, stall_s=60) as address, connect(address) as client:
        client.sendall(BEGIN.replace(b"/health", b"/flood") + b"\r\n")
        read = 0
        while read < 20_000_000:
            read += len(client.recv(65536))
        assert not app.state.flood_ended.is_set()


def test_the_connection_that_was_idle_longest_gives_way() -> None:
    with (
        guarded_live(max_connections=2, header_s=60, idle_s=60) as address,
        connect(address) as first,
        connect(address) as second,
    ):
        first.sendall(BEGIN + b"\r\n")
        assert first.recv(65536).startswith(b"HTTP/1.1 200 OK")  # idle later than the second
        assert httpx.get(f"{address}/health").status_code == 200
        assert everything(second) == b""
        first.sendall(BEGIN + b"Connection: close\r\n\r\n")
        assert everything(first).startswith(b"HTTP/1.1 200 OK")


def test_connections_that_are_answered_do_not_give_way() -> None:
    with (
        guarded_live(max_connections=1) as address,
        httpx.stream("GET", f"{address}/hold") as running,
    ):
        lines = running.iter_lines()
        assert next(lines) == "begun"
        refused = httpx.get(f"{address}/health")
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        assert "as many connections as it takes" in refused.json()["error"]["message"]


CROWD = """
import resource, selectors, socket, sys
import httpx

host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
waiting = selectors.DefaultSelector()
for number in range(count):
    client = socket.create_connection((host, port))
    waiting.register(client, selectors.EVENT_READ)
    if number % 500 == 0:
        assert httpx.get(f"http://{host}:{port}/health").status_code == 200
assert httpx.get(f"http://{host}:{port}/health").status_code == 200
closed = 0
while closed < count - 200:
    for key, _ in waiting.select():
        try:
            assert key.fileobj.recv(1) == b""
        except ConnectionResetError:
            pass
        waiting.unregister(key.fileobj)
        closed += 1
print(closed)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs Linux's /proc")
def test_ten_thousand_idle_connections_keep_nobody_out() -> None:
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < 10_100:
        pytest.skip(f"the system lets a process open only {hard} files")
    with program(max_connections=200, header_s=600) as server:
        url = httpx.URL(server.address)
        done = subprocess.run(
            [sys.executable, "-c", CROWD, url.host, str(url.port), "10000"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert int(done.stdout) >= 9800
        assert len(os.listdir(f"/proc/{server.process.pid}/fd")) < 264
        assert httpx.get(f"{server.address}/health").status_code == 200
