"""Mutated files of every format read and written again: a picture or our error, within bounds.

Bytes are changed at random, and parts of the files (`structure.py`): chunks, segments, boxes,
entries of directories, second frames.

    python benchmarks/fuzz_reader.py [--files 20000] [--json benchmarks/fuzz.json]

Each worker is a process of its own that may take 2 GB of memory and 10 seconds for a file. A crash,
a hang, another exception or more memory ends the script with exit code 1, and the file is kept.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import structure
from PIL import Image

MEMORY, SECONDS = 2 * 2**30, 10
MAX_PIXELS = 30_000_000


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """A file as Pillow writes it."""
    memory = io.BytesIO()
    image.save(memory, kind, **options)
    return memory.getvalue()


def seeds() -> dict[str, bytes]:
    """A small whole file of each kind that the reader knows."""
    import cv2
    import imagecodecs
    import tifffile

    rng = np.random.default_rng(0)
    array = rng.integers(0, 256, (40, 48, 4), np.uint8)
    rgb, rgba, grey = (
        Image.fromarray(a) for a in (array[..., :3].copy(), array, array[..., 0].copy())
    )
    deep = rng.integers(0, 65536, (24, 24, 3)).astype(np.uint16)
    tag = Image.Exif()
    tag[0x0112], tag[0x010F], tag[0x8825] = 6, "Maker", {1: "N", 2: (52.0, 31.0, 12.5)}
    words = {"exif": tag.tobytes(), "icc_profile": b"profile" * 40}
    made = {k: encoded(rgb, k, **words) for k in ("JPEG", "PNG", "WEBP", "AVIF")}
    made |= {k: encoded(rgb, k) for k in ("TIFF", "BMP", "GIF", "JPEG2000", "PPM")}
    made["JPEG progressive"] = encoded(rgb, "JPEG", progressive=True)
    made["JPEG CMYK"] = encoded(rgb.convert("CMYK"), "JPEG")
    made["PNG palette"], made["PNG alpha"] = encoded(rgb.quantize(9), "PNG"), encoded(rgba, "PNG")
    made["WEBP lossless"] = encoded(rgba, "WEBP", lossless=True)
    made["TIFF LZW"] = encoded(rgb, "TIFF", compression="tiff_lzw")
    made["TIFF JPEG"] = encoded(rgb, "TIFF", compression="jpeg")
    made["JPEG2000 grey 16"] = encoded(Image.fromarray(deep[..., 0].copy()), "JPEG2000")
    made["JPEG2000 16"] = imagecodecs.jpeg2k_encode(deep, level=0, codecformat="jp2")
    made["JPEG 12"] = imagecodecs.jpeg8_encode(deep >> 4, lossless=True, bitspersample=12)
    made["PGM 16"] = b"P5 24 24 65535\n" + deep[..., 0].astype(">u2").tobytes()
    made["PNG 16"] = cv2.imencode(".png", deep)[1].tobytes()
    made["BMP grey"] = encoded(grey, "BMP")
    for name, options in {
        "TIFF 16": {"compression": "zlib", "rowsperstrip": 5},
        "TIFF 16 tiled": {"tile": (16, 16), "predictor": True, "compression": "zlib"},
        "BigTIFF 16": {"bigtiff": True},
        "TIFF 16 planes": {"planarconfig": "separate"},
    }.items():
        memory = io.BytesIO()
        planes = np.moveaxis(deep, 2, 0) if "planes" in name else deep
        tifffile.imwrite(memory, planes, photometric="rgb", **options)
        made[name] = memory.getvalue()
    memory = io.BytesIO()
    tifffile.imwrite(memory, deep.astype(np.float32) / 65535, photometric="rgb", compression="zlib")
    made["TIFF float"] = memory.getvalue()
    made["JPEGXL"] = bytes(imagecodecs.jpegxl_encode(array[..., :3], lossless=True))
    return made | camera_seeds()


def seeds_of_several_frames() -> dict[str, bytes]:
    """Files that are refused for their second frame or page, which may be damaged, too."""
    rng = np.random.default_rng(1)
    first, second = (Image.fromarray(a) for a in rng.integers(0, 256, (2, 40, 48, 3), np.uint8))
    more = {"save_all": True, "append_images": [second]}
    kinds = ("GIF", "PNG", "WEBP", "TIFF", "AVIF", "MPO")
    return {f"{kind} of two": encoded(first, kind, **more) for kind in kinds}


def camera_seeds() -> dict[str, bytes]:
    """Raw and HEIC files where they can be read, from the tests that know how to make them."""
    import importlib.util

    place = Path(__file__).resolve().parent.parent / "tests" / "image" / "test_camera.py"
    spec = importlib.util.spec_from_file_location("test_camera", place)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: dict[str, bytes] = {}
    if importlib.util.find_spec("rawpy"):
        made["DNG"] = module.dng()[0]
    if importlib.util.find_spec("pi_heif"):
        made |= {"HEIC": module.HEIC, "HEIC 10": module.HEIC10}
    return made


def mutate(whole: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """A damaged file: its parts, or bytes, numbers of the header, cuts, repeats, others' bytes."""
    if rng.random() < 0.5:
        for _ in range(rng.randint(1, 3)):
            whole = structure.damaged(whole, rng)
        if rng.random() < 0.7:
            return whole
    data = bytearray(whole)
    for _ in range(rng.randint(1, 6)):
        front = min(len(data), 200) if rng.random() < 0.6 else len(data)
        at = rng.randrange(max(front, 1))
        way = rng.randrange(7)
        if way == 0:
            data[at : at + 1] = bytes([rng.randrange(256)])
        elif way == 1 and data:
            data[at] ^= 1 << rng.randrange(8)
        elif way == 2:
            number = rng.choice([0, 1, 0x7FFF, 0xFFFF, 2**31 - 1, 2**32 - 1, rng.getrandbits(32)])
            data[at : at + 4] = struct.pack(rng.choice("<>") + "I", number)
        elif way == 3:
            del data[at : at + rng.randrange(1, 60)]
        elif way == 4:
            data[at:at] = data[at : at + rng.randrange(1, 60)]
        elif way == 5:
            other = rng.choice(others)
            start = rng.randrange(len(other))
            data[at : at + 16] = other[start : start + rng.randrange(1, 64)]
        elif rng.random() < 0.3:
            del data[at:]
    return bytes(data)


