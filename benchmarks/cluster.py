"""A Ray cluster of two nodes on this machine, an S3 server, and a node that is killed.

    python benchmarks/cluster.py --only scaling [--json benchmarks/cluster.json]
    python benchmarks/cluster.py --only losses [--json benchmarks/cluster.json]

The pictures lie in a bucket of moto's S3 server, and so do the results, which are compared with
those of one machine. `scaling` needs Linux, two idle cores and at most four minutes:

- one worker of one core and two of them in turns; seconds of the whole batch, with the start of
  the workers, and pictures a second once each worker has given its first; medians and their ratio.
  All processes of a node are kept on a core of their own. The store, the command and Ray's head
  are not, and so have the other core beside one worker, and share both cores with two.
- CPU seconds a picture of the workers and of all else, which hold on a busy machine, too. All else
  is what keeps two workers from twice the speed of one on such a machine.

`losses`:

- on two workers, one of whose nodes is killed after a quarter of the pictures;
- a TIFF that is split by strips over both workers, by limiting the memory.

What the commands print is printed, the kill among it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
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
FIRST = 4  # pictures after which CPU seconds are counted: the two that each of two workers begins
SETTINGS: dict[str, Any] = {"device": "cpu", "precision": "fp32", "recursive": True}
KEYS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "PYTHONPATH": str(ROOT),
}


@contextlib.contextmanager
def s3() -> Iterator[str]:
    """A bucket of an S3 server on this machine; its address."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
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


