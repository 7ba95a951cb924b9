"""The HTTP API on a real server: results, statuses, jobs, clients that go away, many at once."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import json
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

httpx = pytest.importorskip("httpx", reason="pip install httpx to test the web server")
pytest.importorskip("fastapi", reason='pip install ".[web]" to test the web server')
pytest.importorskip("uvicorn", reason='pip install ".[web]" to test the web server')

import restore
from restore.image.picture import quantise
from restore.image.read import decode_image
from restore.web import routes
from restore.web.guard import Access
from restore.web.jobs import Limits

FAST = "denoise-photo-fast"
Serve = Callable[..., AbstractContextManager[str]]
SamePicture = Callable[[Any, Any], None]


def caller(address: str, timeout: float = 60) -> Any:
    """A client, without the environment's proxies."""
    return httpx.Client(base_url=address, timeout=timeout, trust_env=False)


def taken(client: Any) -> int:
    """Places that are taken."""
    health = client.get("/health").json()
    return int(health["waiting"] + health["running"])


def samples_of(data: bytes) -> Any:
    return quantise(decode_image(data).pixels, 8)


def send(client: Any, data: bytes, task: str = "denoise", **fields: Any) -> Any:
    headers = fields.pop("headers", {})
    if task == "denoise":
        fields.setdefault("model", FAST)
    return client.post(
        f"/v1/{task}", files={"image": ("a.png", data)}, data=fields, headers=headers
    )


def begin(client: Any, data: bytes, **fields: Any) -> str:
    answer = send(client, data, headers={"Prefer": "respond-async"}, **fields)
    assert answer.status_code == 202 and answer.headers["Location"].endswith(answer.json()["id"])
    return str(answer.json()["id"])


def ended(client: Any, job: str) -> dict[str, Any]:
    """The job when it has ended, by its events."""
    told: list[dict[str, Any]] = []
    with client.stream("GET", f"/v1/jobs/{job}/events") as events:
        assert events.headers["content-type"].startswith("text/event-stream")
        for line in events.iter_lines():
            if line.startswith("data: "):
                told.append(json.loads(line.removeprefix("data: ")))
    return told[-1]


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """While it is closed, a job's network runs, tile by tile, without end."""
    opened, real = threading.Event(), routes.restore

    def slow(upload: Any, form: Any, limits: Any, compute: Any, report: Any) -> Any:
        while not opened.wait(0.01):
            report(1, 2)
        return real(upload, form, limits, compute, report)

    monkeypatch.setattr(routes, "restore", slow)
    yield opened
    opened.set()


def test_the_result_is_that_of_the_package(
    client: Any, small: Path, assert_same_picture: SamePicture
) -> None:
    data = small.read_bytes()
    clean = small.parent / "clean.png"
    restore.save_image(restore.denoise(small, FAST, device="cpu").picture, clean, overwrite=True)
    files = {"image": ("../a b.png", data), "reference": ("r.png", clean.read_bytes())}
    fields = {"model": FAST, "strength": "0.4"}
    answer = client.post("/v1/denoise", files=files, data=fields)
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/png"
    assert "a%20b-restored.png" in answer.headers["content-disposition"]
    wanted = restore.denoise(
        small, FAST, strength=0.4, device="cpu", precision="fp32", reference=clean
    )
    assert_same_picture(samples_of(answer.content), quantise(wanted.picture.pixels, 8))
    assert answer.headers["Restore-Model"] == FAST
    assert abs(float(answer.headers["Restore-Psnr-After"]) - (wanted.psnr or 0)) < 0.05
    larger = send(client, data, "upscale", scale=1.5, model="bicubic")
    assert samples_of(larger.content).shape == (120, 144, 3)
    fast = send(client, data, "upscale", scale=1.5, model="fast")
    assert fast.headers["Restore-Model"] == "upscale-x2-fast"


def test_the_files_format_and_metadata_are_kept(client: Any, small: Path) -> None:
    from PIL import Image

    tag = Image.Exif()
    tag[0x010F] = "Maker"
    memory = io.BytesIO()
    Image.open(small).save(memory, "JPEG", exif=tag.tobytes(), icc_profile=b"profile" * 40)
    job = begin(client, memory.getvalue())
    assert ended(client, job)["state"] == "done"
    kept = client.get(f"/v1/jobs/{job}/result")
    assert kept.headers["content-type"] == "image/jpeg"
    with Image.open(io.BytesIO(kept.content)) as image:
        assert image.getexif()[0x010F] == "Maker" and image.info["icc_profile"] == b"profile" * 40
    stripped = client.get(f"/v1/jobs/{job}/result?format=webp&strip_metadata=true&quality=80")
    assert stripped.headers["content-type"] == "image/webp" and b"Maker" not in stripped.content
    untouched = client.get(f"/v1/jobs/{job}/result?strength=0")
    assert untouched.content == memory.getvalue()


