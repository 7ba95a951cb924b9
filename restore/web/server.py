"""The server: a socket that is bound first, so that what is wrong with it is told in a sentence."""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from restore.errors import InputError

PATIENCE = 2  # seconds that open connections get when the server ends


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def new_token() -> str:
    """A secret that cannot be guessed."""
    return secrets.token_urlsafe(24)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0: any that is free. Raises InputError."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind)
    except (OSError, UnicodeError) as error:
        raise InputError(f"'{host}' is no address of this machine: {error}") from None
    try:
        if os.name != "nt":  # there it would let another process listen on the same port
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise InputError(
            f"{host} port {port} cannot be listened on ({error.strerror}); "
            "give another --port, or 0 for any that is free"
        ) from None
    return bound


def address_of(bound: socket.socket, token: str | None) -> str:
    """The address to open in a browser."""
    host, port = bound.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # all addresses: this machine's browser takes the loopback
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/" + (f"?token={token}" if token else "")


class Server(uvicorn.Server):
    """A server that says when it has started."""

    def __init__(self, app: FastAPI, started: Callable[[], None], verbose: bool = False) -> None:
        """verbose: whether each request is printed."""
        self.announce = started
        super().__init__(
            uvicorn.Config(
                app,
                log_level="info" if verbose else "critical",
                access_log=verbose,
                server_header=False,
                timeout_graceful_shutdown=PATIENCE,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn does, and then say so."""
        await super().startup(sockets)
        if self.started:
            self.announce()


def serve(
    app: FastAPI, bound: socket.socket, started: Callable[[], None], verbose: bool = False
) -> None:
    """Answer requests until the process is told to end (Ctrl-C, SIGTERM)."""
    Server(app, started, verbose).run([bound])
