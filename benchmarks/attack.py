"""Attacks on every promise about loss, hanging and memory: nothing is lost, or this script fails.

    python benchmarks/attack.py [--kills 50] [--files 20000] [--json benchmarks/attack.json]

Processes killed at random moments and at every call that changes a file or a name; the same calls
failing; disks that fill or turn read-only; sources that change; links, pipes and folders in the
place of every file that is written; files whose parts (chunks, segments, boxes, directories) were
dropped, doubled, moved or lied about; files made to take memory or time. After each fault every
result is whole or absent and every original is there; then the next run must complete the work.
Mounting needs the superuser.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import hashlib
import io
import itertools
import json
import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fuzz_reader
import numpy as np
import tifffile
from PIL import Image

# Imported before the first fork: the children shall be killed at work, not while they import.
import restore.engine.device
import restore.engine.tiled  # noqa: F401 (nothing here calls them)
from restore.errors import ReadError, RestoreError
from restore.image import color
from restore.image.read import decode_image, load_image
from restore.image.tiff import TiffRows
from restore.models.network import BaseNetwork
from restore.pipeline.batch import denoise_files
from restore.pipeline.file import denoise_file, denoise_huge
from restore.pipeline.journal import JOURNAL
from restore.pipeline.picture import denoise

MEMORY, SECONDS = 2 * 2**30, 10  # of processor time, for one file
# Calls that change a file or a name; those of `open` that create one are counted, too.
CHANGES = ("link", "replace", "rename", "unlink", "mkdir", "rmdir", "fsync", "ftruncate", "write")
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
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files
    }


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


def left_over(folder: Path) -> list[Path]:
    """Hidden files that should not be there after a run."""
    return [path for path in folder.rglob(".*") if path.name != JOURNAL]


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
        stray += len(left_over(output)) if output.exists() else 0
        child = duration(lambda: run(source, output))
        check(digests(output) == truth and child > 0, "the next run did not complete the work")
        check(not left_over(output), "the next run left what the killed one had begun")
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
        check(
            digests(disk / "out").items() <= truth.items(), "a result is neither whole nor absent"
        )
        check(not left_over(disk), "something half-written was left")
        remount(disk, "size=64m")
        run(source, disk / "out")
        check(digests(disk / "out") == truth, "the next run did not complete the work")
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
                left = sorted(source.iterdir())
                if not left:
                    return
                victim = rng.choice(left)
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
        for path in output.glob("[!.]*"):
            load_image(path)
    return {"tried": sum(counts.values()), **counts, "lost": 0}


# ---- at every call that changes a file or a name


@contextlib.contextmanager
def struck(number: int, strike: Callable[[], None], after: bool) -> Iterator[None]:
    """Call `strike` before or after the call of that number among those that change something."""
    whole = {name: getattr(os, name) for name in (*CHANGES, "open")}
    seen, lock = [0], threading.Lock()

    def wrapped(name: str) -> Callable[..., Any]:
        def call(*given: Any, **more: Any) -> Any:
            with lock:
                counted = name != "open" or bool(given[1] & os.O_CREAT)
                mine = counted and seen[0] == number
                seen[0] += counted
            if mine and not after:
                strike()
            found = whole[name](*given, **more)
            if mine and after:
                strike()
            return found

        return call

    for name in whole:
        setattr(os, name, wrapped(name))
    try:
        yield
    finally:
        for name, function in whole.items():
            setattr(os, name, function)
    if seen[0] <= number:
        os._exit(NOT_REACHED)


NOT_REACHED = 7  # the exit code of a run with fewer calls


def make_tiff(path: Path) -> None:
    """A TIFF of several strips' worth of rows."""
    array = np.random.default_rng(0).integers(0, 65536, (300, 900, 3)).astype(np.uint16)
    tifffile.imwrite(path, array, photometric="rgb", compression="zlib", predictor=True)


def by_rows(root: Path, **more: Any) -> None:
    """One TIFF restored by rows."""
    denoise_huge(
        root / "in" / "a.tif",
        root / "out" / "a.tif",
        Invert(),
        device="cpu",
        precision="fp32",
        **more,
    )


def single(root: Path, **more: Any) -> None:
    """One file restored by itself."""
    settings = {"model": Invert(), "device": "cpu", "precision": "fp32", **more}
    denoise_file(root / "in" / "000.png", root / "out" / "000.png", **settings)


