"""Real faults under a running batch, and what was lost: nothing, or this script fails.

    python benchmarks/faults.py [--kills 50] [--json benchmarks/faults.json]

Killed processes (SIGKILL at random moments), a disk that fills, a folder that turns read-only,
files that vanish or change while they are read. After each fault every result is whole or absent
and every original is there; then the next run must complete the work. Mounting needs the superuser.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

# Imported before the first fork: the children shall be killed at work, not while they import.
import restore.engine.device
import restore.engine.tiled  # noqa: F401
from restore.image.read import load_image
from restore.models.network import BaseNetwork
from restore.pipeline.batch import denoise_files

KINDS = {".png": {}, ".jpg": {"quality": 95}, ".tif": {"compression": "tiff_adobe_deflate"}}


class Invert(BaseNetwork):
    """A network that changes every pixel, so that a result is told from its picture."""

    channels, scale, halo, multiple_of = 3, 1, 0, 1

    def __call__(self, x: Any) -> Any:
        """Black for white, after a while."""
        time.sleep(0.004)
        return 1 - x


def make_pictures(folder: Path, count: int, seed: int = 0) -> None:
    """Noisy pictures, which do not pack well, so that writing them takes its time."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        suffix = list(KINDS)[number % len(KINDS)]
        side = int(rng.integers(60, 240))
        array = rng.integers(0, 256, (side, side + 7, 3), np.uint8)
        Image.fromarray(array).save(folder / f"{number:03}{suffix}", **KINDS[suffix])


def run(source: Path, output: Path | None, **more: Any) -> list[Any]:
    """One batch to its end."""
    batch = denoise_files(source, output, Invert(), device="cpu", precision="fp32", **more)
    return list(batch)


