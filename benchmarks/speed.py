"""Speed, quality and memory of the engine beside its peers' schemes and classical methods.

    python benchmarks/speed.py [--megapixels 1,12,24] [--repeats 3] [--device auto] [--quick]
                               [--bands 512,1024,2048,4096]
                               [--json benchmarks/speed.json] [--figure benchmarks/speed.png]

Each row is measured in a process of its own, so that its peak of memory is its own; within a row
the method and the untiled forward pass of the same network take turns, so that their ratio does not
hang on what else the machine does. The picture is one of the samples, mirrored to size, with noise
of sigma 25 rounded to 8 bits. Nothing else should run on the machine.

The tile schemes are written anew from what their projects publish, around the same network:
Real-ESRGAN (tiles of 400, 10 px of context, hard cut), SwinIR (windows of 512, overlap 32, plain
mean), MONAI (windows of 512, overlap 0.25, plain mean).
"""

from __future__ import annotations

import argparse
import functools
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
MODELS = ("denoise-gaussian", "denoise-gaussian-fast")
MODEL = MODELS[0]  # of the tile schemes
DEFAULTS = ("denoise-photo", "denoise-photo-fast")  # what most people run, at one size
DEFAULTS_AT = 12.0
SIGMA = 25
SCHEMES = {
    "Real-ESRGAN's tiles": (400, 10),
    "SwinIR's tiles": (512, 32),
    "MONAI's tiles": (512, 128),
}
CLASSICAL = ["OpenCV NLM", "scikit-image NLM", "wavelet", "TV", "BM3D"]
# Not asked for more megapixels than these.
SLOWEST = {"BM3D": 1.0, "scikit-image NLM": 1.0, "wavelet": 12.0, "TV": 12.0, "fp32": 1.0}
SLOWEST |= dict.fromkeys(SCHEMES, 12.0)
QUICK = 0.09


def picture(megapixels: float) -> tuple[np.ndarray, np.ndarray]:
    """Clean and noisy, uint8 `(height, width, 3)`, three to two."""
    from restore.image.read import load_image

    height = max(64, round((megapixels * 1e6 / 1.5) ** 0.5))
    width = round(1.5 * height)
    sample = np.rint(load_image(HERE.parent / "samples/fur-clean.png").pixels * 255)
    down, right = (max(0, a - b) for a, b in zip((height, width), sample.shape, strict=False))
    clean = np.pad(sample.astype(np.uint8), ((0, down), (0, right), (0, 0)), "symmetric")
    clean = clean[:height, :width]
    noisy = np.empty_like(clean)
    draw = np.random.default_rng(0)
    for top in range(0, height, 256):  # in bands: 24 MP of floats are not part of what is measured
        band = clean[top : top + 256] + draw.normal(0, SIGMA, clean[top : top + 256].shape)
        noisy[top : top + 256] = np.rint(band.clip(0, 255))
    return clean, noisy


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Decibels between two 8-bit pictures, in bands."""
    total = sum(
        float(((a[t : t + 256].astype(np.float32) - b[t : t + 256]) ** 2).sum(dtype=np.float64))
        for t in range(0, len(a), 256)
    )
    return float(10 * np.log10(255**2 / max(total / a.size, 1e-12)))


def peak() -> int:
    """The most memory this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


# ---- what is measured


def windows(length: int, tile: int, overlap: int) -> list[int]:
    """Starts of windows that overlap, the last one flush with the end."""
    if length <= tile:
        return [0]
    return [*range(0, length - tile, tile - overlap), length - tile]


def averaged(forward: Callable, x: Any, tile: int, overlap: int) -> tuple[Any, int]:
    """SwinIR's and MONAI's scheme: sums over counts. Returns the result and pixels computed."""
    import torch

    height, width = x.shape[-2:]
    total, count = torch.zeros_like(x), torch.zeros_like(x[:, :1])
    computed = 0
    for top in windows(height, tile, overlap):
        for left in windows(width, tile, overlap):
            part = x[..., top : top + tile, left : left + tile]
            total[..., top : top + tile, left : left + tile] += forward(part)
            count[..., top : top + tile, left : left + tile] += 1
            computed += part.shape[-2] * part.shape[-1]
    return total / count, computed


