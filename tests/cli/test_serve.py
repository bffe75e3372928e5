"""``gpt1 serve``: what it says when it starts, when it cannot, and when it ends."""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path

import httpx
import pytest
import yaml

from gpt1.cli import serve
from gpt1.cli.main import main
from gpt1.cli.parsing import parse
from guarded import Program

Capture = pytest.CaptureFixture[str]
KEY = "sk-0123456789abcdef"


def test_it_serves_and_ends_with_sigterm(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"
    path.write_text(KEY, encoding="utf-8")
    path.chmod(0o600)
    words = ["--model", f"one={tiny_model}", "--model", f"two={tiny_model}", "--port", "0"]
    server = Program("-m", "gpt1", "serve", *words, "--api-key-file", str(path))
    try:
        assert server.address.startswith("http://127.0.0.1:")
        assert httpx.get(f"{server.address}/nowhere").status_code == 401
        headers = {"authorization": f"Bearer {KEY}"}
        answer = httpx.get(f"{server.address}/nowhere?secret", headers=headers)
        assert answer.status_code == 404
        server.process.send_signal(signal.SIGTERM)
        code, err = server.end()
    finally:
        server.process.kill()
    assert code == 0
    first, *requests = err.splitlines()
    assert first == "Ctrl-C stops it; what runs then has 30 s to come to its end."
    assert ["GET - 401" in requests[0], "GET - 404" in requests[1]] == [True, True]
    assert KEY not in err
    assert "secret" not in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--host", "0.0.0.0"], "others can reach 0.0.0.0, so requests need a key"),
        (["--model", "a=mini", "--model", "a=mini"], "two models are named 'a'"),
        (["--model", "no-such-model", "--port", "0"], "no-such-model"),
        (["--api-key", "short"], "a key of --api-key has 5 characters but must have at least 16"),
        (["--api-key-file", "nowhere"], "No such file or directory: nowhere"),
        (["--tls-cert", "nowhere.pem"], "there is no file nowhere.pem"),
        (["--port", "70000"], "port is 70000 but must be at most 65535"),
        (["--max-depth", "0"], "max_depth is 0 but must be at least 1"),
        (["--slots", "0"], "slots is 0 but must be at least 1"),
        (["--slotss", "1"], "did you mean --slots?"),
    ],
)
def test_a_mistake_is_one_line(
    words: list[str], message: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GPT1_API_KEY", raising=False)
    assert main(["serve", *words]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_port_in_use_is_a_mistake_told_before_a_model_is_loaded(capsys: Capture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--model", "no-such-model", "--port", str(port)]) == 2
    assert f"port {port} of 127.0.0.1: another program has it" in capsys.readouterr().err


@pytest.mark.parametrize("package", ["fastapi", "uvicorn", "httptools"])
def test_a_missing_package_is_named(
    package: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["serve"]) == 2
    assert 'pip install "gpt1[serve]"' in capsys.readouterr().err


def test_the_settings_are_printed_without_the_key(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "server.yaml"
    path.write_text(f"model: [a=mini]\napi_key: {KEY}\nslots: 3\n", encoding="utf-8")
    monkeypatch.setenv("GPT1_API_KEY", KEY)
    words = ["--config", str(path), "--model", "b=mini", "--cors-origin", "https://a.example"]
    with pytest.raises(SystemExit):
        main(["serve", *words, "--api-key", KEY, "--print-config"])
    printed = capsys.readouterr().out
    assert KEY not in printed
    values = yaml.safe_load(printed)
    assert values["model"] == ["a=mini", "b=mini"]
    assert values["slots"] == 3
    assert values["cors_origin"] == ["https://a.example"]


def test_flags_become_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPT1_API_KEY", raising=False)
    words = "--host 0.0.0.0 --api-key 12345678901234567890 --requests-per-minute 60 --idle-s 5"
    words += " --allowed-host me --allowed-host you --access-log false --log-prompts"
    config, safety, keys = serve.settings(parse("serve", serve, words.split()))
    assert (config.host, config.slots) == ("0.0.0.0", 32)
    assert safety.requests_per_minute == 60
    assert safety.allowed_host == ("me", "you")
    assert (safety.access_log, safety.log_prompts, safety.idle_s) == (False, True, 5)
    assert keys.find("12345678901234567890") == 0
