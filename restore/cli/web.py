"""`restore web`: a page in the browser, and the HTTP API behind it."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import Annotated

import typer

from restore.cli import checks
from restore.cli.console import (
    MESSAGES,
    Debug,
    Device,
    Memory,
    Precision,
    complain,
    examples,
    flag,
    option,
    out,
)
from restore.engine import compute
from restore.errors import InputError

ACCESS, LIMITS = "Access", "Limits"
TOKEN = "RESTORE_TOKEN"  # the environment variable
EPILOG = examples(
    "restore web --open",
    "restore web --port 9000 --device cuda:0,cuda:1",
    "restore web --host 0.0.0.0 --allow-host pictures.example.org",
)


OpenPage = Annotated[bool, flag("--open", "Open the page in the browser.")]
Host = Annotated[
    str, typer.Option(metavar="ADDRESS", help="Listen there; 0.0.0.0 for all networks.")
]
Port = Annotated[int, typer.Option(metavar="NUMBER", help="Listen there; 0 for any that is free.")]
Token = Annotated[
    str | None,
    option(
        ACCESS,
        f"A secret that each request must bring; also read from {TOKEN}.",
        metavar="SECRET",
        show_default="none on this machine, else a new one",
    ),
]
AllowHost = Annotated[
    list[str] | None,
    option(
        ACCESS,
        "A name by which the server may be called; give it for each.",
        metavar="NAME",
        show_default="localhost",
    ),
]
MaxBytes = Annotated[str, option(LIMITS, "The most bytes of a request.", metavar="SIZE")]
MaxPixels = Annotated[
    int, option(LIMITS, "The most pixels of a picture and of its result.", metavar="NUMBER")
]
MaxJobs = Annotated[
    int,
    option(LIMITS, "The most jobs that wait, half of them of one client.", metavar="NUMBER"),
]
Keep = Annotated[
    str,
    option(LIMITS, "The most memory for what was sent and is kept.", metavar="SIZE"),
]
Verbose = Annotated[bool, flag("--verbose", "Print each request.", MESSAGES)]


def command(
    open_page: OpenPage = False,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    token: Token = None,
    allow_host: AllowHost = None,
    max_bytes: MaxBytes = "100MB",
    max_pixels: MaxPixels = 100_000_000,
    max_jobs: MaxJobs = 64,
    keep: Keep = "2GB",
    device: Device = "auto",
    precision: Precision = "auto",
    memory: Memory = None,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Serve a page to restore pictures in the browser, and an HTTP API, until Ctrl-C."""
    checks.check_compute(precision, memory=memory)
    check_numbers(port, max_pixels, max_jobs)
    given = check_token(token or os.environ.get(TOKEN) or None)
    sizes = [compute.parse_bytes(size) or 0 for size in (max_bytes, keep)]
    try:
        from restore.web import server
        from restore.web.app import create_app
        from restore.web.guard import Access
        from restore.web.jobs import Limits
    except ModuleNotFoundError as error:
        raise InputError(
            f"the page needs {error.name}, which is not installed: "
            "pip install fastapi uvicorn python-multipart"
        ) from error
    local = server.is_loopback(host)
    secret = given or (None if local else server.new_token())

    each = compute.Compute(device, precision, memory=memory).resolve_each()
    bound = server.bind(host, port)
    address = server.address_of(bound, secret)
    app = create_app(
        [compute.Compute(str(one.device), precision, memory=one.memory) for one in each],
        Limits(sizes[0], max_pixels, max_jobs, max(1, max_jobs // 2), sizes[1]),
        Access(tuple(name.lower() for name in allow_host or ()), not local, secret),
    )

    def started() -> None:
        out().print(address, soft_wrap=True)
        complain("press Ctrl-C to end; pictures are kept in memory alone, and nothing is sent on")
        if open_page:
            import webbrowser

            webbrowser.open(address)

    with suppress(KeyboardInterrupt):  # the usual end
        server.serve(app, bound, started, verbose)


def check_token(token: str | None) -> str | None:
    """InputError for a token that is short, or that an address or a header cannot hold."""
    if token is not None and not re.fullmatch(r"[A-Za-z0-9._~-]{8,200}", token):
        raise InputError(f"--token and {TOKEN} are 8 to 200 letters, digits and any of . _ ~ -")
    return token


def check_numbers(port: int, max_pixels: int, max_jobs: int) -> None:
    """InputError for numbers that cannot be."""
    if not 0 <= port <= 65535:
        raise InputError(f"--port must be from 0 to 65535, not {port}")
    for name, value in (("--max-pixels", max_pixels), ("--max-jobs", max_jobs)):
        if value < 1:
            raise InputError(f"{name} must be at least 1, not {value}")