def cut(forward: Callable, x: Any, tile: int, context: int, multiple: int) -> tuple[Any, int]:
    """Real-ESRGAN's scheme: disjoint tiles with a little context; windows mirrored to the grid."""
    import torch
    import torch.nn.functional as F

    height, width = x.shape[-2:]
    result, computed = torch.empty_like(x), 0
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            bottom, right = min(height, top + tile), min(width, left + tile)
            a, b = max(0, top - context), max(0, left - context)
            part = x[..., a : min(height, bottom + context), b : min(width, right + context)]
            rows, columns = part.shape[-2:]
            padded = F.pad(part, (0, -columns % multiple, 0, -rows % multiple), "reflect")
            found = forward(padded)
            computed += padded.shape[-2] * padded.shape[-1]
            inside = found[..., top - a : bottom - a, left - b : right - b]
            result[..., top:bottom, left:right] = inside
    return result, computed


class Machine:
    """The network on a device in a precision, and how to wait for it."""

    def __init__(self, device: str, precision: str, model: str = MODEL) -> None:
        """All by name."""
        import torch

        from restore.engine.device import choose_device, choose_precision
        from restore.engine.prepare import prepare
        from restore.models.weights import load_model

        self.torch = torch
        self.device = choose_device(device)
        self.dtype = choose_precision(precision, self.device)
        self.network = load_model(model)
        told = self.network
        if told.noise_inputs:  # untiled it runs without the estimate of the noise
            told = told.conditioned_on(*[float(SIGMA)] * told.noise_inputs)
        self.prepared = prepare(told, self.device, self.dtype)

    def wait(self) -> None:
        """Until the device has done what it was given."""
        if self.device.type == "cuda":
            self.torch.cuda.synchronize(self.device)

    def tensor(self, noisy: np.ndarray) -> Any:
        """The picture on the device, padded as the engine does it."""
        from restore.engine.backend import padded_array

        pixels = padded_array(
            noisy.astype(np.float32) / 255, self.network.multiple_of, self.network.border
        )
        return self.torch.from_numpy(pixels).to(self.device).permute(2, 0, 1)[None]

    def memory(self) -> int:
        """The peak: of the device where it has memory of its own, else of the process."""
        if self.device.type == "cuda":
            return int(self.torch.cuda.max_memory_allocated(self.device))
        return peak()

    def image(self, x: Any, like: np.ndarray) -> np.ndarray:
        """8 bits, cut to size."""
        border = self.network.border
        inside = tuple(slice(border, border + side) for side in like.shape[:2])
        values = x[(0, slice(None), *inside)].float().clamp(0, 1).permute(1, 2, 0).cpu().numpy()
        return np.rint(values * 255).astype(np.uint8)


def turns(machine: Machine, ours: Callable, untiled: Callable, repeats: int) -> dict[str, Any]:
    """Both in turn; medians of seconds, and the first one's peak of memory."""
    before = machine.memory()
    ours()
    machine.wait()
    found: dict[str, Any] = {"peak_bytes": machine.memory() - before}
    untiled()
    machine.wait()
    times: dict[str, list[float]] = {"seconds": [], "untiled_seconds": []}
    for _ in range(repeats):
        for name, go in (("seconds", ours), ("untiled_seconds", untiled)):
            began = time.perf_counter()
            go()
            machine.wait()
            times[name].append(time.perf_counter() - began)
    found |= {name: statistics.median(values) for name, values in times.items()}
    return found | {"over_untiled": found["seconds"] / found["untiled_seconds"]}


