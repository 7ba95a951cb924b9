"""Every file below folders read, written and compared, with other libraries and with exiftool.

    python benchmarks/corpus.py FOLDER... [--json benchmarks/corpus.json]

Each picture is read; its pixels are compared with other libraries' (`other_readers.py`). It is
written in its own format, as TIFF, PNG and JPEG; each copy is read again by us and by the others,
and where exiftool is installed, its metadata is compared with the source's. A file is

    right       read and written, everything alike
    refused     with one sentence
    differs     pixels or metadata are not those of the file
    crashed     anything but a sentence: another exception, the end of the process
    slow        more than 10 seconds of processor time, and 5 for each megapixel

Files that neither `restore` nor another library takes for a picture are not counted. Any of the
last three makes the exit code 1. A second folder of the same name continues the first one's row.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import other_readers

from restore.errors import ReadError, RestoreError
from restore.image.exif import DEVELOPING
from restore.image.picture import Picture, quantise
from restore.image.read import decode_image
from restore.image.write import FORMATS, encode_image, suffix_of

SECONDS, SECONDS_OF_A_MEGAPIXEL = 10, 5
MOST_PIXELS = 60_000_000
COPIES = ("TIFF", "PNG", "JPEG")  # beside a picture's own format
MOST_MEGAPIXELS_TO_CONVERT = 3  # larger ones are written in their own format only
BAD = ("differs", "crashed", "slow")
# Levels of 255 by which lossy copies may differ from their source on average.
LOSSY_APART = 12.0

Tags = dict[str, Any]


# --- one file, in the worker


def examine(path: Path, copies: Path) -> dict[str, Any]:
    """What comes of a file, as far as it needs no exiftool; its copies are left in a folder."""
    data = path.read_bytes()
    began = time.process_time()
    try:
        picture = decode_image(data, name="FILE", max_pixels=MOST_PIXELS)
    except ReadError as error:
        return _refused(data, str(error))
    except BaseException as error:
        return {"outcome": "crashed", "words": [f"read: {type(error).__name__}: {error}"]}
    found: dict[str, Any] = {"format": picture.format, "notes": list(picture.notes)}
    found["icc"] = picture.icc is not None
    wrong: list[str] = []
    made: dict[str, bytes] = {}
    own = [picture.format] if picture.format in FORMATS else []
    copies_of = COPIES if picture.megapixels < MOST_MEGAPIXELS_TO_CONVERT or not own else ()
    for kind in dict.fromkeys([*own, *copies_of]):
        try:
            made[kind] = encode_image(picture, kind)
        except RestoreError as error:
            found.setdefault("not written", {})[kind] = str(error)
        except BaseException as error:
            words = [f"{kind}: {type(error).__name__}: {error}"]
            return {**found, "outcome": "crashed", "words": words}
    seconds = time.process_time() - began
    if seconds > SECONDS + SECONDS_OF_A_MEGAPIXEL * picture.megapixels:
        return {**found, "outcome": "slow", "words": [f"{seconds:.0f} s"]}
    _say({"phase": "compare"})
    verdict = other_readers.compared(picture, data, picture.format or "")
    if verdict.differ and not verdict.agree and picture.format != "RAW":
        wrong += verdict.differ
    found["agree"] = verdict.agree
    for kind, content in made.items():
        wrong += [f"{kind} written: {words}" for words in _copy(picture, kind, content)]
        name = suffix_of(copies / "x", kind)
        (copies / f"{kind}{name}").write_bytes(content)
    return {**found, "outcome": "differs" if wrong else "right", "words": wrong}


def _refused(data: bytes, words: str) -> dict[str, Any]:
    """A refusal, and which other libraries read the file. Not a picture at all: no outcome."""
    if "\n" in words:
        return {"outcome": "crashed", "words": [f"a message of several lines: {words}"]}
    _say({"phase": "compare"})
    others = [r.reader for r in other_readers.readings(data, "", deep=False)]
    if not others and "not a picture of a known kind" in words:
        return {"outcome": "none"}
    return {"outcome": "refused", "words": [words], "read by": others}


def _copy(picture: Picture, kind: str, content: bytes) -> Iterator[str]:
    """How a written file differs from its picture, for us and for others."""
    again = decode_image(content, name=kind, max_pixels=MOST_PIXELS)
    depth = again.depth
    stored = [quantise(p.pixels, depth).astype(np.float32) for p in (picture, again)]
    if stored[0].shape[2] < stored[1].shape[2]:  # WebP has no grey
        stored[0] = np.repeat(stored[0], 3, axis=2)
    if stored[0].shape != stored[1].shape:
        yield f"{stored[1].shape} in place of {stored[0].shape}"
        return
    top = {8: 1.0, 16: 257.0, "float": 1 / 255}[depth]
    apart = np.abs(stored[0] - stored[1]) / top
    lossy = (FORMATS[kind].lossy and not again.source.get("lossless")) or kind == "JPEG2000"
    if lossy and picture.alpha is not None:  # under full transparency colour is the encoder's
        apart = apart * (picture.alpha > 0)[:, :, None]
    if apart.mean() > LOSSY_APART if lossy else apart.max() > 0:
        yield f"pixels {apart.max():.2f} of 255 apart, {apart.mean():.2f} on average"
    if (picture.alpha is None) != (again.alpha is None):
        yield "alpha"
    elif picture.alpha is not None and again.alpha is not None and not lossy:
        alphas = [quantise(p.alpha, depth) for p in (picture, again) if p.alpha is not None]
        if not np.array_equal(*alphas):
            yield "alpha"
    verdict = other_readers.compared(again, content, kind)
    if verdict.differ and not verdict.agree:
        yield from verdict.differ


def _say(words: dict[str, Any]) -> None:
    print(json.dumps(words), flush=True)


def work() -> None:
    """Examine the files that are named on standard input, a line of JSON each."""
    for line in sys.stdin:
        asked = json.loads(line)
        # Kills this process where a decoder hangs; processor time, for others may be busy.
        signal.setitimer(signal.ITIMER_PROF, 40 * SECONDS)
        try:
            found = examine(Path(asked["path"]), Path(asked["copies"]))
        except Exception as error:
            words = f"reading the copy: {type(error).__name__}: {error}"
            found = {"outcome": "crashed", "words": [words]}
        signal.setitimer(signal.ITIMER_PROF, 0)
        _say(found)


class Worker:
    """A process that examines files, started anew where one ends it."""

    def __init__(self) -> None:
        """Nothing is started yet."""
        self._process: subprocess.Popen[str] | None = None

    def examine(self, path: Path, copies: Path) -> dict[str, Any]:
        """As the function of that name; the end of the process is an outcome, too."""
        if self._process is None:
            words = [sys.executable, __file__, "--worker"]
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # what other libraries print of damaged files
                text=True,
            )
        process, phase = self._process, "read"
        assert process.stdin and process.stdout
        process.stdin.write(json.dumps({"path": str(path), "copies": str(copies)}) + "\n")
        process.stdin.flush()
        for line in process.stdout:
            found: dict[str, Any] = json.loads(line)
            if "outcome" in found:
                return found
            phase = found["phase"]
        code, self._process = process.wait(), None
        if phase != "read":  # another library has ended it
            return {"outcome": "refused", "words": ["FILE ends the process of another library"]}
        outcome = "slow" if code == -signal.SIGPROF else "crashed"
        return {"outcome": outcome, "words": [f"the process ended with {code}"]}

    def close(self) -> None:
        """End the process."""
        if self._process and self._process.stdin:
            self._process.stdin.close()
            self._process.wait()


# --- metadata


class ExifTool:
    """The program, kept running: starting it takes longer than its work."""

    def __init__(self) -> None:
        """Start it."""
        words = ["exiftool", "-stay_open", "True", "-@", "-"]
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def tags(self, paths: list[Path]) -> list[Tags]:
        """The tags of files, named by their groups: family, place, and number."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin and stdout
        asked = ["-j", "-a", "-n", "-D", "-G0:1:3:4:5", *map(str, paths), "-execute"]
        stdin.write("".join(f"{word}\n" for word in asked).encode())
        stdin.flush()
        answer = _until(stdout, b"{ready}")
        found: list[Tags] = json.loads(answer.decode(errors="replace") or "[]")
        return found

    def close(self) -> None:
        """End it."""
        assert self._process.stdin
        self._process.stdin.write(b"-stay_open\nFalse\n")
        self._process.stdin.flush()
        self._process.wait()


