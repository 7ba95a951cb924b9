"""A server of its own for the tests of a file, in this process, on a port that is free."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import restore
from restore.engine.compute import Compute

if TYPE_CHECKING:  # the test files skip where a package is missing
    import httpx

    from restore.web.guard import Access
    from restore.web.jobs import Limits

CPU = Compute("cpu", "fp32")


@contextmanager
def running(
    limits: Limits | None = None, access: Access | None = None, devices: int = 1
) -> Iterator[str]:
    """The address of a server, which is ended afterwards."""
    from restore.web.app import create_app
    from restore.web.server import Server, bind

    bound, started = bind("127.0.0.1", 0), threading.Event()
    server = Server(create_app([CPU] * devices, limits, access), started.set)
    thread = threading.Thread(target=server.run, args=([bound],))
    thread.start()
    try:
        assert started.wait(60)
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        bound.close()


@pytest.fixture
def serve() -> Callable[..., object]:
    """`with serve(limits) as address:`"""
    return running


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The address of a server with the usual limits, for all tests of a file."""
    from restore.web.jobs import Limits

    with running(Limits(pixels=1_000_000, bytes=5_000_000)) as found:
        yield found


@pytest.fixture
def client(address: str) -> Iterator[httpx.Client]:
    """A client of that server, without the environment's proxies."""
    import httpx

    with httpx.Client(base_url=address, timeout=60, trust_env=False) as found:
        yield found


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A noisy photograph of 96x80 pixels, as a PNG."""
    whole = restore.load_image(Path(__file__).parents[2] / "samples" / "fur.png")
    path = tmp_path_factory.mktemp("small") / "fur.png"
    restore.save_image(whole.replace(pixels=whole.pixels[:80, :96]), path)
    return path
