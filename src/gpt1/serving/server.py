"""The process of a server: it listens, says so, and stops when the work at hand is done."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
import ssl
import time
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from gpt1.errors import ConfigError
from gpt1.serving.config import ServingConfig
from gpt1.serving.guard import guarded
from gpt1.serving.keys import Keys
from gpt1.serving.protocol import limited_protocol
from gpt1.serving.safety import SafetyConfig

BACKLOG = 2048
"""Connections the system holds until they are accepted."""

OTHER_FILES = 64
"""Files a process needs beside its connections."""

FLUSH_S = 1
"""Seconds that answers have to leave once there is nothing more to come."""


def listen(host: str, port: int) -> socket.socket:
    """Take an address, before time is spent on anything else.

    Raises:
        ConfigError: If it cannot be had.
    """
    try:
        [family, *_, address], *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except socket.gaierror as error:
        raise ConfigError(f"host is {host!r}, which is no address: {error.strerror}") from None
    except OSError as error:
        reason = {
            errno.EADDRINUSE: "another program has it; choose another --port, or 0 for any",
            errno.EACCES: "ports below 1024 are for the administrator; choose another --port",
            errno.EADDRNOTAVAIL: "this machine has no such address; choose another --host",
        }.get(error.errno or 0, error.strerror)
        raise ConfigError(f"cannot listen at port {port} of {host}: {reason}") from None


def address_of(listening: socket.socket, *, is_secure: bool) -> str:
    """Where clients find a socket, as in ``http://127.0.0.1:8000``."""
    host, port = listening.getsockname()[:2]
    scheme = "https" if is_secure else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def tls_context(safety: SafetyConfig) -> ssl.SSLContext | None:
    """The certificate of the server, read; None if it has none.

    Raises:
        ConfigError: If the files do not hold a certificate and its key.
    """
    if safety.tls_cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(safety.tls_cert, safety.tls_key)
    except ssl.SSLError as error:
        raise ConfigError(
            f"tls_cert is {safety.tls_cert} and tls_key {safety.tls_key}, which are not a "
            f"certificate and its key in PEM: {error.reason or error}"
        ) from None
    except FileNotFoundError:
        files = " or ".join(filter(None, (safety.tls_cert, safety.tls_key)))
        raise ConfigError(f"there is no file {files}, which tls_cert and tls_key name") from None
    return context


def make_room(connections: int) -> None:
    """Let the process have a file for each connection, where the system allows that many.

    Raises:
        ConfigError: If it does not.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    needed = connections + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise ConfigError(
            f"max_connections is {connections}, but the system lets this process open only {hard} "
            f"files; take at most {hard - OTHER_FILES}, or raise the limit (ulimit -n)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def serve(server: Server, listening: socket.socket) -> int:
    """Serve until SIGTERM or Ctrl-C, and then until what runs is done.

    Args:
        server: What is served.
        listening: Where clients come, see `listen`.

    Returns:
        The exit code: 0, or 130 if a second Ctrl-C cut it short.

    Raises:
        ConfigError: If the system does not allow that many connections.
    """
    make_room(server.safety.max_connections)
    server.run(sockets=[listening])
    return 130 if server.force_exit else 0


class Server(uvicorn.Server):
    """Uvicorn's, guarded; it goes on listening while it drains, so that clients are told so.

    Args:
        app: Of `gpt1.serving.app.create_app`; ``app.state.draining`` says that it is about to stop.
        safety: Limits and files of TLS.
        keys: Those that clients must have; none lets in anybody.
        started: Is called when clients are answered.

    Attributes:
        safety: The limits.

    Raises:
        ConfigError: If the files of TLS cannot be used.
    """

    def __init__(
        self,
        app: FastAPI,
        safety: SafetyConfig,
        keys: Keys,
        started: Callable[[], object] = lambda: None,
    ) -> None:
        serving: ServingConfig = app.state.config
        self._app, self.safety, self._told = app, safety, started
        app.state.draining = False
        self._guard = guarded(app, safety, keys, serving.host)
        self._tls = tls_context(safety)
        self._drain_s, self._drained_by = serving.drain_s, 0.0
        config = uvicorn.Config(
            self._guard,
            http=limited_protocol(safety),
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # else a client on this machine says which address it has
            timeout_keep_alive=safety.idle_s,  # type: ignore[arg-type]
            timeout_graceful_shutdown=FLUSH_S,
        )
        super().__init__(config)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen at sockets that are there already."""
        await self.lifespan.startup()
        protocol, loop = self.config.http_protocol_class, asyncio.get_running_loop()

        def connection() -> asyncio.Protocol:
            return protocol(  # type: ignore[call-arg]
                config=self.config,
                server_state=self.server_state,
                app_state=self.lifespan.state,
            )

        # Uvicorn's own gives a client a minute for TLS.
        handshake_s = self.safety.header_s if self._tls else None
        self.servers = [
            await loop.create_server(
                connection,
                sock=listening,
                ssl=self._tls,
                ssl_handshake_timeout=handshake_s,
                backlog=BACKLOG,
            )
            for listening in sockets or []
        ]
        self.started = True
        self._told()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain; at a second Ctrl-C stop at once."""
        if not self._app.state.draining:
            self._app.state.draining = True
            self._drained_by = time.monotonic() + self._drain_s
        elif sig == signal.SIGINT:
            self.should_exit = self.force_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Look, ten times a second, whether it is time to stop."""
        if self._app.state.draining and not self.should_exit:
            getattr(self._app.state, "end_pages", lambda: None)()  # of the playground
            is_late = time.monotonic() > self._drained_by
            if is_late:
                await self._app.state.models.drain(0)
            self.should_exit = is_late or self._guard.running == 0
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close what is open; the application stops its engines."""
        if self.force_exit:
            for connection in list(self.server_state.connections):
                connection.transport.abort()
        await super().shutdown(sockets)
        if self.force_exit:
            await self.lifespan.shutdown()  # the engines stop after the step they are at
