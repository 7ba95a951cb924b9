"""`restore web` under load: many clients at once, clients that hang up, and damaged files.

    python benchmarks/web_load.py [--clients 20] [--rounds 3] [--fuzz 2000] [--json FILE]

The server is a process of its own. Each client sends pictures of its own and compares each result
with that of `restore.denoise`. Exit code 1 where a request fails, a result is another's, a place
stays taken, or the server answers a damaged file with anything but 200, 413, 415 or 422.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import io
import json
import random
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
MODEL = "denoise-photo-fast"
SIDE = 256
MAX_PIXELS = 30_000_000


@contextmanager
def server() -> Iterator[tuple[str, int]]:
    """The address and the process of a server."""
    command = [sys.executable, "-m", "restore", "web", "--port", "0", "--device", "cpu"]
    command += ["--precision", "fp32", "--max-pixels", str(MAX_PIXELS)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        assert re.match(r"http://127\.0\.0\.1:\d+/$", address), address
        yield address.rstrip("/"), process.pid
        assert process.poll() is None, "the server has died"
    finally:
        process.terminate()
        process.wait(30)


def memory(process: int) -> dict[str, int]:
    """Bytes of memory that a process has now, and has had at most."""
    text = Path(f"/proc/{process}/status").read_text()
    names = {"now": "VmRSS", "peak": "VmHWM"}
    return {k: int(re.findall(rf"{v}:\s+(\d+) kB", text)[0]) * 1024 for k, v in names.items()}


def noisy(client: int, number: int) -> np.ndarray[Any, Any]:
    """A picture that no other client sends."""
    rng = np.random.default_rng([client, number])
    ground = np.full((SIDE, SIDE, 3), 40 + 7 * client, float)
    ground[: 10 + 12 * client] += 25 + 5 * number
    return np.clip(ground + rng.normal(0, 15, ground.shape), 0, 255).astype(np.uint8)


def packed(pixels: np.ndarray[Any, Any]) -> bytes:
    """A PNG."""
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "PNG")
    return held.getvalue()


def form(data: bytes, **fields: str) -> dict[str, Any]:
    """A request to denoise."""
    return {"files": {"image": ("a.png", data)}, "data": {"model": MODEL, **fields}}


async def load(address: str, clients: int, rounds: int) -> dict[str, Any]:
    """All clients at once, each with one picture after another."""
    import restore

    times: list[float] = []
    statuses: Counter[int] = Counter()
    got: dict[tuple[int, int], bytes] = {}

    async def one(caller: httpx.AsyncClient, client: int) -> None:
        for number in range(rounds):
            began = time.perf_counter()
            answer = await caller.post("/v1/denoise", **form(packed(noisy(client, number))))
            times.append(time.perf_counter() - began)
            statuses[answer.status_code] += 1
            got[client, number] = answer.content

    async with httpx.AsyncClient(base_url=address, timeout=600, trust_env=False) as caller:
        began = time.perf_counter()
        await asyncio.gather(*(one(caller, client) for client in range(clients)))
        seconds = time.perf_counter() - began
    mixed = 0
    for (client, number), data in got.items():
        wanted = restore.denoise(noisy(client, number), MODEL, device="cpu", precision="fp32").image
        apart = np.abs(np.asarray(Image.open(io.BytesIO(data))).astype(int) - wanted)
        mixed += int(apart.max() > 1)
    return {
        "clients": clients,
        "requests": len(times),
        "statuses": dict(statuses),
        "mixed_up": mixed,
        "seconds": round(seconds, 2),
        "median_seconds": round(statistics.median(times), 2),
        "longest_seconds": round(max(times), 2),
    }


async def hang_up(address: str, clients: int) -> dict[str, Any]:
    """All clients go away while they wait; how long until all places are free again."""
    data = packed(np.random.default_rng(0).integers(0, 256, (1500, 1500, 3), np.uint8))

    async def one(client: int) -> None:
        async with httpx.AsyncClient(base_url=address, trust_env=False, timeout=600) as caller:
            sending = asyncio.create_task(caller.post("/v1/denoise", **form(data)))
            await asyncio.sleep(2 + client / 20)
            sending.cancel()

    async with httpx.AsyncClient(base_url=address, timeout=600, trust_env=False) as watcher:
        leaving = asyncio.gather(*(one(client) for client in range(clients)))
        most = 0
        while not leaving.done():
            most = max(most, (await watcher.get("/health")).json()["jobs"])
            await asyncio.sleep(0.05)
        began = time.perf_counter()
        while (health := (await watcher.get("/health")).json())["jobs"] or health["running"]:
            assert time.perf_counter() - began < 120, health
            await asyncio.sleep(0.05)
    return {
        "clients": clients,
        "most_jobs": most,
        "free_after_seconds": round(time.perf_counter() - began, 2),
    }


def fuzz(address: str, count: int) -> dict[str, Any]:
    """Mutated files of every format, one after another."""
    place = ROOT / "benchmarks" / "fuzz_reader.py"
    spec = importlib.util.spec_from_file_location("fuzz_reader", place)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    whole, rng = module.seeds(), random.Random(0)
    names, others = sorted(whole), list(whole.values())
    statuses: Counter[int] = Counter()
    slowest = 0.0
    with httpx.Client(base_url=address, timeout=120, trust_env=False) as caller:
        for number in range(count):
            data = module.mutate(whole[names[number % len(names)]], rng, others)
            began = time.perf_counter()
            statuses[caller.post("/v1/denoise", **form(data, strength="0")).status_code] += 1
            slowest = max(slowest, time.perf_counter() - began)
        alive = caller.get("/health").json()
    return {
        "files": count,
        "statuses": {str(k): v for k, v in sorted(statuses.items())},
        "slowest_seconds": round(slowest, 2),
        "jobs_left": alive["jobs"],
    }


def main() -> None:
    """Run all three and check what was promised."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fuzz", type=int, default=2000)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    results: dict[str, Any] = {}
    with server() as (address, process):
        asyncio.run(load(address, 1, 1))  # the model is loaded
        results["memory_before_bytes"] = memory(process)["now"]
        results["load"] = asyncio.run(load(address, asked.clients, asked.rounds))
        results["memory_of_load_bytes"] = memory(process)["peak"]
        results["hang_up"] = asyncio.run(hang_up(address, asked.clients))
        results["fuzz"] = fuzz(address, asked.fuzz)
        results["memory_peak_bytes"] = memory(process)["peak"]
    print(json.dumps(results, indent=1))
    if asked.json:
        asked.json.write_text(json.dumps(results, indent=1) + "\n")
    load_kept = results["load"]["statuses"] == {200: asked.clients * asked.rounds}
    answered = set(results["fuzz"]["statuses"]) <= {"200", "413", "415", "422"}
    if not load_kept or results["load"]["mixed_up"] or not answered or results["fuzz"]["jobs_left"]:
        raise SystemExit("a promise was not kept")


if __name__ == "__main__":
    main()
