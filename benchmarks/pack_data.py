"""Training pictures as a few archives of limited size, for a machine that takes no more at once.

    python benchmarks/pack_data.py TRAIN PARTS [--limit 16] [--val VAL]
    python benchmarks/pack_data.py PARTS/part-1.tar DATA --unpack

The first writes PARTS/part-1.tar, part-2.tar ... of at most so many MiB each; the pictures are
packed as they are, so that nothing is encoded twice. Every part is a sample of the whole folder:
what has arrived so far can be trained with. With `--val`, the validation pictures are in the first
part, in `val/`; those for training are in `train/`, with a `SOURCES.csv` if there is one. A picture
larger than the limit is left out, and named.

The second adds a part to a folder. Each picture is decoded, and kept as a BMP file: several
trainings that begin at once would each decode all of them.
"""

from __future__ import annotations

import argparse
import io
import random
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from restore.image.find import find_pictures

MIB = 2**20
SOURCES = "SOURCES.csv"  # the table of where the pictures come from
BESIDE = 1536  # bytes that an archive takes for each file: its header, and padding


def files_of(folder: Path) -> list[Path]:
    """The pictures in a folder."""
    return [found.path for found in find_pictures([folder])]


def parts_of(sizes: dict[Path, int], limit: int, first: int = 0) -> list[list[Path]]:
    """Files in as few parts as fit below a limit, in random order, each filled before the next.

    sizes: of the files in bytes; first: bytes that the first part holds already
    """
    order = sorted(sizes)
    random.Random(0).shuffle(order)
    parts: list[list[Path]] = [[]]
    held = first
    for path in order:
        size = sizes[path] + BESIDE
        if size > limit:
            continue
        if held + size > limit:
            parts.append([])
            held = 0
        parts[-1].append(path)
        held += size
    return parts


def pack(target: Path, folders: dict[str, list[Path]]) -> None:
    """Write an archive; folders: the files of each folder in it."""
    with tarfile.open(target, "w") as archive:
        for folder, paths in folders.items():
            for path in paths:
                archive.add(path, f"{folder}/{path.name}")


def unpack(part: Path, target: Path) -> int:
    """Decode the pictures of a part into a folder, with all cores; returns how many."""

    def add(member: tuple[Path, bytes]) -> bool:
        path, data = member
        if path.name == SOURCES:
            path.write_bytes(data)
            return False
        with Image.open(io.BytesIO(data)) as picture:
            picture.convert("RGB").save(f"{path}.bmp")
        return True

    def members(archive: tarfile.TarFile) -> Iterator[tuple[Path, bytes]]:
        for member in archive:
            folder, name = Path(member.name).parts[-2:]
            content = archive.extractfile(member)
            if content is not None:
                (target / folder).mkdir(parents=True, exist_ok=True)
                yield target / folder / name, content.read()

    with tarfile.open(part) as archive, ThreadPoolExecutor() as pool:
        return sum(pool.map(add, members(archive)))


def main() -> None:
    """Pack, and print what is in each part; or unpack one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train", type=Path, help="the pictures, or the part to unpack")
    parser.add_argument("parts", type=Path, help="the folder to write into")
    parser.add_argument("--limit", type=float, default=16, help="of a part, in MiB")
    parser.add_argument("--val", type=Path)
    parser.add_argument("--unpack", action="store_true")
    asked = parser.parse_args()
    if asked.unpack:
        print(f"{unpack(asked.train, asked.parts)} pictures added to {asked.parts}")
        return
    limit = int(asked.limit * MIB) - 10_240  # of padding at the end of an archive
    val = files_of(asked.val) if asked.val else []
    tables = [path for path in [asked.train / SOURCES] if path.is_file()]
    taken = sum(path.stat().st_size + BESIDE for path in (*val, *tables))
    if taken > limit:
        raise SystemExit(f"the validation pictures take {taken / MIB:.1f} MiB; give --limit more")
    sizes = {path: path.stat().st_size for path in files_of(asked.train)}
    for path, size in sizes.items():
        if size + BESIDE > limit:
            print(f"{path} left out: {size / MIB:.1f} MiB")
    asked.parts.mkdir(parents=True, exist_ok=True)
    for number, paths in enumerate(parts_of(sizes, limit, taken), 1):
        target = asked.parts / f"part-{number}.tar"
        first = number == 1
        pack(target, {"val": val * first, "train": [*tables * first, *paths]})
        print(f"{target}: {len(paths)} pictures, {target.stat().st_size / MIB:.1f} MiB")


if __name__ == "__main__":
    main()