WORK: dict[str, Callable[[Path], Any]] = {
    "a folder": lambda root: run(root / "in", root / "out"),
    "a folder, overwriting": lambda root: run(root / "in", root / "out", overwrite=True),
    "in place": lambda root: run(root / "in", None, in_place=True, backup=True),
    "one file": single,
    "one file, overwriting": lambda root: single(root, overwrite=True),
    "by rows": by_rows,
    "by rows, overwriting": lambda root: by_rows(root, overwrite=True),
}


def prepared(root: Path, name: str) -> Path:
    """A fresh folder for a kind of work: pictures, and old results where they are replaced."""
    shutil.rmtree(root, ignore_errors=True)
    (root / "out").mkdir(parents=True)
    make_pictures(root / "in", 0 if "rows" in name else 2)
    if "rows" in name:
        make_tiff(root / "in" / "a.tif")
    if "overwriting" in name:
        names = {
            "a": ("000-restored.png", "001-restored.jpg"),
            "one": ("000.png",),
            "by": ("a.tif",),
        }
        for old in names[name.split()[0]]:
            (root / "out" / old).write_bytes(b"an old result")
    return root


def holds(root: Path, before: dict[str, str], after: dict[str, str]) -> bool:
    """Whether each file is as before or as after the work, and none of both is missing."""
    found = digests(root)
    for name, digest in found.items():
        if digest not in (before.get(name), after.get(name)):
            return False
    for name, digest in before.items():  # the original, where it lies or as its backup
        if digest not in (found.get(name), found.get(f"{name}.orig"), *OLD):
            return False
    return True


OLD = {hashlib.sha256(b"an old result").hexdigest()}


Strike = tuple[Callable[[], None], bool]  # what is done, and whether after the call


def at_every_call(root: Path, strikes: dict[str, Strike], every: int) -> dict[str, Any]:
    """Each kind of work struck at its calls in turn, of `every` one; the next run completes it."""
    counts: Counter[str] = Counter()
    for name, work in WORK.items():
        before = digests(prepared(root, name))
        duration(lambda work=work: work(root))
        after = digests(root)
        check(after != before, f"{name}: the whole run did nothing")
        for words, (strike, late) in strikes.items():
            for number in range(0, 10_000, every):
                prepared(root, name)

                def hit(
                    work: Any = work, at: int = number, how: Any = strike, late: bool = late
                ) -> None:
                    with struck(at, how, late), contextlib.suppress(Exception):
                        work(root)

                _, status = os.waitpid(fork(hit), 0)
                if os.WIFEXITED(status) and os.WEXITSTATUS(status) == NOT_REACHED:
                    break
                counts[words] += 1
                where = f"{name}, {words} call {number}"
                check(holds(root, before, after), f"{where}: a file is neither whole nor absent")
                duration(lambda work=work: work(root))
                check(digests(root) == after, f"{where}: the next run did not complete the work")
                check(not left_over(root / "out"), f"{where}: {left_over(root / 'out')} left")
    return {"tried": sum(counts.values()), **counts, "lost": 0}


def killed_now() -> None:
    """The end of this process, as by `kill -9`."""
    os.kill(os.getpid(), signal.SIGKILL)


def failing(code: int) -> Callable[[], None]:
    """A call that fails as the system lets it fail."""

    def strike() -> None:
        raise OSError(code, os.strerror(code))

    return strike


KILLS = {"killed before": (killed_now, False), "killed after": (killed_now, True)}
FAILURES = {
    "no space left at": (failing(errno.ENOSPC), False),
    "input/output error at": (failing(errno.EIO), False),
    "not permitted at": (failing(errno.EPERM), False),
}


# ---- links, pipes and folders in the place of files


def plants(place: Path, precious: Path) -> dict[str, Callable[[], None]]:
    """What may lie where a file is to be written."""
    return {
        "a link": lambda: place.symlink_to(precious),
        "a second name": lambda: os.link(precious, place),
        "a link to nowhere": lambda: place.symlink_to(place.parent / "nowhere"),
        "a pipe": lambda: os.mkfifo(place),
        "a folder": lambda: place.mkdir(),
    }


