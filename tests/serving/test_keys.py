"""Keys: read from everywhere, compared all alike, and shown nowhere."""

from __future__ import annotations

import hmac
import logging
from pathlib import Path

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt1.errors import ConfigError
from gpt1.serving import keys as module
from gpt1.serving.keys import Keys, read_keys
from guarded import guarded_live

KEY, OTHER = "sk-0123456789abcdef", "sk-fedcba9876543210"
Capture = pytest.LogCaptureFixture


@given(st.lists(st.text(min_size=1), min_size=1, max_size=5), st.text())
def test_a_key_is_found_if_it_is_one(known: list[str], asked: str) -> None:
    known = [text.encode(errors="ignore").decode() for text in known]
    asked = asked.encode(errors="ignore").decode()
    keys = Keys(known)
    assert (keys.find(asked) is not None) == (asked in known)
    assert all(keys.find(key) is not None for key in known)
    assert len({keys.find(key) for key in known}) == len(keys) == len(set(known))


@pytest.mark.parametrize("asked", ["a", "c", "no key", ""])
def test_all_keys_are_compared_in_constant_time(
    asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths, original = list[int](), hmac.compare_digest

    def compare(left: bytes, right: bytes) -> bool:
        lengths.extend({len(left), len(right)})
        return original(left, right)

    monkeypatch.setattr(module.hmac, "compare_digest", compare)
    Keys("abc").find(asked)
    assert lengths == [32, 32, 32]


def test_keys_come_from_flags_files_and_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"
    path.write_text(f"# of the team\n\n  {OTHER}  \n", encoding="utf-8")
    path.chmod(0o600)
    keys = read_keys([KEY], [path], {"GPT1_API_KEY": "sk-of-the-environment"})
    assert all(keys.find(k) is not None for k in (KEY, OTHER, "sk-of-the-environment"))
    assert keys.find("# of the team") is None
    assert len(read_keys(environment={"GPT1_API_KEY": ""})) == 0


def test_a_file_that_others_can_read_is_a_warning(tmp_path: Path, caplog: Capture) -> None:
    path = tmp_path / "keys.txt"
    path.write_text(KEY, encoding="utf-8")
    path.chmod(0o644)
    read_keys(files=[path], environment={})
    assert f"others can read the keys in {path}; run: chmod 600" in caplog.text
    assert KEY not in caplog.text
    caplog.clear()
    path.chmod(0o600)
    read_keys(files=[path], environment={})
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"# nothing\n", "holds no key; write one a line"),
        (b"secret", "has 6 characters but must have at least 16"),
        ("sk-0123456789abcdé".encode(), "a character other than letters, digits and signs"),
        (b"sk-0123456789 abcdef", "a character other than letters, digits and signs"),
        (b"\xff" * 20, "is not UTF-8"),
    ],
)
def test_a_key_that_cannot_be_one(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=message) as error:
        read_keys(files=[path], environment={})
    assert "secret" not in str(error.value).replace("secrets", "")


def test_the_openai_client_is_let_in_with_a_key_and_only_so() -> None:
    with guarded_live(keys=(KEY, OTHER)) as address:
        for key in (KEY, OTHER):
            with openai.OpenAI(base_url=f"{address}/v1", api_key=key, max_retries=0) as client:
                assert client.models.list().data == []
        wrong = openai.OpenAI(base_url=f"{address}/v1", api_key=KEY[:-1], max_retries=0)
        with wrong, pytest.raises(openai.AuthenticationError) as error:
            wrong.models.list()
        assert error.value.code == "invalid_api_key"
        assert KEY[:-1] not in str(error.value)


@pytest.mark.parametrize(
    "header",
    [None, "", KEY, "Bearer", "Basic " + KEY, "Basic bm8=", "Bearer \xff", "Digest x"],
)
def test_whatever_is_no_key_is_refused(header: str | None) -> None:
    with guarded_live(keys=(KEY,)) as address:
        headers = [] if header is None else [(b"authorization", header.encode("latin-1"))]
        answer = httpx.get(f"{address}/v1/models", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["error"]["code"] == "invalid_api_key"
        assert httpx.get(f"{address}/nowhere", headers=headers).status_code == 401
        assert httpx.get(f"{address}/health", headers=headers).status_code == 200


def test_a_browser_asks_for_the_key_as_a_password() -> None:
    with guarded_live(keys=(KEY,)) as address:
        refused = httpx.get(address, headers={"accept": "text/html,*/*"})
        assert refused.headers["www-authenticate"].startswith("Basic ")
        assert httpx.get(f"{address}/v1/models", auth=("anybody", KEY)).status_code == 200


def test_keys_are_in_no_log_and_no_answer(caplog: Capture) -> None:
    with caplog.at_level(logging.DEBUG), guarded_live(keys=(KEY,)) as address:
        for key in (KEY, OTHER):
            headers = {"Authorization": f"Bearer {key}"}
            for path in ("/v1/models", "/nowhere", "/fail"):
                answer = httpx.get(f"{address}{path}?api_key={key}", headers=headers)
                assert key not in answer.text
                assert key not in str(answer.headers)
    server = [r for r in caplog.records if not r.name.startswith(("httpcore", "httpx"))]
    assert len([r for r in server if r.name == "gpt1.access"]) == 6
    assert not any(key in r.getMessage() for r in server for key in (KEY, OTHER))
