"""A report of restored pictures: one HTML file that opens offline and loads nothing from elsewhere.

One picture fills the page; of several there is an overview, the worst first. Pictures are stored as
exactly as the file's limit allows (`restore.view.embed`), and shown when they come into view.
"""

from __future__ import annotations

import base64
import hashlib
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from restore.errors import installed_version
from restore.image.atomic import write_aside
from restore.image.picture import Picture
from restore.image.write import check_place
from restore.tasks.noise_level import Noise, estimate_noise
from restore.view.embed import View, data_uri, embed
from restore.view.pair import Pair, displayed
from restore.view.slider import asset
from restore.view.windows import change_map

LIMIT = 48_000_000  # characters of a file
MOST_EACH = 16_000_000  # for the views of one picture
SMALL = 300_000  # for all of a picture: below it the map has half the size
BESIDES = 4_000  # characters of a picture's tables and figures, about
THUMBNAIL, MAP = 144, 200  # pixels of the longer side
HISTOGRAM_BINS, HISTOGRAM_PIXELS = 64, 1_000_000
FIGURE = (256, 100)  # width and height of a figure in its own units
CHANNELS = {1: ("grey",), 3: ("red", "green", "blue")}


@dataclass(frozen=True)
class Column:
    """A column of the overview, by which it can be sorted.

    form:  how a number is written
    worst: 1 where a high value is bad, -1 where a low one is; 0 for neither
    """

    title: str
    form: str
    worst: int
    about: str


COLUMNS = {
    "gain": Column("gain", "{:+.2f} dB", -1, "by how much the PSNR rose"),
    "before": Column("PSNR before", "{:.2f} dB", -1, "the same before"),
    "psnr": Column("PSNR", "{:.2f} dB", -1, "of the whole picture, against the reference"),
    "ssim": Column("SSIM", "{:.4f}", -1, "structural similarity to the reference, at most 1"),
    "change": Column("change", "{:.2f}", 1, "root mean square of what changed, of 255"),
    "noise": Column("noise", "{:.1f}", 1, "noise that was found in the picture, of 255"),
    "size": Column("MP", "{:.2f}", 0, "megapixels of the result"),
}


@dataclass(frozen=True)
class Curve:
    """A line or an area of a figure.

    path: of SVG, in the units of FIGURE
    """

    name: str
    path: str


@dataclass(frozen=True)
class Entry:
    """What the report holds of one picture; the fields are those that the template shows."""

    name: str
    failure: str = ""
    facts: Mapping[str, str] | None = None
    values: Mapping[str, float] | None = None  # by the names of COLUMNS
    thumbnail: str = ""
    labels: tuple[str, ...] = ()
    views: tuple[View, ...] = ()
    change: str = ""
    most_change: float = 0.0
    histogram: Mapping[str, tuple[Curve, ...]] | None = None
    noise: Noise | None = None
    noise_curves: tuple[Curve, ...] = ()

    @property
    def size(self) -> int:
        """About how many characters it takes in the file."""
        pictures = sum(view.size for view in self.views)
        return pictures + len(self.thumbnail) + len(self.change) + BESIDES