def _until(stream: IO[bytes], mark: bytes) -> bytes:
    lines = []
    for line in stream:
        if line.strip() == mark:
            break
        lines.append(line)
    return b"".join(lines)


KEPT_EVERYWHERE = ("EXIF", "MakerNotes", "XMP", "ICC_Profile")
KEPT_WITHIN = ("IPTC", "Photoshop")
# What tells of the file and not of the picture: how pixels are stored, where values lie, small
# pictures of it, and what reading changes by design (it is upright).
OF_THE_FILE = re.compile(
    r"^(Image(Width|Height)|RowsPerStrip|.*(Offset|Offsets|Start|Length|ByteCounts?)"
    r"|BitsPerSample|Compression|PhotometricInterpretation|SamplesPerPixel|PlanarConfiguration"
    r"|Predictor|ExtraSamples|SampleFormat|Tile(Width|Length)|FillOrder|T[46]Options"
    r"|(Sub|Old)[Ss]ubfileType|SubfileType|OldSubfileType|NewSubfileType|Orientation"
    r"|YCbCr(SubSampling|Positioning|Coefficients)|ReferenceBlackWhite|ColorMap|JPEGTables"
    r"|[XY]Resolution|ResolutionUnit|[XY]Position|Thresholding|ICCProfileName|Padding|OffsetSchema"
    r"|JPEGProc|JPEGQTables|JPEGDCTables|JPEGACTables|TransferFunction|WhitePoint"
    r"|PrimaryChromaticities|SMin.*|SMax.*|MinSampleValue|MaxSampleValue|ExifByteOrder"
    r"|HasExtendedXMP|PageNumber|HalftoneHints|InkSet|NumberofInks|DotRange|InkNames|GrayResponse(Unit|Curve))$"
)
SMALL_PICTURES = re.compile(r"Thumbnail|Preview|JpgFromRaw|OtherImage", re.I)
# Places of a file that are not the picture's metadata: other pictures in it, what programs append
# behind its end, and segments and boxes of one maker or trade.
ELSEWHERE = re.compile(
    r"Trailer|MPF|MPImage|IFD1|SubIFD|Doc\d|APP1-MakerNotes|GeoJP2|APP([03-9]|1[0-2])-"
    r"|ICC-header\d|ICC_Profile\d"
)
# What announces a second picture in the file, or tells of layers: left out with a word.
SECOND_PICTURE = re.compile(
    r"XMP-(hdrgm|HDRGainMap|GCamera|Camera|Container|GContainer|apdi)|Photoshop:Layer"
)
# Tags of a raw file that say what its picture shows; the others say how it is developed.
OF_A_RAW_PICTURE = re.compile(
    r"EXIF:(ExifIFD|GPS|InteropIFD)|IFD0:(Make|Model|ModifyDate|Artist|Copyright|Software)"
)


