"""Settings of safety, and who can reach an address."""

from __future__ import annotations

from typing import Any

import pytest

from gpt1.errors import ConfigError
from gpt1.serving.safety import SafetyConfig, check_exposure, is_loopback


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_body_bytes": 0}, "max_body_bytes is 0 but must be at least 1"),
        ({"max_depth": 1000}, "max_depth is 1000 but must be at most 200"),
        ({"header_s": float("inf")}, "header_s is inf but must be"),
        ({"requests_per_minute": 0}, "requests_per_minute is 0 but must be above 0"),
        ({"tls_key": "key.pem"}, "tls_key needs tls_cert"),
        ({"cors_origin": ("*",)}, r"cors_origin is '\*' but must be like https://example.org"),
        ({"cors_origin": ("https://a/b",)}, "but must be like https://example.org"),
    ],
)
def test_a_setting_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SafetyConfig(**settings)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.1", False),
    ],
)
def test_who_can_reach_an_address(host: str, expected: bool) -> None:
    assert is_loopback(host) == expected


def test_others_need_a_key_or_a_word() -> None:
    with pytest.raises(ConfigError, match=r"others can reach 0\.0\.0\.0, so requests need a key"):
        check_exposure("0.0.0.0", has_keys=False, insecure=False)
    check_exposure("0.0.0.0", has_keys=True, insecure=False)
    check_exposure("0.0.0.0", has_keys=False, insecure=True)
    check_exposure("127.0.0.1", has_keys=False, insecure=False)
    with pytest.raises(ConfigError, match="host is 'no such host', which is no address"):
        check_exposure("no such host", has_keys=False, insecure=False)
