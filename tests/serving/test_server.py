"""The process: where it listens, how it stops, and what it says when it cannot start."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gpt1.errors import ConfigError
from gpt1.serving.safety import SafetyConfig
from gpt1.serving.server import address_of, listen, make_room, tls_context
from guarded import application, guarded_live, program


def test_sigterm_lets_what_runs_come_to_its_end_and_takes_no_more() -> None:
    with program() as server, httpx.stream("GET", f"{server.address}/hold") as running:
        lines = running.iter_lines()
        assert next(lines) == "begun"
        server.process.send_signal(signal.SIGTERM)
        while (refused := httpx.get(f"{server.address}/v1/models")).status_code == 200:
            pass
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        assert "about to stop" in refused.json()["error"]["message"]
        assert httpx.get(f"{server.address}/health").status_code == 200
        server.go()
        assert list(lines) == ["ended"]
        assert server.end() == (0, "")


def test_sigterm_ends_a_server_that_does_nothing() -> None:
    with program() as server:
        server.process.send_signal(signal.SIGTERM)
        assert server.end() == (0, "")


def test_an_open_page_of_the_playground_is_not_waited_for() -> None:
    with (
        program(drain_s=10_000) as server,
        httpx.stream("GET", f"{server.address}/gradio_api/heartbeat/1") as page,
    ):
        lines = page.iter_lines()
        assert next(lines) == "begun"
        server.process.send_signal(signal.SIGTERM)
        assert server.end()[0] == 0


def test_what_runs_too_long_is_cut() -> None:
    with program(drain_s=0.2) as server, httpx.stream("GET", f"{server.address}/hold") as running:
        lines = running.iter_lines()
        assert next(lines) == "begun"
        server.process.send_signal(signal.SIGINT)
        with pytest.raises(httpx.RemoteProtocolError):
            next(lines)
        code, err = server.end()
        assert code == 0
        assert "Traceback" not in err


def test_a_second_ctrl_c_stops_at_once() -> None:
    with program() as server, httpx.stream("GET", f"{server.address}/hold") as running:
        lines = running.iter_lines()
        assert next(lines) == "begun"
        server.process.send_signal(signal.SIGINT)
        while httpx.get(f"{server.address}/v1/models").status_code == 200:
            pass
        server.process.send_signal(signal.SIGINT)
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            next(lines)
        code, err = server.end()
        assert code == 130
        assert "Traceback" not in err


def test_a_server_of_ipv6_tells_curl_why_it_takes_no_more() -> None:
    with guarded_live(application(host="::1"), host="::1", max_body_bytes=5000) as address:
        assert address.startswith("http://[::1]:")
        body = ["--data-binary", "@-", "--header", "Content-Type: application/json"]
        for more in ([], ["--header", "Transfer-Encoding: chunked"]):
            done = subprocess.run(
                ["curl", "--silent", "--globoff", *body, *more, f"{address}/echo"],
                input=b"x" * 3_000_000,
                capture_output=True,
                check=True,
            )
            assert json.loads(done.stdout)["error"]["code"] == "body_too_large"


def certificate(folder: Path) -> tuple[str, str]:
    """Files of a certificate of 127.0.0.1 that vouches for itself, and of its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.now(timezone.utc)
    host = x509.DNSName("localhost")
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([host]), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(made.public_bytes(pem))
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(secret)
    return str(folder / "cert.pem"), str(folder / "key.pem")


def test_tls(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    with guarded_live(tls_cert=cert, tls_key=key) as address:
        assert address.startswith("https://")
        trusting = ssl.create_default_context(cafile=cert)
        address = address.replace("127.0.0.1", "localhost")
        assert httpx.get(f"{address}/health", verify=trusting).json() == {"status": "ok"}
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(f"{address}/health")


def test_a_client_that_does_not_shake_hands_is_dropped(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    with (
        guarded_live(tls_cert=cert, tls_key=key, header_s=0.2) as address,
        socket.create_connection(("127.0.0.1", httpx.URL(address).port or 0)) as client,
    ):
        client.settimeout(60)
        assert client.recv(1) == b""


def test_files_that_are_no_certificate(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no file nowhere\.pem"):
        tls_context(SafetyConfig(tls_cert="nowhere.pem"))
    (tmp_path / "wrong.pem").write_text("hello", encoding="utf-8")
    with pytest.raises(ConfigError, match="which are not a certificate and its key in PEM"):
        tls_context(SafetyConfig(tls_cert=str(tmp_path / "wrong.pem")))


def test_a_port_is_taken_once() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        assert address_of(first, is_secure=False) == f"http://127.0.0.1:{port}"
        with pytest.raises(ConfigError, match=f"port {port} of 127.0.0.1: another program has it"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "message"),
    [("192.0.2.1", "has no such address"), ("no such host", "which is no address")],
)
def test_an_address_that_is_not_here(host: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        listen(host, 0)


def test_more_connections_than_files() -> None:
    resource = pytest.importorskip("resource")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard == resource.RLIM_INFINITY:
        pytest.skip("the system sets no limit")
    with pytest.raises(ConfigError, match=rf"take at most {hard - 64}, or raise the limit"):
        make_room(hard)