def described(tags: Tags, groups: tuple[str, ...]) -> Counter[str]:
    """The tags of some groups that tell of the picture, as group, name and value.

    tags: of each its number in the file, where it has one, and its value
    """
    found: Counter[str] = Counter()
    for key, told in tags.items():
        number, value = (told["id"], told["val"]) if isinstance(told, dict) else (None, told)
        parts = key.split(":")
        if parts[0] not in groups or ELSEWHERE.search(key):
            continue
        if parts[0] == "EXIF" and number in DEVELOPING:
            continue
        if not OF_THE_FILE.match(parts[-1]) and not SMALL_PICTURES.search(key):
            group = parts[1] if parts[1] != "Main" else parts[0]
            found[f"{parts[0]}:{group}:{parts[-1]} {value!r}"] += 1
    return found


def metadata_lost(source: Tags, copy: Tags, about: dict[str, Any], within: bool) -> list[str]:
    """Tags of the source that a copy has no more, or with another value.

    about: what is known of the file; within: both files are of one format
    """
    groups = KEPT_EVERYWHERE + (KEPT_WITHIN if within else ())
    lost = described(source, groups) - described(copy, groups)
    excused = [SECOND_PICTURE] if about["notes"] or about["format"] == "HEIF" else []
    if any("second XMP packet" in note for note in about["notes"]):
        excused.append(re.compile("^XMP:"))
    if not about["icc"] and about["format"] == "HEIF":  # of another picture in the file
        excused.append(re.compile("ICC_Profile"))
    raw = about["format"] == "RAW"
    return [
        tag[:160]
        for tag in lost
        if not any(e.search(tag) for e in excused) and (not raw or OF_A_RAW_PICTURE.search(tag))
    ]


