"""One picture of any kind in, the same kind restored out: `denoise` and `upscale`.

The command line, the benchmarks and the reports use `restore_picture` too.
"""

from __future__ import annotations

import dataclasses
import os
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from restore.engine.compute import Compute, Resources
from restore.errors import OutOfMemoryError
from restore.image.arrays import Kind, as_kind, to_picture
from restore.image.metrics import compare
from restore.image.picture import Picture
from restore.image.read import decode_image, read_bytes
from restore.pipeline.large import check_fits, needs_rows, restore_tiff_to_picture
from restore.pipeline.result import Result
from restore.tasks.denoise import DEFAULT_MODEL, Sigma, denoising
from restore.tasks.target_size import make_size
from restore.tasks.task import PictureTask, Task, model_name
from restore.tasks.upscale import upscaling

if TYPE_CHECKING:
    from restore.engine.backend import Report
    from restore.engine.run import Output
    from restore.models.network import Network


def denoise(  # noqa: PLR0913 (a public keyword API)
    image: Any,
    model: str | os.PathLike[str] | Network = DEFAULT_MODEL,
    *,
    sigma: Sigma = None,
    strength: float = 1.0,
    detail: float | None = None,
    ensemble: bool = False,
    reference: Any = None,
    device: str = "auto",
    precision: str = "auto",
    tile: int | None = None,
    memory: int | str | None = None,
    engine: str = "auto",
    output: Kind = "same",
    report: Report | None = None,
) -> Result:
    """Remove the noise from a picture.

    image:     a path; an array `(height, width[, channels])`, uint8, uint16, bool, or float in
               [0, 1]; a PIL image; a tensor `([1,] C, H, W)`, uint8 or float in [0, 1]; a Picture.
               Grey or RGB, either with alpha, which is kept as it is. It is never modified
    model:     a name that `restore models` lists, a weights file, or a loaded network
    sigma:     the noise level to remove, 0-255: a number; "auto" to estimate it (for white noise);
               or None: left to the model. A higher number smooths more; denoise-gaussian then runs
               twice, on the picture with noise added up to that level
    strength:  0 to 1, the share of the restored picture in the result; 0 gives the input's pixels
    detail:    0 to 1, how much of the structure in what was removed is given back: fine patterns,
               texture, and with them some noise; None: 0.5 for denoise-photo, and 0 for a network
               that is not conditioned on the noise of the picture
    ensemble:  average 8 rotated and mirrored views: 8 times slower, slightly better
    reference: the clean picture, of any kind above, against which input and result are scored
    device:    "auto", "cpu", "cuda", "cuda:1", "mps", "xpu"
    precision: of the convolutions, "auto", "fp32", "bf16", "fp16"; the result is always float32
    tile:      side in pixels of a square tile, halo included; None: chosen for speed. It affects
               time and memory, not the result
    memory:    limit in bytes, or a size such as "2GB", for the picture, its result and the network
               together; None: chosen for speed. It does not affect the result either
    engine:    what computes the network: "torch"; "openvino" or "onnx", on a CPU, where they are
               installed; or "auto": torch, unless another was measured to be faster here
    output:    the kind of `Result.image`: "same", "picture", "array", "pil" or "tensor"
    report:    called with (tiles done, tiles in total)

    Raises InputError, ReadError, UnknownModelError, WeightsError or OutOfMemoryError.
    """
    return restore_picture(
        image,
        denoising(model, strength, ensemble, sigma, detail),
        Compute(device, precision, tile, memory, engine),
        reference=reference,
        output=output,
        report=report,
    )


def upscale(  # noqa: PLR0913 (a public keyword API)
    image: Any,
    scale: Any = None,
    model: str | os.PathLike[str] | Network | None = None,
    *,
    width: int | None = None,
    height: int | None = None,
    fit: str | tuple[int, int] | None = None,
    back_projection: int = 0,
    ensemble: bool = False,
    strength: float = 1.0,
    reference: Any = None,
    device: str = "auto",
    precision: str = "auto",
    tile: int | None = None,
    memory: int | str | None = None,
    engine: str = "auto",
    output: Kind = "same",
    report: Report | None = None,
) -> Result:
    """Enlarge a picture, and restore detail that it lost when it was downscaled.

    image:     any kind of picture that `denoise` takes; alpha is enlarged with it
    scale:     a factor above 1 and at most 16; or instead of it:
    width, height: of the result, in pixels (the other side follows)
    fit:       "3840x2160" or (3840, 2160): the largest size that fits into this box
    model:     a name that `restore models` lists, a weights file, a loaded network, "bicubic" for
               plain interpolation, or "fast" for the small model of the next scale; None: the best
               one of the next scale. The model's output is resized to the exact size
    strength:  0 to 1, how much of the picture's noise and JPEG artefacts is removed first, if no
               model is given or one for noisy pictures; 0: none
    back_projection: 0 to 20, how many times the result is corrected to match the picture when
               downscaled to its size (Irani and Peleg 1991)
    reference: the original picture before it was downscaled, against which the result is scored

    Other arguments as for `denoise`. Raises InputError, ReadError, UnknownModelError, WeightsError
    or OutOfMemoryError.
    """
    return restore_picture(
        image,
        upscaling(make_size(scale, width, height, fit), model, back_projection, ensemble, strength),
        Compute(device, precision, tile, memory, engine),
        reference=reference,
        output=output,
        report=report,
    )


