"""What several tests of the pipeline need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from restore.image.picture import Picture
from restore.image.write import save_image


@pytest.fixture
def photos(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Six pictures, one of them in a sub-folder, and a file that is none."""
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    for number in range(6):
        pixels = rng.random((40, 48, 3), np.float32)
        place = folder / "deep" if number == 5 else folder
        save_image(Picture(pixels), place / f"{number}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """A new bucket of a real S3 server on this machine."""
    server_of = pytest.importorskip("moto.server", reason="pip install 'moto[server]' s3fs")
    s3fs = pytest.importorskip("s3fs", reason="pip install s3fs")
    server = server_of.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3fs.S3FileSystem.clear_instance_cache()
    name = f"photos-{abs(hash(tmp_path))}"  # all servers of a process share what they store
    s3fs.S3FileSystem().mkdir(name)
    yield f"s3://{name}"
    server.stop()