@contextlib.contextmanager
def nodes(count: int) -> Iterator[tuple[Any, list[Any]]]:
    """A Ray cluster of nodes with one core each; its handle and the nodes."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
    )
    workers = []
    ours = sorted(os.sched_getaffinity(0))
    for number in range(count):  # a node keeps to the core of the thread that starts it
        os.sched_setaffinity(0, {ours[number % len(ours)]})
        workers.append(cluster.add_node(num_cpus=1))
        os.sched_setaffinity(0, ours)
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


def cpu_seconds() -> dict[str, float]:
    """CPU seconds so far of the workers, and of this process and all others that it started."""
    parents, spent, names = {}, {}, {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            name, _, rest = place.read_text().partition("(")[2].rpartition(")")
            fields, process = rest.split(), int(place.parent.name)
            parents[process], names[process] = int(fields[1]), name
            spent[process] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    ours, more = set[int](), {os.getpid()}
    while more:
        ours |= more
        more = {process for process, parent in parents.items() if parent in ours} - ours
    found = {"workers": 0.0, "rest": 0.0}
    for process in ours & spent.keys():
        found["workers" if names[process] == "ray::Worker" else "rest"] += spent[process]
    return found


@dataclass
class Run:
    """How many of each status, and the seconds at which each outcome came.

    cpu: CPU seconds a picture of the workers, and of the rest, over all but the first pictures
    """

    done: dict[str, int]
    times: list[float]
    seconds: float
    cpu: dict[str, float] = field(default_factory=dict)

    def rate(self, workers: int) -> float:
        """Pictures a second, once each of so many workers has given its first."""
        first, *_, last = self.times[workers - 1 :]
        return (len(self.times) - workers) / (last - first)


def shown(batch: Any, killed_after: int | None = None, kill: Any = None) -> Run:
    """Run a batch as the command does, and kill in the middle of it."""
    times: list[float] = []
    spent: list[dict[str, float]] = []
    with Display(batch, False, False) as display:
        for number, outcome in enumerate(batch, 1):
            display.add(outcome)
            times.append(batch.seconds)
            if number in (FIRST, len(batch)):  # after it the workers are gone
                spent.append(cpu_seconds())
            if number == killed_after:
                kill()
    display.summary()
    before, after = spent[0], spent[-1]
    cpu = {kind: (after[kind] - before[kind]) / max(1, len(times) - FIRST) for kind in after}
    return Run(display.done, times, batch.seconds, cpu)


def largest_difference(expected: Path, address: str) -> int:
    """The most that a sample of a result differs, of 255 levels."""
    most = 0
    for found in list_store(address, True):
        name = found.address.rpartition("/")[2]
        one = decode_image(read_store(found.address), name=name).pixels
        other = load_image(expected / name).pixels
        most = max(most, round(float(np.abs(one - other).max() * 255)))
    return most


def on_workers(bucket: str, count: int, here: Path, name: str) -> tuple[Run, int]:
    """A batch on so many workers, and the largest difference from one machine."""
    print(f"== {count} worker(s)", flush=True)
    with nodes(count) as (cluster, _):
        out = f"{bucket}/{name}"
        run = shown(denoise_files(f"{bucket}/in", out, MODEL, cluster=cluster.address, **SETTINGS))
        return run, largest_difference(here, out)


def scaling(bucket: str, here: Path, turns: int, seconds: float) -> dict[str, Any]:
    """One worker and two, in turns, as many as fit into the time; medians."""
    began = time.monotonic()
    runs: dict[int, list[Run]] = {1: [], 2: []}
    most = 0
    for turn in range(turns):
        for count, found in runs.items():
            run, difference = on_workers(bucket, count, here, f"turn{turn}-{count}")
            found.append(run)
            most = max(most, difference)
        elapsed = time.monotonic() - began
        if elapsed * (turn + 2) / (turn + 1) > seconds:
            break
    result: dict[str, Any] = {
        f"workers_{count}": {
            **found[-1].done,
            "seconds": round(median(run.seconds for run in found), 1),
            "pictures_per_second": round(median(run.rate(count) for run in found), 3),
            "cpu_seconds_a_picture": {
                kind: round(median(run.cpu[kind] for run in found), 3) for kind in found[0].cpu
            },
        }
        for count, found in runs.items()
    }
    one, two = result["workers_1"], result["workers_2"]
    return {
        **result,
        "turns": len(runs[1]),
        "largest_difference": most,
        "speedup": round(two["pictures_per_second"] / one["pictures_per_second"], 2),
        "speedup_with_start": round(one["seconds"] / two["seconds"], 2),
    }


def losses(bucket: str, here: Path, pictures: int, side: int) -> dict[str, Any]:
    """A node killed in the middle, and then strips on what is left."""
    print("== two workers, a node killed", flush=True)
    with nodes(2) as (cluster, workers):
        out = f"{bucket}/killed"

        def kill() -> None:
            print("   (one of the two nodes is killed now)", flush=True)
            cluster.remove_node(workers[1], allow_graceful=False)

        batch = denoise_files(f"{bucket}/in", out, MODEL, cluster=cluster.address, **SETTINGS)
        killed = shown(batch, max(1, pictures // 4), kill)
        difference = largest_difference(here, out)
        print("== a large TIFF by strips", flush=True)
        large = here.parent / "large.tif"
        rng = np.random.default_rng(0)
        save_image(Picture(rng.random((side, side * 3 // 4, 3), np.float32)), large)
        batch = denoise_files(
            large,
            here.parent / "strips.tif",
            MODEL,
            cluster=cluster.address,
            memory="300MB",
            device="cpu",
            precision="fp32",
        )
        strips = shown(batch)
    return {
        "killed": {**killed.done, "largest_difference": difference},
        "strips": {**strips.done, "seconds": round(strips.seconds, 1)},
    }


def main() -> None:
    """Run what is asked for, print, and store where a file is named."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=("scaling", "losses"))
    parser.add_argument("--pictures", type=int, default=24)
    parser.add_argument("--turns", type=int, default=3, help="at most; of scaling")
    parser.add_argument("--seconds", type=float, default=180, help="for the turns")
    parser.add_argument("--side", type=int, default=4000, help="height of the TIFF")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    stored = asked.json is not None and asked.json.is_file()
    result: dict[str, Any] = json.loads(asked.json.read_text()) if stored else {}
    result |= {"pictures": asked.pictures, "megapixels": SIDE * SIDE / 1e6}
    with tempfile.TemporaryDirectory() as scratch, s3() as bucket:
        folder, here = Path(scratch) / "pictures", Path(scratch) / "here"
        make_pictures(folder, asked.pictures)
        import torch

        torch.set_num_threads(1)
        print("== one machine", flush=True)
        shown(denoise_files(folder, here, MODEL, **SETTINGS))
        import fsspec

        system, _ = fsspec.core.url_to_fs(bucket)
        system.put(str(folder) + "/", "photos/in/", recursive=True)
        if asked.only != "losses":
            result |= scaling(bucket, here, asked.turns, asked.seconds)
        if asked.only != "scaling":
            result |= losses(bucket, here, asked.pictures, asked.side)
    print(json.dumps(result, indent=1))
    if asked.json:
        asked.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
