"""Hosts, origins and the token: other sites cannot use the server from a visitor's browser."""

from __future__ import annotations

import pytest

pytest.importorskip("fastapi", reason='pip install ".[web]" to test the web server')

from starlette.datastructures import Headers

from restore.web.guard import Access, check_host, check_origin
from restore.web.jobs import RefusedError
from restore.web.server import is_loopback


def refused(host: str, access: Access) -> bool:
    try:
        check_host(Headers({"host": host}), access)
    except RefusedError:
        return True
    return False


def test_only_its_own_names_are_answered() -> None:
    """A name that an attacker's DNS server rebinds to the loopback stands in Host."""
    local = Access()
    for host in ("localhost", "localhost:8000", "127.0.0.1:1", "[::1]:8000", "LOCALHOST:80"):
        assert not refused(host, local), host
    for host in (
        "evil.example", "evil.example:8000", "127.0.0.1.evil.example", "192.168.0.2:8000", "",
        "localhost@evil.example", "localhost:80:80", "[::2]", "0.0.0.0:8000",
    ):  # fmt: skip
        assert refused(host, local), host
    beyond = Access(("pictures.example.org",), addresses=True)
    for host in ("pictures.example.org", "192.168.0.2:8000", "[fe80::1]:8000"):
        assert not refused(host, beyond), host
    assert refused("evil.example", beyond)


@pytest.mark.parametrize(
    ("headers", "method", "path", "foreign"),
    [
        ({}, "POST", "/v1/denoise", False),
        ({"origin": "http://localhost:8000"}, "POST", "/v1/denoise", False),
        ({"origin": "http://evil.example"}, "POST", "/v1/denoise", True),
        ({"origin": "http://localhost:9000"}, "POST", "/v1/denoise", True),
        ({"origin": "null"}, "POST", "/v1/denoise", True),
        ({"sec-fetch-site": "same-origin"}, "GET", "/v1/models", False),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, "GET", "/v1/models", True),
        ({"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"}, "GET", "/health", True),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, "GET", "/", False),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, "POST", "/", True),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, "GET", "/v1/models", True),
        ({"sec-fetch-site": "none", "sec-fetch-mode": "navigate"}, "GET", "/v1/models", False),
    ],
)
def test_pages_of_other_sites_are_refused(
    headers: dict[str, str], method: str, path: str, foreign: bool
) -> None:
    found = Headers({"host": "localhost:8000", **headers})
    try:
        check_origin(found, {"method": method, "path": path})
    except RefusedError as error:
        assert foreign and error.status == 403
    else:
        assert not foreign


def test_what_is_the_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "localhost", "::1", "127.8.8.8")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.0.2", "example.org")))