def attempt(data: bytes) -> str:
    """ "picture", "refused", or what went wrong.

    A picture is written, too: as a TIFF, for which its metadata is taken apart, and in its format.
    """
    from restore.errors import ReadError, RestoreError
    from restore.image.read import count_pixels, decode_image
    from restore.image.write import FORMATS, encode_image

    try:
        count_pixels(data)
        picture = decode_image(data, max_pixels=MAX_PIXELS)
    except ReadError as error:
        return "refused" if "\n" not in str(error) else f"several lines: {error}"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    for kind in {"TIFF", picture.format} & FORMATS.keys():
        try:
            encode_image(picture, str(kind))
        except RestoreError as error:
            if "\n" in str(error):
                return f"written as {kind}: several lines: {error}"
        except BaseException as error:
            return f"written as {kind}: {type(error).__name__}: {error}"
    return "picture" if np.isfinite(picture.pixels).all() else "a picture of no numbers"


def work(seed: int, count: int, current: Path) -> None:
    """The files of one worker; prints its counts as JSON, or dies of what it found."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    rng, whole = random.Random(seed), seeds()
    assert all(attempt(data) == "picture" for data in whole.values()), "a seed cannot be read"
    whole |= seeds_of_several_frames()
    others, names = list(whole.values()), sorted(whole)
    counts: Counter[str] = Counter()
    slowest = 0.0
    for number in range(count):
        name = names[(seed + number) % len(names)]
        data = mutate(whole[name], rng, others)
        current.write_bytes(data)
        # kills this process where a decoder hangs; processor time, for other processes may be busy
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        began = time.process_time()
        found = attempt(data)
        signal.setitimer(signal.ITIMER_PROF, 0)
        slowest = max(slowest, time.process_time() - began)
        if found not in ("picture", "refused"):
            print(f"{name}: {found}", file=sys.stderr)
            sys.exit(1)
        counts[f"{name}|{found}"] += 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"counts": counts, "slowest": slowest, "peak": peak}))


def main() -> None:
    """Start the workers one after another and add up what they found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--chunk", type=int, default=1000, help="files to a worker process")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        work(asked.seed, asked.files, asked.worker)
        return
    total: Counter[str] = Counter()
    slowest = peak = 0.0
    with tempfile.TemporaryDirectory() as folder:
        current = Path(folder) / "current"
        for begin in range(0, asked.files, asked.chunk):
            count, seed = min(asked.chunk, asked.files - begin), asked.seed + begin
            words = [sys.executable, __file__, "--worker", str(current)]
            words += ["--files", str(count), "--seed", str(seed)]
            done = subprocess.run(words, capture_output=True, text=True)
            if done.returncode:
                kept = Path(f"fuzz-failure-{seed}.bin").resolve()
                kept.write_bytes(current.read_bytes())
                raise SystemExit(f"FOUND ({done.returncode}): {done.stderr[-800:]} kept as {kept}")
            found = json.loads(done.stdout)
            total.update(found["counts"])
            slowest, peak = max(slowest, found["slowest"]), max(peak, found["peak"])
            with contextlib.suppress(BrokenPipeError):
                print(f"{begin + count} files", flush=True)
    by_kind: dict[str, Any] = {}
    for key, number in sorted(total.items()):
        name, _, outcome = key.partition("|")
        by_kind.setdefault(name, {"picture": 0, "refused": 0})[outcome] = number
    results = {"files": sum(total.values()), "kinds": by_kind, "slowest_seconds": round(slowest, 3)}
    results |= {"peak_memory_bytes": int(peak), "crashes": 0, "hangs": 0, "other_exceptions": 0}
    print(json.dumps(results, indent=1))
    if asked.json:
        asked.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