class Report:
    """Pictures that are added one by one, and the page of them."""

    def __init__(
        self,
        title: str,
        total: int,
        command: str = "",
        limit: int = LIMIT,
    ) -> None:
        """An empty report.

        title:   of the page
        total:   how many pictures will be added, by which the file's limit is divided
        command: the command line that makes it again; "" for none
        limit:   characters of the file, about
        """
        self.title, self.total, self.command, self.limit = title, total, command, limit
        self.tables: dict[str, dict[str, str]] = {}
        self.entries: list[Entry] = []

    def add_table(self, title: str, rows: Mapping[str, str]) -> None:
        """Settings or a model card below the pictures; one of the same title is replaced."""
        if rows:
            self.tables[title] = dict(rows)

    def add(
        self, pair: Pair, facts: Mapping[str, str] | None = None, original: Picture | None = None
    ) -> None:
        """Add a picture: it is measured and stored at once, and not needed afterwards.

        facts:    names and values to be shown beside it
        original: the picture whose noise is told, if not that before
        """
        left = max(1, self.total - len(self.entries))
        share = (self.limit - sum(entry.size for entry in self.entries)) // left
        noise = estimate_noise((original or pair.before).pixels)
        changes = change_map(pair.before, pair.after, MAP if share > SMALL else MAP // 2)
        shown = Entry(
            name=pair.name,
            facts=facts,
            values=_values(pair, noise, math.sqrt(float((changes**2).mean()))),
            thumbnail=_thumbnail(pair.after),
            labels=tuple(pair.pictures),
            change=_coloured(changes),
            most_change=float(changes.max()),
            histogram=_histograms(pair),
            noise=noise,
            noise_curves=_noise_curves(noise, pair.before.channels),
        )
        views = embed(pair, min(share - shown.size, MOST_EACH))
        self.entries.append(Entry(**{**vars(shown), "views": tuple(views)}))

    def add_failure(self, name: str, reason: str) -> None:
        """Add a picture that could not be restored or shown, and why, in a sentence."""
        self.entries.append(Entry(name, failure=reason))

    def to_html(self) -> str:
        """The page. All that comes from outside is escaped."""
        from jinja2 import Environment, PackageLoader, StrictUndefined

        pages = Environment(
            loader=PackageLoader("restore.evaluation"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        loader = pages.loader
        assert loader is not None
        script = asset("slider.js") + loader.get_source(pages, "report.js")[0]
        style = asset("slider.css") + loader.get_source(pages, "report.css")[0]
        columns = {
            key: column
            for key, column in COLUMNS.items()
            if any(key in (entry.values or {}) for entry in self.entries)
        }
        key = "gain" if "gain" in columns else "change"
        page = pages.get_template("report.html").render(
            title=self.title,
            made=f"{time.strftime('%Y-%m-%d %H:%M')}, restore {installed_version()}",
            command=self.command,
            tables=self.tables,
            entries=sorted(self.entries, key=lambda entry: _badness(entry, key)),
            columns=columns,
            sorted_by=key,
            script=script,
            style=style,
            digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            figure=FIGURE,
        )
        return page.lstrip()  # what macros leave

    def write(self, path: Path, overwrite: bool = False) -> Path:
        """Write the page to a file, whole or not at all. Raises WriteError."""
        check_place(path, overwrite)
        # the name of a file may hold bytes that are no text
        write_aside(path, self.to_html().encode(errors="backslashreplace"), overwrite)
        return path


def _values(pair: Pair, noise: Noise, change: float) -> dict[str, float]:
    """The numbers of a picture in the overview, those that are finite."""
    before, after = pair.before_scores, pair.after_scores
    found = {"change": change, "noise": noise.level, "size": pair.after.megapixels}
    scored = after or before
    if scored is not None:
        found |= {"psnr": scored.psnr, "ssim": scored.ssim}
    if before is not None and after is not None:
        found |= {"before": before.psnr, "gain": after.psnr - before.psnr}
    return {key: found[key] for key in COLUMNS if key in found and math.isfinite(found[key])}


def _badness(entry: Entry, key: str) -> tuple[bool, float]:
    """For sorting: pictures that failed, then by the value of a column, the worst first."""
    value = (entry.values or {}).get(key)
    return not entry.failure, math.inf if value is None else -COLUMNS[key].worst * value


def _thumbnail(picture: Picture) -> str:
    step = max(1, max(picture.height, picture.width) // (3 * THUMBNAIL))
    alpha = None if picture.alpha is None else picture.alpha[::step, ::step]
    reduced = picture.replace(pixels=picture.pixels[::step, ::step], alpha=alpha)
    image = Image.fromarray(displayed(reduced))
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    return data_uri(np.asarray(image), 75)


def _coloured(values: npt.NDArray[np.float64]) -> str:
    from matplotlib import colormaps

    shares = values / (values.max() or 1.0)
    return data_uri(colormaps["magma"](shares, bytes=True)[:, :, :3], 85)


def _histograms(pair: Pair) -> dict[str, tuple[Curve, ...]]:
    """The curves before and after, one for each channel; the square roots of the counts."""
    counts = {}
    for label, picture in zip(pair.labels, (pair.before, pair.after), strict=True):
        step = max(1, math.isqrt(picture.height * picture.width // HISTOGRAM_PIXELS))
        samples = picture.pixels[::step, ::step].clip(0, 1)
        counts[label] = [
            np.sqrt(np.histogram(samples[..., c], HISTOGRAM_BINS, (0, 1))[0])
            for c in range(picture.channels)
        ]
    most = max(float(c.max()) for channels in counts.values() for c in channels)
    return {
        label: tuple(
            Curve(name, _path(count / most))
            for name, count in zip(CHANNELS[len(channels)], channels, strict=True)
        )
        for label, channels in counts.items()
    }


def _noise_curves(noise: Noise, channels: int) -> tuple[Curve, ...]:
    """The strength of the noise by the brightness of the picture."""
    most = float(noise.curve.max()) or 1.0
    names = ("brightness", "colour")[: 2 if channels == 3 else 1]
    return tuple(Curve(n, _path(noise.curve[:, i] / most)) for i, n in enumerate(names))


def _path(shares: npt.NDArray[np.float64]) -> str:
    """A line from the left to the right of a figure; shares are in [0, 1], 1 at its top."""
    width, height = FIGURE
    step = width / max(1, len(shares) - 1)
    points = (f"{i * step:.0f} {(1 - s) * height:.0f}" for i, s in enumerate(shares))
    return "M" + "L".join(points)