def check_metadata(found: dict[str, Any], path: Path, copies: Path, tool: ExifTool) -> list[str]:
    """What exiftool misses in the copies of a file."""
    made = sorted(copies.iterdir())
    if not made:
        return []
    source, *others = tool.tags([path, *made])
    wrong = []
    for place, tags in zip(made, others, strict=True):
        kind = place.stem
        if kind == "BMP":
            continue  # which holds none
        lost = metadata_lost(source, tags, found, within=kind == found["format"])
        wrong += [f"{kind} written, lost: {words}" for words in lost]
    return wrong


# --- folders


def files_below(folder: Path) -> Iterator[Path]:
    """The files below a folder, sorted; links and hidden files are left out."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.stat().st_size:
            yield path


def examine_folder(folder: Path, worker: Worker, tool: ExifTool | None) -> dict[str, Any]:
    """The outcomes of a folder's files, each content once."""
    counts: Counter[str] = Counter()
    bad: dict[str, Any] = {}
    refusals: dict[str, Any] = {}
    seen: set[bytes] = set()
    for path in files_below(folder):
        content = hashlib.sha256(path.read_bytes()).digest()
        if content in seen:
            continue
        seen.add(content)
        with tempfile.TemporaryDirectory() as copies:
            found = worker.examine(path, Path(copies))
            if tool and found["outcome"] in ("right", "differs"):
                lost = check_metadata(found, path, Path(copies), tool)
                found["words"] += lost
                found["outcome"] = "differs" if lost else found["outcome"]
        outcome, name = found["outcome"], path.relative_to(folder).as_posix()
        if outcome == "none":
            continue
        counts[outcome] += 1
        counts["compared"] += bool(found.get("agree"))
        if outcome == "refused":
            refusals[name] = {k: found[k] for k in ("words", "read by") if found.get(k)}
        if outcome in BAD:
            bad[name] = found["words"]
            print(f"{outcome}: {name}: {'; '.join(found['words'][:3])}", flush=True)
    tried = sum(counts[k] for k in ("right", "refused", *BAD))
    numbers = {k: counts[k] for k in ("right", "compared", "refused", *BAD)}
    return {"tried": tried, **numbers, "bad": bad, "refusals": refusals}


def main() -> int:
    """Examine the folders one after another."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="*", metavar="FOLDER")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        work()
        return 0
    worker = Worker()
    tool = ExifTool() if shutil.which("exiftool") else None
    results: dict[str, Any] = {"exiftool": tool is not None, "corpora": {}}
    for folder in asked.folders:
        found = examine_folder(folder, worker, tool)
        results["corpora"][folder.name] = found
        numbers = {k: v for k, v in found.items() if isinstance(v, int)}
        print(f"{folder.name}: {numbers}", flush=True)
        if asked.json:
            asked.json.write_text(json.dumps(results, indent=1) + "\n")
    worker.close()
    if tool:
        tool.close()
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(_sum(results["corpora"].values())))
    return int(any(found[k] for found in results["corpora"].values() for k in BAD))


def _sum(found: Any) -> dict[str, int]:
    total: Counter[str] = Counter()
    for row in found:
        total.update({k: v for k, v in row.items() if isinstance(v, int)})
    return dict(total)


if __name__ == "__main__":
    sys.exit(main())