def digests(folder: Path) -> dict[str, str]:
    """A checksum of each file that is not hidden."""
    files = (p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def check(condition: bool, words: str) -> None:
    """The end of the script where something was lost."""
    if not condition:
        raise SystemExit(f"LOST: {words}")


def fork(work: Any) -> int:
    """A process that does the work and ends; its number."""
    child = os.fork()
    if child == 0:
        signal.alarm(120)  # whatever happens
        with contextlib.suppress(BaseException):
            work()
        os._exit(0)
    return child


def killed(work: Any, folder: Path, pattern: str, count: int, delay: float) -> bool:
    """Run `work` in a process of its own and kill it; whether it was still running.

    It is killed some seconds (`delay`) after so many files of the pattern lie in the folder.
    """
    child = fork(work)
    while sum(1 for _ in folder.glob(pattern)) < count:
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
        time.sleep(0.001)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def duration(work: Any) -> float:
    """Seconds that a process of its own takes for `work`."""
    began = time.perf_counter()
    child = fork(work)
    os.waitpid(child, 0)
    return time.perf_counter() - began


def kill_batches(root: Path, kills: int, rng: random.Random) -> dict[str, Any]:
    """Results are whole or absent after each kill, and a plain run afterwards completes them."""
    source, output = root / "in", root / "out"
    make_pictures(source, 18)
    whole = digests(source)
    each = duration(lambda: run(source, output)) / 18
    truth = digests(output)
    check(len(truth) == 18, "a whole run is not whole")
    hit = partial = stray = 0
    for _ in range(kills):
        shutil.rmtree(output)
        moment = "[!.]*", rng.randrange(17), rng.uniform(0, each)
        hit += killed(lambda: run(source, output), output, *moment)
        found = digests(output) if output.exists() else {}
        check(found.items() <= truth.items(), "a result is neither whole nor absent")
        partial += 0 < len(found) < len(truth)
        stray += len(list(output.glob(".*"))) if output.exists() else 0
        child = duration(lambda: run(source, output))
        check(digests(output) == truth and child > 0, "the next run did not complete the work")
        check(not list(output.glob(".*")), "the next run left what the killed one had begun")
    check(digests(source) == whole, "an original changed")
    return {"tried": kills, "killed while running": hit, "left partly done": partial,
            "begun files swept": stray, "lost": 0}  # fmt: skip


def kill_in_place(root: Path, kills: int, rng: random.Random) -> dict[str, Any]:
    """Each picture is the original or the whole result, whose original is there as a backup."""
    pristine, folder, reference = root / "pristine", root / "photos", root / "reference"
    make_pictures(pristine, 18)
    originals = digests(pristine)
    shutil.copytree(pristine, reference)
    each = duration(lambda: run(reference, None, in_place=True, backup=True)) / 18
    truth = {n: d for n, d in digests(reference).items() if not n.endswith(".orig")}
    hit = partial = 0
    for _ in range(kills):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(pristine, folder)
        moment = "*.orig", rng.randrange(17), rng.uniform(0, each)
        hit += killed(lambda: run(folder, None, in_place=True, backup=True), folder, *moment)
        found, replaced = digests(folder), 0
        for name, original in originals.items():
            kept = found.get(f"{name}.orig", original)
            check(found[name] in (original, truth[name]), f"{name} is half-written")
            check(kept == original, f"the backup of {name} is not its original")
            check(found[name] == original or f"{name}.orig" in found, f"{name} has no backup")
            replaced += found[name] != original
        partial += 0 < replaced < len(originals)
        duration(lambda: run(folder, None, in_place=True, backup=True))
        check(digests(folder) == digests(reference), "the next run did not complete the work")
    return {"tried": kills, "killed while running": hit, "left partly done": partial, "lost": 0}


@contextlib.contextmanager
def mounted(folder: Path, size: str) -> Iterator[None]:
    """A small file system in memory; PermissionError where this process may not mount."""
    folder.mkdir(parents=True, exist_ok=True)
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        raise PermissionError("mounting needs Linux and the superuser")
    asked = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    tried = subprocess.run(asked, capture_output=True, text=True)
    if tried.returncode:
        raise PermissionError(tried.stderr.strip() or "mounting is not allowed here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def remount(folder: Path, option: str) -> None:
    """Change a mounted file system."""
    subprocess.run(["mount", "-o", f"remount,{option}", str(folder)], check=True)


def fill_disk(root: Path) -> dict[str, Any]:
    """A disk that fills: what fits is whole, the rest is said to have failed, then completed."""
    source, disk = root / "in", root / "disk"
    make_pictures(source, 18)
    run(source, root / "truth")
    truth = digests(root / "truth")
    with mounted(disk, "600k"):
        outcomes = run(source, disk / "out")
        failed = [o for o in outcomes if o.status == "failed"]
        check(bool(failed) and len(failed) < 18, "the disk did not fill")
        check(all("No space left" in o.reason for o in failed), "a failure has another reason")
        check(digests(disk).items() <= truth.items(), "a result is neither whole nor absent")
        check(not list(disk.rglob(".*")), "something half-written was left")
        remount(disk, "size=64m")
        run(source, disk / "out")
        check(digests(disk) == truth, "the next run did not complete the work")
    return {"tried": 18, "refused by the full disk": len(failed), "lost": 0}


def read_only(root: Path) -> dict[str, Any]:
    """A folder that may not be written to: every picture fails before the network, then not."""
    source, disk = root / "in", root / "disk"
    make_pictures(source, 6)
    with mounted(disk, "16m"):
        remount(disk, "ro")
        outcomes = run(source, disk) + run(source, disk / "new")
        refused = [o for o in outcomes if o.status == "failed"]
        words = ("may not be written", "Read-only", "cannot be made")
        check(len(refused) == 12, "a read-only folder was written to")
        check(all(any(w in o.reason for w in words) for o in refused), "for another reason")
        remount(disk, "rw")
        check(all(o.status == "written" for o in run(source, disk)), "the next run failed")
    return {"tried": 12, "refused": len(refused), "lost": 0}


def restless(root: Path, rounds: int, rng: random.Random) -> dict[str, Any]:
    """Pictures rewritten and removed while the batch reads them: results are whole or absent."""
    counts = dict.fromkeys(("written", "failed", "skipped"), 0)
    for number in range(rounds):
        source, output = root / f"in{number}", root / f"out{number}"
        make_pictures(source, 12, seed=0)
        make_pictures(root / "other", 12, seed=1)
        before, after = run(source, root / "a"), run(root / "other", root / "b")
        check(len(before) == len(after) == 12, "a run is not whole")
        possible = {*digests(root / "a").items(), *digests(root / "b").items()}
        ended = threading.Event()

        def disturb(source: Path = source, ended: threading.Event = ended) -> None:
            while not ended.is_set():
                victim = rng.choice(sorted(source.iterdir()) or [source / "none"])
                data = (root / "other" / victim.name).read_bytes()
                if rng.random() < 0.2:
                    victim.unlink(missing_ok=True)
                    continue
                with open(victim, "wb") as file:
                    file.write(data[: len(data) // 2])
                    file.flush()
                    time.sleep(0.001)
                    file.write(data[len(data) // 2 :])

        thread = threading.Thread(target=disturb)
        thread.start()
        outcomes = run(source, output)
        ended.set()
        thread.join()
        for outcome in outcomes:
            counts[outcome.status] += 1
        found = digests(output)
        check(found.items() <= possible, "a result is of a picture that never was")
        check(len(found) == sum(o.status == "written" for o in outcomes), "a result is missing")
        for path in output.iterdir():
            load_image(path)
    return {"tried": sum(counts.values()), **counts, "lost": 0}


def main() -> None:
    """Every fault, one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=10, help="of restless sources")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    rng = random.Random(asked.seed)
    faults: dict[str, Any] = {
        "SIGKILL, results beside": lambda r: kill_batches(r, asked.kills, rng),
        "SIGKILL, in place with backup": lambda r: kill_in_place(r, asked.kills, rng),
        "disk that fills (tmpfs)": fill_disk,
        "read-only folder (tmpfs)": read_only,
        "sources rewritten and removed": lambda r: restless(r, asked.rounds, rng),
    }
    results: dict[str, Any] = {}
    for name, fault in faults.items():
        with tempfile.TemporaryDirectory() as folder:
            try:
                results[name] = fault(Path(folder))
            except PermissionError as error:
                results[name] = {"skipped": str(error)}
        print(f"{name}: {results[name]}", flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