def test_the_strength_is_blended_without_the_network(
    client: Any,
    small: Path,
    monkeypatch: pytest.MonkeyPatch,
    assert_same_picture: SamePicture,
) -> None:
    job = begin(client, small.read_bytes())
    told = ended(client, job)
    assert told["blends"] and told["metrics"]["sigma"] > 10 and told["total"] > 0
    monkeypatch.setattr("restore.engine.run.run", None)  # the network cannot run
    strengths = (0.25, 1.0)
    got = [client.get(f"/v1/jobs/{job}/result", params={"strength": s}) for s in strengths]
    monkeypatch.undo()
    for strength, answer in zip(strengths, got, strict=True):
        wanted = restore.denoise(small, FAST, strength=strength, device="cpu", precision="fp32")
        assert_same_picture(samples_of(answer.content), quantise(wanted.picture.pixels, 8))
    views = [samples_of(client.get(f"/v1/jobs/{job}/{s}.png").content) for s in ("before", "after")]
    assert_same_picture(views[0], samples_of(small.read_bytes()))
    assert client.delete(f"/v1/jobs/{job}").status_code == 204
    assert client.get(f"/v1/jobs/{job}").status_code == 404


def test_what_is_wrong_has_its_status_and_one_sentence(client: Any, small: Path) -> None:
    data = small.read_bytes()
    plain = np.zeros((1100, 1000, 3), np.uint8)
    large = small.parent / "large.png"
    restore.save_image(restore.Picture(plain.astype(np.float32)), large, overwrite=True)
    wrong = [
        (413, send(client, b"\x89PNG" + bytes(6_000_000))),
        (413, send(client, large.read_bytes())),
        (413, send(client, data, "upscale", scale=16)),
        (415, client.post("/v1/denoise", content=data, headers={"content-type": "image/png"})),
        (415, send(client, b"<svg></svg>")),
        (422, send(client, data[:3000])),
        (422, send(client, b"")),
        (422, send(client, data, strength="2")),
        (422, send(client, data, strength="nan")),
        (422, send(client, data, model="/etc/passwd")),
        (422, send(client, data, model="../weights/denoise-photo")),
        (422, send(client, data, output="../stolen.png")),
        (422, send(client, data, "upscale")),
        (422, send(client, data, "upscale", scale="3", width="900")),
        (422, send(client, data, "upscale", width="50")),
        (422, send(client, data, quality="50")),
        (422, client.post("/v1/denoise", files={"other": data})),
        (404, client.get("/v1/jobs/none")),
        (404, client.get("/none")),
        (405, client.get("/v1/denoise")),
        (405, client.put("/v1/jobs/none")),
        (403, client.get("/v1/models", headers={"Host": "evil.example"})),
        (403, send(client, data, headers={"Origin": "https://evil.example"})),
    ]
    for status, answer in wrong:
        told = answer.json()["detail"]
        assert answer.status_code == status, told
        assert told and "\n" not in told and "Traceback" not in told
        assert "access-control-allow-origin" not in answer.headers
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert taken(client) == 0, "a refused request keeps no place"