def restore_picture(
    image: Any,
    task: Task,
    compute: Compute,
    *,
    reference: Any = None,
    output: Kind = "same",
    report: Report | None = None,
    turn: AbstractContextManager[Any] | None = None,
) -> Result:
    """Do a task on one picture of any kind; arguments and errors as for `denoise`.

    turn: entered while the network runs, where several threads share a device
    """
    try:
        if _by_rows(image, task, compute, reference, output):
            return restore_tiff_to_picture(Path(image), task, compute, report)
        picture = _opened(image, compute)
        task.result_size(picture.height, picture.width)
        clean = None if reference is None else to_picture(reference)
        before = None if clean is None else compare(task.baseline(picture), clean)
        restored = _restore(picture, task, compute, report, turn or nullcontext())
        return dataclasses.replace(
            restored,
            image=as_kind(restored.picture, image, output),
            original=picture,
            reference=clean,
            before=before,
            after=None if clean is None else compare(restored.picture, clean),
        )
    except MemoryError:
        raise OutOfMemoryError(
            "the picture and its result do not fit into memory; free some memory, or restore a "
            "TIFF into a TIFF with --memory, which is done in parts"
        ) from None


def _opened(image: Any, compute: Compute) -> Picture:
    """The picture; a file that cannot fit into memory is refused from its header."""
    if not isinstance(image, (str, os.PathLike)):
        return to_picture(image)
    path = Path(image)
    data = read_bytes(path)
    check_fits(data, str(path), compute)
    return decode_image(data, name=str(path)).replace(path=path)


def _by_rows(image: Any, task: Task, compute: Compute, reference: Any, output: Kind) -> bool:
    """Whether the picture is a file too large for memory that can be restored by rows."""
    is_path = isinstance(image, (str, os.PathLike))
    if not is_path or reference is not None or output not in ("same", "picture"):
        return False
    return needs_rows(Path(image), task, compute)


def _restore(
    picture: Picture,
    task: Task,
    compute: Compute,
    report: Report | None,
    turn: AbstractContextManager[Any],
) -> Result:
    from restore.engine.device import device_name, precision_name
    from restore.engine.seams import seam_notes

    resources = compute.resolve()
    started = time.perf_counter()
    sigma = None
    if task.first is not None:
        before = None if report is None else _part(report, 0, 2)
        done = _restore(picture, task.first, compute, before, turn)
        picture, sigma = done.picture, None if done.unchanged else done.sigma
        report = None if report is None else _part(report, 1, 2)
    fitted = task.for_picture(picture)
    network = fitted.network
    output = None
    if not fitted.unchanged:
        with turn:
            output = run_passes(fitted, picture, resources, report)
    restored = picture
    if output is not None:
        restored = fitted.postprocess(picture, output.pixels)
        restored = restored.replace(notes=restored.notes + seam_notes(network, output.plan))
    return Result(
        image=None,
        picture=restored,
        model=model_name(network),
        device=device_name(resources.device),
        precision=precision_name(output.plan.dtype if output else resources.dtype),
        engine=output.plan.engine if output else "torch",
        tiles=output.plan.tiles if output else 0,
        window=output.plan.window if output else (0, 0),
        seconds=time.perf_counter() - started,
        sigma=sigma if fitted.sigma is None else fitted.sigma,
        unchanged=fitted.unchanged,
    )


def run_passes(
    task: PictureTask,
    picture: Picture,
    resources: Resources,
    report: Report | None = None,
) -> Output:
    """Run the task's network over a picture once for each pass; the mean of the outputs.

    Raises what `engine.run` raises, and InputError with the smallest memory that works.
    """
    from restore.engine.run import network_memory, run_array

    network, count, total = task.network, task.passes, None
    for index in range(count):
        pixels = task.preprocess(picture, index)
        memory = network_memory(network, pixels.shape, resources, count, picture.depth)
        progress = report if report is None or count == 1 else _part(report, index, count)
        limits = dataclasses.replace(resources, memory=memory)
        output = run_array(network, pixels, limits, progress)
        if total is not None:
            np.add(output.pixels, total.pixels, out=output.pixels)
        total = output
    assert total is not None
    if count > 1:
        np.divide(total.pixels, np.float32(count), out=total.pixels)
    return total


def _part(report: Report, index: int, count: int) -> Report:
    """A report for one pass, or for one of two tasks, as a part of all."""
    return lambda done, total: report(index * total + done, count * total)
