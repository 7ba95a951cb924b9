"""What a device does with a picture that was sent, and the files made of the result."""

from __future__ import annotations

import dataclasses
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image

from restore.engine.backend import Report
from restore.engine.compute import Compute
from restore.image.color import join
from restore.image.metrics import Scores, compare
from restore.image.picture import Picture
from restore.image.read import check_format_read, decode_image, promised_size
from restore.image.write import FORMATS, check_format, format_of, suffix_of
from restore.pipeline.file import Saving, encode_result
from restore.pipeline.picture import restore_picture
from restore.pipeline.result import Result
from restore.tasks.denoise import blend
from restore.web.forms import TaskForm, UpscaleForm
from restore.web.jobs import Limits, RefusedError
from restore.web.uploads import Upload

Side = Literal["before", "after"]


@dataclass(frozen=True)
class Restored:
    """A restored picture, from which files of any strength are made without the network.

    result: of the network at full strength
    before, after: scores of the picture, and of the result at the strength that was asked for,
            where a reference was sent
    """

    upload: Upload
    form: TaskForm
    result: Result
    before: Scores | None = None
    after: Scores | None = None

    @property
    def nbytes(self) -> int:
        """Bytes that are held in memory."""
        picture = self.result.picture
        alpha = 0 if picture.alpha is None else picture.alpha.nbytes
        return self.upload.nbytes + picture.pixels.nbytes + alpha

    @property
    def blends(self) -> bool:
        """Whether the strength can be changed afterwards."""
        return not isinstance(self.form, UpscaleForm) and not self.result.unchanged

    def at(self, strength: float) -> Picture:
        """The result at a strength, as `restore.denoise` makes it."""
        restored = self.result.picture
        if not self.blends or strength == 1:
            return restored
        original = decode_image(self.upload.data, name=self.upload.name)
        if strength == 0:
            return original
        return restored.replace(pixels=blend(original.pixels, restored.pixels.copy(), strength))

    def file(self, strength: float, saving: Saving) -> tuple[str, str, bytes]:
        """Name, media type and bytes of the result's file. Raises WriteError or InputError."""
        kind = written_format(self.result.picture, saving)
        picture = self.at(strength)
        unchanged = self.result.unchanged or (self.blends and strength == 0)
        same = self.upload.data if unchanged and picture.format == kind else None
        name = Path(self.upload.name)
        written = f"{name.stem}-{saving.mark}{suffix_of(name, kind)}"
        return written, media_type(kind), encode_result(picture, kind, saving, same)

    def view(self, side: Side) -> bytes:
        """The picture at the result's size, or the result at full strength, as a PNG to look at."""
        if side == "after":
            return as_png(self.result.picture)
        original = decode_image(self.upload.data, name=self.upload.name)
        return as_png(self.form.task().baseline(original))


def check(upload: Upload, form: TaskForm, limits: Limits) -> None:
    """What the first bytes of a file tell to be impossible, before it waits in the line.

    Raises RefusedError 413 for too many pixels; UnknownFormatError, ReadError and InputError.
    """
    for data in (upload.data, upload.reference):
        if data is None:
            continue
        check_format_read(data, upload.name)
        size = promised_size(data)
        if min(size) == 0:
            continue  # the decoder will say what is wrong
        result = form.size().of(*size) if isinstance(form, UpscaleForm) else size
        for height, width in (size, result) if data is upload.data else (size,):
            if height * width > limits.pixels:
                raise RefusedError(
                    413, f"{width} x {height} pixels are beyond the limit of {limits.pixels}"
                )


def restore(
    upload: Upload, form: TaskForm, limits: Limits, compute: Compute, report: Report
) -> Restored:
    """Decode and restore a picture. Raises what the reader, the pipeline and the writer raise."""
    picture = decode_image(upload.data, name=upload.name, max_pixels=limits.pixels)
    task = form.task()
    size = task.result_size(picture.height, picture.width)
    saving = form.saving(form.mark)
    check_format(
        written_format(picture, saving),
        picture,
        size=size,
        quality=saving.quality,
        name=upload.name,
    )
    reference = None
    if upload.reference is not None:
        reference = decode_image(upload.reference, name="the reference", max_pixels=limits.pixels)
    before = None if reference is None else compare(task.baseline(picture), reference)
    report(0, 0)  # cancelled by now?
    result = restore_picture(picture, task, compute, output="picture", report=report)
    result = dataclasses.replace(result, image=None, original=None)  # decoded again when needed
    made = Restored(dataclasses.replace(upload, reference=None), form, result, before)
    if reference is None:
        return made
    return dataclasses.replace(made, after=compare(made.at(form.strength), reference))


def written_format(picture: Picture, saving: Saving) -> str:
    """The format of a result: as asked for, or the picture's own where that can be written.

    Of the others, cameras' raw files become TIFF, and the rest PNG, as for files.
    """
    if saving.file_format is not None:
        return format_of(Path("result"), saving.file_format)
    if picture.format in FORMATS:
        return picture.format
    return "TIFF" if picture.format == "RAW" else "PNG"


def media_type(kind: str) -> str:
    """The media type of a format, as IANA lists it."""
    return {"JPEG2000": "image/jp2"}.get(kind, f"image/{kind.lower()}")


def as_png(picture: Picture) -> bytes:
    """A PNG of 8 bits with the picture's colour profile, packed quickly."""
    samples = join(picture.pixels, picture.alpha, 8)
    image = Image.fromarray(samples[:, :, 0] if samples.shape[2] == 1 else samples)
    memory = io.BytesIO()
    image.save(memory, "PNG", compress_level=1, icc_profile=picture.icc)
    return memory.getvalue()