def test_nothing_of_a_request_is_written_to_the_disk(
    client: Any, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    def refuse(*args: Any, **more: Any) -> Any:
        raise AssertionError("a temporary file")

    for name in ("TemporaryFile", "NamedTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, refuse)
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).random((600, 900, 3), np.float32)  # above Starlette's megabyte
    restore.save_image(restore.Picture(noise), tmp_path / "noise.png")
    data = (tmp_path / "noise.png").read_bytes()
    assert len(data) > 2**20
    assert send(client, data, strength="0").content == data
    assert [path.name for path in tmp_path.iterdir()] == ["noise.png"]


def test_a_client_that_goes_away_frees_its_place(
    serve: Serve, small: Path, gate: threading.Event
) -> None:
    data = small.read_bytes()

    def impatient() -> None:
        with caller(address, 1.5) as client, pytest.raises(httpx.ReadTimeout):
            send(client, data)

    with serve(Limits(waiting=1, each=1)) as address, caller(address) as client:

        def running() -> int:
            return int(client.get("/health").json()["running"])

        thread = threading.Thread(target=impatient)
        thread.start()
        until(lambda: running() == 1)
        busy = send(client, data)
        assert busy.status_code == 429 and int(busy.headers["Retry-After"]) > 0
        thread.join()
        until(lambda: client.get("/health").json()["jobs"] == 0)
        job = begin(client, data)
        assert client.delete(f"/v1/jobs/{job}").status_code == 204
        until(lambda: running() == 0)
        gate.set()
        assert send(client, data).status_code == 200


def test_one_that_stops_sending_is_given_up(serve: Serve) -> None:
    with serve(Limits(patience=0.3, waiting=1, each=1)) as address:
        host, port = re.findall(r"//(.+):(\d+)", address)[0]
        with socket.create_connection((host, int(port)), 30) as slow:
            slow.sendall(
                b"POST /v1/denoise HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n"
                b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x"
            )
            assert slow.recv(100).startswith(b"HTTP/1.1 408")
        assert httpx.get(f"{address}/health", trust_env=False).json()["jobs"] == 0


def test_a_token_is_asked_for_where_there_is_one(serve: Serve, small: Path) -> None:
    with serve(access=Access(token="secret")) as address, caller(address) as client:
        assert client.get("/health").status_code == 200
        for path in ("/", "/v1/models", "/openapi.json", "/page.js", "/?token=wrong"):
            answer = client.get(path)
            assert answer.status_code == 401 and "token" in answer.json()["detail"]
        assert send(client, small.read_bytes()).status_code == 401
        bearer = {"Authorization": "Bearer secret"}
        assert client.get("/v1/models", headers=bearer).status_code == 200
        entered = client.get("/?token=secret")
        assert entered.status_code == 303 and entered.headers["location"] == "/"
        cookie = entered.headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=strict" in cookie
        assert client.get("/").status_code == 200, "the cookie has been kept"


def test_twenty_clients_get_each_its_own_picture(
    address: str, client: Any, assert_same_picture: SamePicture
) -> None:
    """`benchmarks/web_load.py` in small."""
    rng = np.random.default_rng(0)
    sent = [rng.integers(60 + 5 * n, 80 + 5 * n, (24, 24, 3), np.uint8) for n in range(20)]

    async def one(caller: Any, pixels: Any) -> Any:
        memory = io.BytesIO()
        from PIL import Image

        Image.fromarray(pixels).save(memory, "PNG")
        form = {"files": {"image": ("a.png", memory.getvalue())}, "data": {"model": FAST}}
        answer = await caller.post("/v1/denoise", **form)
        assert answer.status_code == 200, answer.text
        return samples_of(answer.content)

    async def all_of_them() -> list[Any]:
        async with httpx.AsyncClient(base_url=address, timeout=120, trust_env=False) as caller:
            return await asyncio.gather(*(one(caller, pixels) for pixels in sent))

    for pixels, got in zip(sent, asyncio.run(all_of_them()), strict=True):
        wanted = restore.denoise(pixels, FAST, device="cpu", precision="fp32").image
        assert_same_picture(got, wanted)
    assert taken(client) == 0


def fuzz_reader(root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("resource", reason="limits of POSIX")
    monkeypatch.syspath_prepend(root / "benchmarks")
    spec = importlib.util.spec_from_file_location("fuzz", root / "benchmarks" / "fuzz_reader.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_mutated_files_are_answered_and_the_server_lives(
    client: Any, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part of the corpus of `benchmarks/fuzz_reader.py`; all of it: `benchmarks/web_load.py`."""
    fuzz, rng = fuzz_reader(root, monkeypatch), random.Random(3)
    whole = fuzz.seeds()
    others, statuses = list(whole.values()), set()
    for name in sorted(whole):
        data = fuzz.mutate(whole[name], rng, others)
        answer = send(client, data, strength="0")
        assert answer.status_code in (200, 413, 415, 422), (name, answer.text)
        statuses.add(answer.status_code)
    assert {200, 422} <= statuses
    assert taken(client) == 0


def test_the_openapi_document_is_kept(address: str, client: Any, tmp_path: Path) -> None:
    pytest.importorskip("schemathesis", reason="pip install schemathesis to test the document")
    document = client.get("/openapi.json").json()
    assert document["info"]["title"] == "restore"
    checks = "not_a_server_error,status_code_conformance,content_type_conformance"
    words = ["run", f"{address}/openapi.json", "--max-examples", "2", "--seed", "1"]
    words += ["--checks", f"{checks},response_schema_conformance", "--phases", "fuzzing"]
    environment = {**os.environ, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()", *words],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert client.get("/health").json()["status"] == "ok"