def planted(root: Path, every: int) -> dict[str, Any]:
    """Each kind of work with plants at the names that it writes: nothing else is written."""
    names = (JOURNAL, ".restore-0.part", "000-restored.png", "000.png", "a.tif", "000.png.orig")
    hidden = (".a.tif.restore-unfinished", ".a.tif.restore-journal")
    tried = 0
    every_one = [(w, n, m) for w in WORK for n in range(5) for m in (*names, *hidden)]
    for work, number, name in every_one[::every]:
        prepared(root, work)
        place = root / ("in" if work == "in place" else "out") / name
        if place.exists() and work == "in place":  # the picture itself
            continue
        place.unlink(missing_ok=True)
        others = root / "others"
        others.mkdir()
        precious = others / "precious"
        precious.write_bytes(b"precious")
        before = digests(root / "in")
        list(plants(place, precious).values())[number]()
        began = time.perf_counter()
        _, status = os.waitpid(fork(lambda work=work: WORK[work](root)), 0)
        where = f"{work}: {list(plants(place, precious))[number]} at {name}"
        check(
            not os.WIFSIGNALED(status), f"{where}: it hung for {time.perf_counter() - began:.0f} s"
        )
        check(precious.read_bytes() == b"precious", f"{where}: it was written through")
        check([p.name for p in others.iterdir()] == ["precious"], f"{where}: a file beside it")
        check(not (place.parent / "nowhere").exists(), f"{where}: it was followed")
        found = digests(root / "in")
        for picture, digest in before.items():
            check(
                digest in (found.get(picture), found.get(f"{picture}.orig")), f"{where}: {picture}"
            )
        tried += 1
    return {"tried": tried, "lost": 0}


# ---- files whose parts lie


def parts_of(data: bytes) -> list[bytes]:
    """A file cut where its format has chunks, segments, boxes or directory entries."""
    cuts = {0, len(data)}
    at = 0
    if data[:4] == b"\x89PNG":
        at = 8
        while at + 12 <= len(data):
            cuts.add(at)
            at += 12 + struct.unpack_from(">I", data, at)[0]
    elif data[:2] == b"\xff\xd8":
        at = 2
        while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
            cuts.add(at)
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]
        cuts.add(at)
    elif data[:2] in (b"II", b"MM") and data[2:4] in (b"*\0", b"\0*"):
        order = "<" if data[:2] == b"II" else ">"
        start = struct.unpack_from(order + "I", data, 4)[0]
        if start + 2 <= len(data):
            count = struct.unpack_from(order + "H", data, start)[0]
            cuts |= {start + 2 + 12 * n for n in range(min(count + 1, 200))}
    elif data[4:8] in (b"ftyp", b"jP  ", b"JXL ") or data[:4] == b"RIFF":
        riff = data[:4] == b"RIFF"
        at = 12 if riff else 0
        while at + 8 <= len(data):
            cuts.add(at)
            length = struct.unpack_from("<I" if riff else ">I", data, at + 4 * riff)[0]
            at += max(8, length + 8 + length % 2 if riff else length)
    edges = sorted(cut for cut in cuts if 0 <= cut <= len(data))
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def reshaped(data: bytes, rng: random.Random) -> bytes:
    """The file with parts dropped, doubled, swapped, repeated or lying about their lengths."""
    parts = parts_of(data)
    for _ in range(rng.randint(1, 3)):
        way, at = rng.randrange(6), rng.randrange(len(parts))
        part = bytearray(parts[at])
        if way == 0 and len(parts) > 1:
            del parts[at]
        elif way == 1:
            parts.insert(rng.randrange(len(parts) + 1), bytes(part))
        elif way == 2:
            other = rng.randrange(len(parts))
            parts[at], parts[other] = parts[other], parts[at]
        elif way == 3:
            parts[at:at] = [bytes(part)] * rng.choice((2, 20, 300))
        elif len(part) >= 8:
            field = rng.randrange(min(len(part), 24) - 3)
            lie = rng.choice((0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, len(data), len(data) - 1))
            struct.pack_into(rng.choice("<>") + "I", part, field, lie)
            if data[:4] == b"\x89PNG" and len(part) >= 12:  # with a checksum that is right
                part[-4:] = struct.pack(">I", zlib.crc32(part[4:-4]))
            parts[at] = bytes(part)
        if sum(map(len, parts)) > 3_000_000:
            break
    return b"".join(parts)


def bounded(examine: Callable[[], str]) -> tuple[str, float, int]:
    """What becomes of a file in a process with little memory and time; its seconds and bytes."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_DATA, (data_bytes() + MEMORY,) * 2)
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS + 20, SECONDS + 20))
        signal.alarm(300)
        began = time.process_time()
        try:
            found = examine()
        except BaseException as error:
            found = f"{type(error).__name__}: {error}"
        taken = time.process_time() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        os.write(writer, json.dumps([found[:500], taken, peak]).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        answer = stream.read()
    _, status = os.waitpid(child, 0)
    if not answer:
        return f"ended with status {status}", float(SECONDS), 0
    found, taken, peak = json.loads(answer)
    return found, taken, peak


def data_bytes() -> int:
    """Bytes of memory that this process has of its own, without shared libraries."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData"))


