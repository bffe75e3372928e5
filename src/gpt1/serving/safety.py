"""What a server protects itself from, as settings, and who may reach it."""

from __future__ import annotations

import ipaddress
import math
import socket
from dataclasses import dataclass

from gpt1.errors import ConfigError

LEAST: dict[str, float] = {
    "max_body_bytes": 1,
    "max_text_chars": 1,
    "max_depth": 1,
    "max_header_bytes": 1024,
    "header_s": 0.001,
    "body_s": 0.001,
    "idle_s": 0.001,
    "stall_s": 0.001,
    "max_connections": 1,
    "max_requests_per_client": 1,
}
"""The smallest value of each number."""

DEEPEST = 200
"""Most lists and objects within one another; a parser of JSON goes down a level for each."""


@dataclass(frozen=True, kw_only=True)
class SafetyConfig:
    """Who may ask, how much and how slowly, and what is written down about it."""

    insecure: bool = False
    """Listen where others can reach the server, and ask nobody for a key."""
    tls_cert: str | None = None
    """File of the certificate and those that vouch for it, in PEM: the server speaks HTTPS."""
    tls_key: str | None = None
    """File of its private key, in PEM, if it is not in the same file."""
    cors_origin: tuple[str, ...] = ()
    """Pages of these origins, such as https://example.org, may ask from a browser."""
    allowed_host: tuple[str, ...] = ()
    """More names the server goes by: a server on this machine alone, without keys, knows only those
    of this machine."""
    max_body_bytes: int = 1_000_000
    """Bytes of the body of a request; what is larger is refused with status 413."""
    max_text_chars: int = 65_536
    """Characters of a text in a request."""
    max_depth: int = 32
    """Lists and objects within one another in a request."""
    max_header_bytes: int = 32_768
    """Bytes of the first line and the headers of a request; more is refused with status 431."""
    header_s: float = 10.0
    """Seconds a client has to send them, and to shake hands by TLS."""
    body_s: float = 30.0
    """Seconds a client has to send the body."""
    idle_s: float = 15.0
    """Seconds a connection is kept for another request."""
    stall_s: float = 30.0
    """Seconds a client may leave what is sent to it unread."""
    max_connections: int = 1000
    """Connections at a time; a new one takes the place of the one that was idle longest, or is
    refused with status 503."""
    max_requests_per_client: int = 256
    """Requests of a key, or without keys of an address, that may run at a time."""
    requests_per_minute: float | None = None
    """Requests of a key, or without keys of an address: so many at once, and then in a minute.
    Default: as many as come."""
    access_log: bool = True
    """Write a line for each request: time, method, route, status and duration."""
    log_prompts: bool = False
    """Write down the bodies of requests as well."""
    log_tracebacks: bool = False
    """Write down where errors came from, with paths and values; otherwise only their kind."""

    def __post_init__(self) -> None:
        """Refuse values out of range, by name."""
        problems = [
            f"{name} is {value!r} but must be at least {least}"
            for name, least in LEAST.items()
            if not least <= (value := getattr(self, name)) < math.inf
        ]
        if self.max_depth > DEEPEST:
            problems.append(f"max_depth is {self.max_depth} but must be at most {DEEPEST}")
        rate = self.requests_per_minute
        if rate is not None and not 0 < rate < math.inf:
            problems.append(f"requests_per_minute is {rate!r} but must be above 0")
        if self.tls_key and not self.tls_cert:
            problems.append("tls_key needs tls_cert, the file of the certificate")
        problems += [
            f"cors_origin is {origin!r} but must be like https://example.org"
            for origin in self.cors_origin
            if not is_origin(origin)
        ]
        if problems:
            raise ConfigError("; ".join(problems))


def is_origin(text: str) -> bool:
    """Whether a text is an origin as browsers send it: a scheme and a host, and nothing else."""
    scheme, _, host = text.partition("://")
    return scheme in ("http", "https") and bool(host) and not set(host) & set("/*? ")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address or name.

    Raises:
        ConfigError: If there is no such name.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(f"host is {host!r}, which is no address: {error.strerror}") from None
    addresses = [str(entry[4][0]).partition("%")[0] for entry in found]
    return all(ipaddress.ip_address(address).is_loopback for address in addresses)


def check_exposure(host: str, *, has_keys: bool, insecure: bool) -> None:
    """Make sure that what others can reach asks for a key.

    Raises:
        ConfigError: If it does not, and that is not said to be meant.
    """
    if not (has_keys or insecure or is_loopback(host)):
        raise ConfigError(
            f"others can reach {host}, so requests need a key: set GPT1_API_KEY, give "
            "--api-key-file, or listen at 127.0.0.1; --insecure serves anybody"
        )