def row_ours(
    name: str, megapixels: float, repeats: int, device: str, precision: str
) -> dict[str, Any]:
    """The whole pipeline with one of our networks, array to array."""
    import restore
    from restore.engine.device import precision_name

    machine = Machine(device, precision, name)
    clean, noisy = picture(megapixels)
    small = np.ascontiguousarray(noisy[:64, :64])
    restore.denoise(small, machine.network, device=device, precision=precision)  # all is imported
    results: list[Any] = []

    def ours() -> None:
        results[:] = [restore.denoise(noisy, machine.network, device=device, precision=precision)]

    kept: list[Any] = []
    x: list[Any] = []

    def untiled() -> None:
        with machine.torch.inference_mode():
            if not x:
                x.append(machine.tensor(noisy))
            kept[:] = [machine.prepared(x[0])]

    found = turns(machine, ours, untiled, repeats)
    result = results[0]
    exact = restore.denoise(noisy, machine.network, device=device, precision="fp32").image
    difference = np.abs(exact.astype(np.int16) - result.image)
    whole = machine.image(kept[0], noisy)
    return found | {
        "precision": precision_name(machine.dtype),
        "windows": result.tiles,
        "psnr": psnr(result.image, clean),
        "psnr_less_than_fp32": psnr(exact, clean) - psnr(result.image, clean),
        "within_one_level_of_fp32": float((difference <= 1).mean()),
        "levels_from_untiled": int(np.abs(whole.astype(np.int16) - result.image).max()),
    }


def row_scheme(
    name: str, megapixels: float, repeats: int, device: str, precision: str
) -> dict[str, Any]:
    """A peer's way to tile, around the same network."""
    machine = Machine(device, precision)
    clean, noisy = picture(megapixels)
    x = machine.tensor(noisy)
    tile, extra = SCHEMES[name]
    found: dict[str, Any] = {}

    def scheme() -> None:
        with machine.torch.inference_mode():
            if name.startswith("Real"):
                found["x"] = cut(machine.prepared, x, tile, extra, machine.network.multiple_of)
            else:
                found["x"] = averaged(machine.prepared, x, tile, extra)

    def untiled() -> None:
        with machine.torch.inference_mode():
            found["whole"] = machine.prepared(x)

    times = turns(machine, scheme, untiled, repeats)
    result, computed = found["x"]
    image, whole = machine.image(result, noisy), machine.image(found["whole"], noisy)
    return times | {
        "psnr": psnr(image, clean),
        "computed": computed / (noisy.shape[0] * noisy.shape[1]),
        "largest_difference_from_untiled": float((result - found["whole"]).abs().max()),
        "share_of_values_that_differ": float((image != whole).mean()),
    }


def row_classical(name: str, megapixels: float, repeats: int) -> dict[str, Any]:
    """A method without a network, told the noise level where it takes one."""
    clean, noisy = picture(megapixels)
    method = classical(name)
    method(np.ascontiguousarray(noisy[:64, :64]))
    before, seconds = peak(), []
    for _ in range(repeats):
        began = time.perf_counter()
        result = method(noisy)
        seconds.append(time.perf_counter() - began)
    return {
        "seconds": statistics.median(seconds),
        "peak_bytes": peak() - before,
        "psnr": psnr(result, clean),
    }