def lying_files(files: int, seed: int) -> dict[str, Any]:
    """Files of every kind with parts that lie: a picture or one sentence, a hundred a process."""
    whole = fuzz_reader.seeds()
    names, counts = sorted(whole), Counter[str]()
    slowest, peak = 0.0, 0
    for begin in range(0, files, 100):

        def examine(begin: int = begin) -> str:
            found: Counter[str] = Counter()
            for number in range(begin, min(files, begin + 100)):
                rng = random.Random(f"{seed}:{number}")
                name = names[number % len(names)]
                began = time.process_time()
                outcome = fuzz_reader.attempt(reshaped(whole[name], rng))
                if outcome not in ("picture", "refused") or time.process_time() - began > SECONDS:
                    return f"{name}, file {number}: {outcome}"
                found[outcome] += 1
            return "all " + json.dumps(found)

        found, taken, memory = bounded(examine)
        check(found.startswith("all "), f"{found} (seed {seed})")
        counts.update(json.loads(found[4:]))
        slowest, peak = max(slowest, taken), max(peak, memory)
    return {"tried": files, **counts, "MB of memory at most": peak // 10**6, "lost": 0}


def two_readers(files: int, seed: int, root: Path) -> dict[str, Any]:
    """TIFFs whose parts lie, read in memory and by rows: the same samples, or one refuses."""
    whole = {name: data for name, data in fuzz_reader.seeds().items() if "TIFF" in name}
    names, counts = sorted(whole), Counter[str]()
    path = root / "a.tif"
    for number in range(files):
        rng = random.Random(f"{seed}:{number}")
        data = reshaped(whole[names[number % len(names)]], rng)
        path.write_bytes(data)
        try:
            picture = decode_image(data)
            rows = TiffRows(path)
            samples = rows[0 : rows.shape[0]]
            rows.close()
        except ReadError:
            counts["refused by one or both"] += 1
            continue
        expected = color.join(picture.pixels, picture.alpha, picture.depth)
        same = expected.shape == samples.shape
        same = same and np.allclose(expected.astype(float), samples.astype(float), atol=1e-6)
        check(same, f"file {number} of seed {seed} is read in two ways")
        counts["alike"] += 1
    return {"tried": files, **counts, "lost": 0}


# ---- files made to take memory or time


def tiff_of(entries: list[tuple[int, int, int, bytes]], pages: int = 1, tail: bytes = b"") -> bytes:
    """A small TIFF whose directory has these entries, too, and which is repeated."""
    base = [(256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    base += [(273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, 8), (279, 4, 1, 64)]
    fixed = [(tag, kind, count, struct.pack("<I", value)) for tag, kind, count, value in base]
    rows = sorted(fixed + entries)
    data, at = bytearray(b"II*\0" + struct.pack("<I", 72) + bytes(64)), 72
    for number in range(pages):
        size = 2 + 12 * len(rows) + 4
        following = at + size if number + 1 < pages else 0
        data += struct.pack("<H", len(rows))
        data += b"".join(struct.pack("<HHI", *row[:3]) + row[3] for row in rows)
        data += struct.pack("<I", following)
        at += size
    return bytes(data) + tail


def hostile() -> dict[str, bytes]:
    """Small files that ask for much."""
    where = 72 + 2 + 12 * (9 + 20_000) + 4
    shared = [(40_000 + n, 7, 10**6, struct.pack("<I", where)) for n in range(20_000)]
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + b"<rdf:li " * 60_000
    picture = Image.fromarray(np.zeros((8, 8, 3), np.uint8))
    memory = io.BytesIO()
    picture.save(memory, "JPEG", xmp=xmp[:60_000])
    plain = io.BytesIO()
    picture.save(plain, "JPEG")
    wide = bytearray(plain.getvalue())
    frame = wide.find(b"\xff\xc0")
    struct.pack_into(">HH", wide, frame + 5, 12_000, 20_000)
    text = b"Comment\0\0" + zlib.compress(bytes(200_000_000), 9)
    chunk = struct.pack(">I", len(text)) + b"zTXt" + text
    plain = io.BytesIO()
    picture.save(plain, "PNG")
    png = plain.getvalue()
    checked = chunk + struct.pack(">I", zlib.crc32(chunk[4:]))
    return {
        "20,000 tags of one value of 1 MB": tiff_of(shared, tail=bytes(10**6)),
        "5,000 pages": tiff_of([], pages=5000),
        "XMP of 480 kB with 60,000 openings": tiff_of(
            [(700, 1, len(xmp), struct.pack("<I", 72 + 2 + 12 * 10 + 4))], tail=xmp
        ),
        "XMP with openings in a JPEG": memory.getvalue(),
        "a JPEG of 691 bytes that says 240 MP": bytes(wide),
        "50 comments that unpack to 200 MB each": png[:33] + checked * 50 + png[33:],
    }


def hostile_files(root: Path) -> dict[str, Any]:
    """Files that ask for memory or time: a picture or a sentence within 2 GB and 10 seconds."""
    from restore.autoencoders.array_files import read_arrays
    from restore.models.weights import load_model

    def sentence(function: Callable[[Path], Any], path: Path) -> str:
        try:
            function(path)
        except RestoreError as error:
            return "refused" if "\n" not in str(error) else f"several lines: {error}"
        return "picture"

    tried: dict[str, Callable[[], str]] = {
        name: lambda data=data: fuzz_reader.attempt(data) for name, data in hostile().items()
    }
    sparse = root / "sparse.png"
    sparse.write_bytes(hostile()["50 comments that unpack to 200 MB each"][:33])
    os.truncate(sparse, 4 * 10**9)
    tried["a sparse PNG of 4 GB"] = lambda: sentence(load_image, sparse)
    vast = root / "vast.jpg"
    vast.write_bytes(hostile()["a JPEG of 691 bytes that says 240 MP"])

    def limited(path: Path) -> Any:
        return denoise(path, Invert(), memory="300MB", device="cpu", precision="fp32")

    tried["the same JPEG with a limit of 300 MB"] = lambda: sentence(limited, vast)
    deep = root / "deep.safetensors"
    deep.write_bytes(struct.pack("<Q", 10**6) + b"[" * 10**6)
    tried["weights with a deep header"] = lambda: sentence(load_model, deep)
    lying = root / "lying.npy"
    words = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({2**70},), }}\n".encode()
    lying.write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(words)) + words)
    tried["an array of 2^70 values"] = lambda: sentence(read_arrays, lying)
    counts, slowest, peak = Counter[str](), 0.0, 0
    check(fuzz_reader.attempt(tiff_of([])) == "picture", "a plain TIFF is not read")
    for name, examine in tried.items():
        found, taken, memory = bounded(examine)
        check(found in ("picture", "refused"), f"{name}: {found}")
        check(taken < SECONDS, f"{name}: {taken:.0f} seconds")
        counts[found] += 1
        slowest, peak = max(slowest, taken), max(peak, memory)
    row = {"tried": len(tried), **counts, "seconds at most": round(slowest, 2)}
    return row | {"MB of memory at most": peak // 10**6, "lost": 0}


def main() -> None:
    """Every fault, one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50, help="at random moments")
    parser.add_argument("--files", type=int, default=2000, help="with parts that lie")
    parser.add_argument(
        "--every", type=int, default=1, help="of the calls and plants, one of so many"
    )
    parser.add_argument("--only", help="the faults whose name holds this")
    parser.add_argument("--rounds", type=int, default=10, help="of restless sources")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    rng = random.Random(asked.seed)
    faults: dict[str, Any] = {
        "killed at a random moment, results in a folder": lambda r: kill_batches(
            r, asked.kills, rng
        ),
        "killed at a random moment, in place": lambda r: kill_in_place(r, asked.kills, rng),
        "disk that fills (tmpfs)": fill_disk,
        "read-only folder (tmpfs)": read_only,
        "sources rewritten and removed": lambda r: restless(r, asked.rounds, rng),
        "killed at every change of a file": lambda r: at_every_call(r / "work", KILLS, asked.every),
        "every change of a file failing": lambda r: at_every_call(
            r / "work", FAILURES, asked.every
        ),
        "links, pipes and folders in the way": lambda r: planted(r / "work", asked.every),
        "files whose parts lie": lambda _: lying_files(asked.files, asked.seed),
        "TIFFs read in memory and by rows": lambda r: two_readers(asked.files, asked.seed, r),
        "files that ask for much": hostile_files,
    }
    if asked.only:
        faults = {name: fault for name, fault in faults.items() if asked.only in name}
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
