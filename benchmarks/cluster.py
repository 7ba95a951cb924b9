"""A Ray cluster of two nodes on this machine, an S3 server, and a node that is killed.

    python benchmarks/cluster.py [--pictures 24] [--json benchmarks/cluster.json]

The pictures lie in a bucket of moto's S3 server, and so do the results. In one run:

1. on one machine, from a folder: the results to compare with;
2. on a cluster of one worker with one core, then of two workers: seconds of each, their ratio;
3. on two workers, one of whose nodes is killed after a quarter of the pictures;
4. a TIFF that is split by strips over both workers, by limiting the memory.

What the commands print is printed, the kill among it.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from restore.cli.batch import Display
from restore.image.picture import Picture
from restore.image.read import decode_image, load_image
from restore.image.write import save_image
from restore.pipeline.batch import denoise_files
from restore.pipeline.store import list_store, read_store

ROOT = Path(__file__).resolve().parent.parent
MODEL, SIDE = "denoise-photo-fast", 640
SETTINGS: dict[str, Any] = {"device": "cpu", "precision": "fp32", "recursive": True}
KEYS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "PYTHONPATH": str(ROOT),
}


@contextmanager
def s3() -> Iterator[str]:
    """A bucket of an S3 server on this machine; its address."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ.update({**KEYS, "AWS_ENDPOINT_URL": f"http://{host}:{port}"})
    import s3fs

    s3fs.S3FileSystem().mkdir("photos")
    try:
        yield "s3://photos"
    finally:
        server.stop()


@contextmanager
def nodes(count: int) -> Iterator[tuple[Any, list[Any]]]:
    """A Ray cluster of nodes with one core each; its handle and the nodes."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
    )
    workers = [cluster.add_node(num_cpus=1) for _ in range(count)]
    try:
        yield cluster, workers
    finally:
        cluster.shutdown()


def make_pictures(folder: Path, count: int) -> None:
    """Noisy crops of the samples, enlarged by repetition so that they take a while."""
    rng, clean = np.random.default_rng(0), load_image(ROOT / "samples" / "fur-clean.png").pixels
    folder.mkdir()
    for number in range(count):
        rolled = np.roll(clean, 13 * number, (0, 1))
        large = np.tile(rolled, (3, 3, 1))[:SIDE, :SIDE]
        noisy = (large + rng.normal(0, 20 / 255, large.shape)).clip(0, 1).astype(np.float32)
        save_image(Picture(noisy), folder / f"{number:03}.png")


def shown(batch: Any, killed_after: int | None = None, kill: Any = None) -> dict[str, int]:
    """Run a batch as the command does, and kill in the middle of it; how many of each status."""
    with Display(batch, False, False) as display:
        for number, outcome in enumerate(batch, 1):
            display.add(outcome)
            if number == killed_after:
                kill()
    display.summary()
    return display.done


def largest_difference(expected: Path, address: str) -> int:
    """The most that a sample of a result differs, of 255 levels."""
    most = 0
    for found in list_store(address, True):
        name = found.address.rpartition("/")[2]
        one = decode_image(read_store(found.address), name=name).pixels
        other = load_image(expected / name).pixels
        most = max(most, round(float(np.abs(one - other).max() * 255)))
    return most


def main() -> None:
    """Run all of it, print, and store where a file is named."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, default=24)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    result: dict[str, Any] = {"pictures": asked.pictures, "megapixels": SIDE * SIDE / 1e6}
    with tempfile.TemporaryDirectory() as scratch, s3() as bucket:
        folder = Path(scratch) / "pictures"
        make_pictures(folder, asked.pictures)
        import torch

        torch.set_num_threads(1)
        print("== one machine", flush=True)
        shown(denoise_files(folder, Path(scratch) / "here", MODEL, **SETTINGS))
        import fsspec

        system, _ = fsspec.core.url_to_fs(bucket)
        system.put(str(folder) + "/", "photos/in/", recursive=True)
        for count in (1, 2):
            print(f"== {count} worker(s)", flush=True)
            with nodes(count) as (cluster, _):
                out = f"{bucket}/out{count}"
                batch = denoise_files(
                    f"{bucket}/in", out, MODEL, cluster=cluster.address, **SETTINGS
                )
                done = shown(batch)
                result[f"workers_{count}"] = {**done, "seconds": round(batch.seconds, 1)}
                result["largest_difference"] = largest_difference(Path(scratch) / "here", out)
        one, two = (result[f"workers_{count}"]["seconds"] for count in (1, 2))
        result["speedup"] = round(one / two, 2)
        print("== two workers, a node killed", flush=True)
        with nodes(2) as (cluster, workers):
            out = f"{bucket}/killed"

            def kill() -> None:
                print("   (one of the two nodes is killed now)", flush=True)
                cluster.remove_node(workers[1], allow_graceful=False)

            batch = denoise_files(f"{bucket}/in", out, MODEL, cluster=cluster.address, **SETTINGS)
            result["killed"] = shown(batch, asked.pictures // 4, kill)
            result["killed"]["largest_difference"] = largest_difference(Path(scratch) / "here", out)
            print("== a large TIFF by strips", flush=True)
            large = Path(scratch) / "large.tif"
            rng = np.random.default_rng(0)
            save_image(Picture(rng.random((4000, 3000, 3), np.float32)), large)
            batch = denoise_files(
                large,
                Path(scratch) / "strips.tif",
                MODEL,
                cluster=cluster.address,
                memory="300MB",
                device="cpu",
                precision="fp32",
            )
            result["strips"] = {**shown(batch), "seconds": round(batch.seconds, 1)}
    print(json.dumps(result, indent=1))
    if asked.json:
        asked.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