def classical(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """uint8 to uint8. Raises ImportError where its package is missing."""

    def rounded(values: np.ndarray) -> np.ndarray:
        return np.rint(values.clip(0, 1) * 255).astype(np.uint8)

    if name == "OpenCV NLM":
        import cv2

        return lambda image: cv2.fastNlMeansDenoisingColored(image, None, SIGMA, SIGMA, 7, 21)
    if name == "BM3D":
        import bm3d

        return lambda image: rounded(bm3d.bm3d_rgb(image / 255, SIGMA / 255))
    from skimage import restoration

    sigma = SIGMA / 255
    return {
        "scikit-image NLM": lambda image: rounded(
            restoration.denoise_nl_means(
                image / np.float32(255), 5, 6, h=0.6 * sigma, sigma=sigma, channel_axis=2
            )
        ),
        "wavelet": lambda image: rounded(
            restoration.denoise_wavelet(
                image / 255, sigma, channel_axis=2, convert2ycbcr=True, rescale_sigma=True
            )
        ),
        "TV": lambda image: rounded(
            restoration.denoise_tv_chambolle(image / np.float32(255), 0.1, channel_axis=2)
        ),
    }[name]


def row_bands(name: str, megapixels: float, repeats: int, precision: str) -> dict[str, Any]:
    """The pipeline on a CPU with bands of another size: `layers.BAND_BYTES` chosen by measurement.

    name: "bands of 512 KB"
    """
    import restore
    from restore.engine.rows import layers as laid_out

    laid_out.BAND_BYTES, laid_out.FEWEST_ROWS = int(name.split()[2]) * 1024, 4
    machine = Machine("cpu", precision)
    _, noisy = picture(megapixels)
    settings: dict[str, Any] = {"device": "cpu", "precision": precision}
    restore.denoise(np.ascontiguousarray(noisy[:64, :64]), machine.network, **settings)
    before, seconds = peak(), []
    for _ in range(repeats):
        began = time.perf_counter()
        restore.denoise(noisy, machine.network, **settings)
        seconds.append(time.perf_counter() - began)
    return {"seconds": statistics.median(seconds), "peak_bytes": peak() - before}


def row_floor(name: str, repeats: int, precision: str) -> dict[str, Any]:
    """A network's 3x3 convolutions alone, as the engine cuts 12 MP for them: what a CPU allows.

    Each core has tensors of its own in its cache; nothing is copied, nothing computed twice.
    """
    import torch

    from restore.engine.device import choose_precision
    from restore.engine.rows.layers import Layers
    from restore.engine.rows.workers import Workers
    from restore.models.weights import load_model

    cpu, width = torch.device("cpu"), 4248
    layers = Layers(load_model(name.split()[0]), choose_precision(precision, cpu))
    total = 0.0
    with torch.inference_mode(), Workers() as workers:
        for chains in (layers.encoder, layers.decoder):
            for level, chain in enumerate(chains):
                window = layers.strips(width >> level, level, chain, workers.count)[0].window
                rows, seconds = layers.bands(width)[level], 0.0
                for convolution in [c for pair in chain.blocks for c in pair]:
                    size = rows + 2, window + 2 * chain.framed
                    seconds += _alone(convolution, size, layers, level, workers, repeats)
                total += seconds / (rows * window * 4**level)
    return {"megapixels_per_second": 1e-6 / total, "seconds": 0.0}


def _alone(
    convolution: Any, size: tuple[int, int], layers: Any, level: int, workers: Any, repeats: int
) -> float:
    """Seconds of one convolution, all cores at it: the median of runs of ten, over the cores."""
    import torch

    rows, window = size
    x = torch.rand(workers.count, layers.widths[level], rows, window).to(layers.dtype)
    parts = [part.contiguous(memory_format=torch.channels_last) for part in x.split(1)]

    def ten(part: Any) -> None:
        for _ in range(10):
            convolution(part)

    times = []
    for _ in range(2 + 3 * repeats):
        began = time.perf_counter()
        workers.run([functools.partial(ten, part) for part in parts])
        times.append(time.perf_counter() - began)
    return statistics.median(times) / 10 / workers.count


# ---- the whole table


def measure(words: list[str]) -> dict[str, Any] | None:
    """One row in a process of its own; None where it cannot run here."""
    done = subprocess.run(
        [sys.executable, __file__, "--row", *words], capture_output=True, text=True
    )
    if done.returncode:
        print(f"{words[0]:<22} left out: {done.stderr.strip().splitlines()[-1]}", flush=True)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def row(words: list[str]) -> dict[str, Any]:
    """What `measure` asked for, in this process."""
    name, size, repeats, device, precision = words
    if name.endswith("convolutions alone"):
        return row_floor(name, int(repeats), precision)
    if name.startswith("bands of"):
        return row_bands(name, float(size), int(repeats), precision)
    if name in SCHEMES:
        return row_scheme(name, float(size), int(repeats), device, precision)
    if name in CLASSICAL:
        return row_classical(name, float(size), int(repeats))
    return row_ours(name, float(size), int(repeats), device, precision)


def main() -> None:
    """Measure all rows, print and store them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megapixels", default="1,12,24")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precisions", default="auto,fp32")
    parser.add_argument("--quick", action="store_true", help="a tiny picture: only to see it run")
    parser.add_argument("--bands", default="", help="also these sizes of bands, in KB: 512,2048")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--row", nargs=5, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.row:
        print(json.dumps(row(asked.row)))
        return
    sizes = [QUICK] if asked.quick else [float(part) for part in asked.megapixels.split(",")]
    repeats = 1 if asked.quick else asked.repeats
    rows: list[dict[str, Any]] = []
    precisions = asked.precisions.split(",")
    for size in sizes:
        for name, precision in asked_rows(size, precisions, asked.bands):
            found = measure([name, str(size), str(repeats), asked.device, precision])
            if found is None:
                continue
            speed = {"megapixels_per_second": size / found["seconds"]} if found["seconds"] else {}
            rows.append({"name": name, "megapixels": size, "asked": precision, **found, **speed})
            print(line(rows[-1]), flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1) + "\n")
    if asked.figure:
        draw(rows, asked.figure, sizes[0])


def asked_rows(size: float, precisions: list[str], bands: str) -> list[tuple[str, str]]:
    """Names and precisions of the rows of one size."""
    names = [(model, p) for model in MODELS for p in precisions]
    names += [(model, precisions[0]) for model in DEFAULTS if size == DEFAULTS_AT]
    names += [(name, precisions[0]) for name in SCHEMES]
    names += [(name, "-") for name in CLASSICAL]
    names += [(f"bands of {kb} KB", precisions[0]) for kb in bands.split(",") if kb]
    names += [(f"{model} convolutions alone", precisions[0]) for model in MODELS]
    return [
        (name, p) for name, p in names if size <= min(SLOWEST.get(name, size), SLOWEST.get(p, size))
    ]


def line(found: dict[str, Any]) -> str:
    """A row in words."""
    parts = [f"{found['name']:<22} {found['megapixels']:>5} MP"]
    parts.append(f"{found['megapixels_per_second']:7.3f} MP/s")
    for key, form in {
        "precision": "{}", "psnr": "{:.2f} dB", "over_untiled": "{:.2f} of untiled",
        "computed": "{:.2f} of the pixels computed", "psnr_less_than_fp32": "{:+.4f} dB under fp32",
        "within_one_level_of_fp32": "{:.4%} within a level",
        "largest_difference_from_untiled": "{:.1e} from untiled",
    }.items():  # fmt: skip
        if key in found:
            parts.append(form.format(found[key]))
    if "peak_bytes" in found:
        parts.append(f"{found['peak_bytes'] / 1e6:.0f} MB")
    return "  ".join(parts)


def draw(rows: list[dict[str, Any]], target: Path, size: float) -> None:
    """Speed against PSNR."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4))
    for found in rows:
        if found["megapixels"] != size or "psnr" not in found or found["name"] in SCHEMES:
            continue
        if found["name"] in DEFAULTS:
            continue  # white noise is not what they are for
        ours = found["name"] in MODELS
        name = f"{found['name']}, {found['precision']}" if ours else found["name"]
        at = found["megapixels_per_second"], found["psnr"]
        axes.plot(*at, "o", color="tab:red" if ours else "tab:gray")
        axes.annotate(name, at, (5, 4), textcoords="offset points", fontsize=8)
    axes.set(xscale="log", xlabel=f"megapixels per second, {size:g} MP", ylabel="PSNR, dB")
    axes.margins(x=0.6, y=0.1)  # for the words beside the points
    for scale in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        scale("{x:g}")
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(target, dpi=150)


if __name__ == "__main__":
    main()
