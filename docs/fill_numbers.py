"""Fill in the measured numbers of README.md and the pages in docs/.

    python docs/fill_numbers.py            write every marked table and number anew
    python docs/fill_numbers.py --check    change nothing; exit 1 where a page is out of date

The numbers come from `benchmarks/*.json` and from the cards in `weights/*.safetensors`. A page
marks the place of a table by a pair of comments, and that of a number within a sentence likewise:

    <!-- numbers: speed-12 -->
    <!-- /numbers -->

    The folder took <!--n:batch.seconds-->104<!--/--> seconds.

Each table is a function of this file with `@table`; the single numbers are in `single_numbers`.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import re
import struct
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"(<!-- numbers: ([\w-]+) -->\n).*?(<!-- /numbers -->)", re.S)
INLINE = re.compile(r"(<!--n:([\w.-]+)-->).*?(<!--/-->)")
DENOISERS = ("denoise-photo", "denoise-photo-fast", "denoise-gaussian", "denoise-gaussian-fast")
GAUSSIANS = ("denoise-gaussian", "denoise-gaussian-fast")
LEVELS = (15, 25, 50)
SCALES = (2, 3, 4)
UPSCALE = {"`upscale-xN`": "upscale-x{}", "`upscale-xN-fast`": "upscale-x{}-fast"}  # best and small
MISSING = "\N{EN DASH}"
GAIN = 1.05  # times as fast an engine must be to count as faster, as for `--engine auto`
TOLD = ("tried", "lost")  # of an attack, in columns of their own

# Published figures, from the papers named on the pages.
FFDNET = {
    "CBSD68": "33.87 / 31.21 / 27.96",
    "Kodak24": "34.63 / 32.13 / 28.98",
    "BSD68_gray": "31.63 / 29.19 / 26.29",
    "Set12": "32.75 / 30.43 / 27.32",
}
GPU_NETWORKS = {  # as they were measured, and the models that have this shape now
    "denoise-gaussian": "denoise-photo",
    "denoise-gaussian-fast": "denoise-photo-fast",
    "upscale-x4": "upscale-x4",
}
UPSCALERS = {
    ("Set5", "VDSR"): ("37.53 / .9587", "33.66 / .9213", "31.35 / .8838"),
    ("Set5", "EDSR-baseline"): ("37.99 / .9604", "34.37 / .9270", "32.09 / .8938"),
    ("Set14", "VDSR"): ("33.03 / .9124", "29.77 / .8314", "28.01 / .7674"),
    ("Set14", "EDSR-baseline"): ("33.57 / .9175", "30.28 / .8417", "28.58 / .7813"),
}
USES = {
    "denoise-photo": "photographs from cameras and phones (the default)",
    "denoise-photo-fast": "the same, faster (`--fast`)",
    "denoise-gaussian": "white Gaussian noise, as in papers and tests",
    "denoise-gaussian-fast": "the same, faster",
    "upscale-x2": "clean pictures, up to twice as large",
    "upscale-x2-fast": "the same, faster (`--fast`)",
    "upscale-x3": "clean pictures, up to three times as large",
    "upscale-x3-fast": "the same, faster",
    "upscale-x4": "clean pictures, four times as large and more",
    "upscale-x4-fast": "the same, faster",
    "upscale-photo-x4": "noisy, blurred or compressed small pictures",
}

TABLES: dict[str, Callable[[], str]] = {}


# --- where the numbers are


@functools.cache
def measured(name: str) -> Any:
    """The content of benchmarks/NAME.json."""
    return json.loads((ROOT / "benchmarks" / f"{name}.json").read_text(encoding="utf-8"))


def cluster_cpu(kind: str) -> float:
    """CPU seconds a picture with two workers, of "workers" or of the "rest"."""
    found: dict[str, float] = measured("cluster")["workers_2"]["cpu_seconds_a_picture"]
    return found[kind]


@functools.cache
def header(model: str) -> dict[str, Any]:
    """The header of a weights file: a tensor's shape by its name, and the card."""
    with (ROOT / "weights" / f"{model}.safetensors").open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        found: dict[str, Any] = json.loads(file.read(length))
    return found


def parameters(model: str) -> int:
    """How many numbers a network has."""
    shapes = (entry["shape"] for name, entry in header(model).items() if name != "__metadata__")
    return sum(functools.reduce(lambda a, b: a * b, shape, 1) for shape in shapes)


def score(model: str, data: str, noise: str) -> dict[str, Any]:
    """A measured score from a model's card."""
    scores = json.loads(header(model)["__metadata__"]["restore"])["scores"]
    fitting = [s for s in scores if (s["data"], s["noise"]) == (data, noise)]
    assert len(fitting) == 1, f"{model} has {len(fitting)} scores on {data}, {noise}"
    return dict(fitting[0])


@functools.cache
def counted(model: str) -> tuple[float, float]:
    """Operations and bytes for each pixel that goes in, as `benchmarks/floors.py` counts them."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import floors
    finally:
        sys.path.pop(0)
    operations, traffic = floors.counted(model, side=64)
    return operations, traffic


def gmac(model: str, pixels: int) -> float:
    """Billions of multiplications and additions for a picture of so many pixels."""
    return counted(model)[0] / 2 * pixels / 1e9


def speed_row(name: str, megapixels: float) -> dict[str, Any]:
    """A row of benchmarks/speed.json, in the precision that is chosen by default."""
    rows = [r for r in measured("speed") if (r["name"], r["megapixels"]) == (name, megapixels)]
    return dict(next(r for r in rows if r["asked"] in ("auto", "-")))


def speed(name: str, megapixels: float = 12.0) -> str:
    """Megapixels per second."""
    return f"{speed_row(name, megapixels)['megapixels_per_second']:.2f}"


# --- how they are shown


def table(make: Callable[[], str]) -> Callable[[], str]:
    """The function makes the table of its own name, with hyphens for underscores."""
    TABLES[make.__name__.replace("_", "-")] = make
    return make


def markdown(head: Iterable[str], rows: Iterable[Iterable[str]], left: int = 1) -> str:
    """A Markdown table, whose first `left` columns are aligned to the left."""
    names = list(head)
    lines = [names, ["---"] * left + ["--:"] * (len(names) - left), *map(list, rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def ssim_text(value: float) -> str:
    """An SSIM without its leading zero, as the field prints it."""
    return f"{value:.4f}".lstrip("0")


# --- the models


@table
def models() -> str:
    """What each model is for, how good and how fast it is."""
    rows = []
    for name, use in USES.items():
        if name in GAUSSIANS:
            quality = f"CBSD68 {score(name, 'CBSD68', 'gaussian:25')['psnr']:.2f} dB"
        elif name in DENOISERS:
            quality = f"CC15 {measured('camera')['methods'][name]['psnr']:.2f} dB"
        elif "photo" in name:
            quality = MISSING
        else:
            scale = name.split("-")[1]
            quality = f"Set5 {score(name, 'Set5', f'bicubic:{scale[1:]}')['psnr']:.2f} dB"
        if name in DENOISERS:
            fast = speed(name)
        else:
            same = name.replace("photo-", "")  # the same layers
            fast = f"{measured('upscaling')['speed'][same.split('-')[1]][same]:.2f}"
        rows.append((f"`{name}`", use, quality, fast))
    return markdown(("model", "use it for", "quality (PSNR)", "megapixels/s"), rows, left=3)


@table
def sizes() -> str:
    """The size, the speed and the scores of the denoisers."""
    rows = []
    for name in DENOISERS:
        gaussian = "/".join(
            f" {score(name, 'CBSD68', f'gaussian:{level}')['psnr']:.2f} "
            for level in LEVELS
            if name in GAUSSIANS
        ).strip()
        rows.append(
            (
                f"`{name}`",
                f"{parameters(name) / 1e6:.2f} M",
                f"{gmac(name, 256 * 256):.1f}",
                speed(name),
                gaussian or MISSING,
                f"{measured('camera')['methods'][name]['psnr']:.2f}",
            )
        )
    head = ("", "parameters", "GMAC for 256x256", "megapixels/s", "CBSD68, sigma 15 / 25 / 50")
    return markdown((*head, "CC15"), rows)


# --- denoising


@table
def gaussian() -> str:
    """White noise, beside the published figures of FFDNet."""
    words = {
        "CBSD68": "CBSD68, 68 pictures",
        "Kodak24": "Kodak24, 24 pictures",
        "BSD68_gray": "BSD68_gray, 68 grey pictures",
        "Set12": "Set12, 12 grey pictures",
    }
    rows = []
    for data, text in words.items():
        ours = (score("denoise-gaussian", data, f"gaussian:{s}")["psnr"] for s in LEVELS)
        rows.append((text, " / ".join(f"{psnr:.2f}" for psnr in ours), FFDNET[data]))
    return markdown(("set", "`denoise-gaussian`", "FFDNet, published"), rows)


@table
def camera() -> str:
    """Real pairs of camera pictures."""
    ways = {
        "noisy": "noisy",
        "`denoise-photo`": "denoise-photo",
        "`denoise-photo --ensemble`": "denoise-photo, ensemble of 8",
        "`denoise-photo --sigma {}` (best of 4 to 30)": "denoise-photo, best sigma",
        "`denoise-photo --fast`": "denoise-photo-fast",
        "`denoise-gaussian`": "denoise-gaussian",
        "`denoise-gaussian --sigma {}` (best of 4 to 30)": "denoise-gaussian, best sigma",
        "`denoise-gaussian-fast --sigma {}` (best of 4 to 30)": "denoise-gaussian-fast, best sigma",
        "OpenCV non-local means, best strength": "OpenCV non-local means, best",
    }
    found = measured("camera")["methods"]
    rows = [
        (
            words.format(found[way].get("setting")),
            f"{found[way]['psnr']:.2f}",
            f"{found[way]['ssim']:.3f}",
        )
        for words, way in ways.items()
    ]
    return markdown(("CC15", "PSNR in dB", "SSIM"), rows)


@table
def jpeg() -> str:
    """JPEG artefacts."""
    scores = [score("denoise-photo", "LIVE1", f"jpeg:{quality}") for quality in (10, 20, 30, 40)]
    rows = [
        ("the JPEG itself", *(f"{s['noisy_psnr']:.2f}" for s in scores)),
        ("`denoise-photo`", *(f"{s['psnr']:.2f}" for s in scores)),
    ]
    return markdown(("LIVE1, JPEG quality", "10", "20", "30", "40"), rows)


@table
def harm() -> str:
    """What the default denoiser does to pictures without noise."""
    found = measured("harm")
    kinds = {"procedural patterns": found["patterns"], **found["clean"]}
    rows = [
        (
            kind,
            str(part["pictures"]),
            f"{part['min_psnr']:.1f}",
            f"{part['min_block_psnr']:.1f}",
            str(part["below_40_dB"]),
            str(part["unchanged"]),
            next(iter(part["worst"])),
        )
        for kind, part in kinds.items()
    ]
    head = (
        "clean",
        "pictures",
        "lowest",
        "worst 32x32",
        "below 40 dB",
        "unchanged",
        "the lowest is",
    )
    return markdown(head, rows)


@table
def harm_noisy() -> str:
    """The default denoiser on procedural patterns under noise."""
    cells = ("{mean_gain:+.2f}", "{min_gain:+.1f}", "{worse} of {pictures}")
    head = ("noise", "mean gain", "smallest", "made worse", "the worst is")
    return harm_by_noise("noisy patterns", head, cells)


@table
def harm_strength() -> str:
    """The gain of the default denoiser by the strength of camera noise."""
    cells = ("{mean_before:.2f}", "{mean_gain:+.2f}", "{min_gain:+.2f}")
    return harm_by_noise("strength", ("shot noise", "noisy", "mean gain", "smallest", "of"), cells)


def harm_by_noise(part: str, head: Iterable[str], cells: Iterable[str]) -> str:
    """A row for each noise: what the cells say of it, and the picture that fared worst."""
    rows = []
    for name, found in measured("harm")[part].items():
        values = {**found, "worse": found.get("worse_by_0.1_dB")}
        filled_in = (cell.format(**values) for cell in cells)
        rows.append((name.removeprefix("shot "), *filled_in, next(iter(found["worst"]))))
    return markdown(head, rows)


@table
def noise_level() -> str:
    """The mean error of the estimated noise level."""
    found = measured("noise_level")["rows"]
    sigmas = sorted({row["sigma"] for row in found})
    rows = []
    for method in ("restore", "scikit-image"):
        errors = {row["sigma"]: row["mean_error"] for row in found if row["method"] == method}
        rows.append((method, *(f"{errors[sigma]:.2f}" for sigma in sigmas)))
    return markdown(("sigma", *map(str, sigmas)), rows)


# --- upscaling


@table
def upscaling() -> str:
    """PSNR and SSIM beside published figures."""
    found = {(row["data"], row["model"]): row for row in measured("upscaling")["quality"]}
    rows = []
    for data in ("Set5", "Set14"):
        for words, name in UPSCALE.items():
            ours = [found[data, name.format(scale)] for scale in SCALES]
            scores = (f"{r['psnr']:.2f} / {ssim_text(r['ssim'])}" for r in ours)
            rows.append((f"{data}, {words}", *scores))
        rows += [
            (f"{data}, {name}", *cells) for (of, name), cells in UPSCALERS.items() if of == data
        ]
        cells = (f"{r['bicubic_psnr']:.2f} / {ssim_text(r['bicubic_ssim'])}" for r in ours)
        rows.append((f"{data}, bicubic", *cells))
    for words, name in UPSCALE.items():
        operations = (gmac(name.format(s), 1280 * 720 // s**2) for s in SCALES)
        rows.append((f"GMAC for 1280x720 pixels, {words}", *(f"{g:.0f}" for g in operations)))
    rows.append(("the same, VDSR", "613", "613", "613"))
    rows.append(("the same, EDSR-baseline", "316", "160", "114"))
    return markdown(("", "x2", "x3", "x4"), rows)


@table
def upscaling_speed() -> str:
    """Megapixels of the result per second."""
    found = measured("upscaling")["speed"]
    ways = {
        **{words: (name, ".1f") for words, name in UPSCALE.items()},
        "`--model bicubic`": ("restore --model bicubic", ".0f"),
        "OpenCV bicubic": ("OpenCV bicubic", ".0f"),
        "OpenCV Lanczos": ("OpenCV Lanczos", ".0f"),
        "Pillow Lanczos": ("Pillow Lanczos", ".0f"),
    }
    rows = [
        (
            words,
            *(
                format(found[f"x{s}"][name], digits) if name in found[f"x{s}"] else MISSING
                for s in SCALES
                for name in [way.format(s)]
            ),
        )
        for words, (way, digits) in ways.items()
    ]
    return markdown(("megapixels of the result per second", "x2", "x3", "x4"), rows)


def upscaling_precision() -> str:
    """The precision of the timed networks; by scale where it differs."""
    found = {f"x{s}": measured("upscaling")["speed"][f"x{s}"]["precision"] for s in SCALES}
    if len(set(found.values())) == 1:
        return next(iter(found.values()))
    return ", ".join(f"{used} ({scale})" for scale, used in found.items())


# --- files and batches


@table
def corpus() -> str:
    """Files that nobody made for this project: read, written and compared."""
    names = ("tried", "right", "refused", "differs", "crashed", "slow")
    rows = [
        (name, *(f"{found[key]:,}" for key in names))
        for name, found in measured("corpus")["corpora"].items()
    ]
    return markdown(("corpus", *names), rows)


@table
def attack() -> str:
    """What was done to runs and files, and that nothing was lost."""
    rows = []
    for name, row in measured("attack").items():
        rest = (f"{value:,} {words}" for words, value in row.items() if words not in TOLD)
        rows.append((name, f"{row['tried']:,}", ", ".join(rest), str(row["lost"])))
    return markdown(("attack", "how often", "what happened", "lost"), rows, left=3)


# --- speed and size


@table
def speed_12() -> str:
    """Ways to denoise 12 megapixels."""
    ours = [(f"**`{name}`**, the whole pipeline", name, "0 in float32") for name in GAUSSIANS]
    rows = [
        (words, f"**{speed(name)}**", f"**{speed_row(name, 12.0)['psnr']:.2f}**", difference)
        for words, name, difference in ours
    ]
    for name in GAUSSIANS:
        row = speed_row(name, 12.0)
        rows.append(
            (
                f"`{name}`, untiled",
                f"{12 / row['untiled_seconds']:.2f}",
                f"{row['psnr']:.2f}",
                MISSING,
            )
        )
    for name in GAUSSIANS:
        alone = speed(f"{name} convolutions alone")
        rows.append(
            (f"the 3x3 convolutions of `{name}` alone, in the cache", alone, MISSING, MISSING)
        )
    for peer in ("Real-ESRGAN", "SwinIR", "MONAI"):
        row = speed_row(f"{peer}'s tiles", 12.0)
        levels = f"{row['largest_difference_from_untiled'] * 255:.0f}"
        words = f"`denoise-gaussian` in tiles as {peer} makes them"
        rows.append((words, speed(f"{peer}'s tiles"), f"{row['psnr']:.2f}", levels))
    classical = {
        "OpenCV non-local means": "OpenCV NLM",
        "wavelets (scikit-image)": "wavelet",
        "total variation (scikit-image)": "TV",
    }
    for words, name in classical.items():
        rows.append((words, speed(name), f"{speed_row(name, 12.0)['psnr']:.2f}", MISSING))
    head = ("", "megapixels/s", "PSNR in dB", "largest difference from untiled, of 255 levels")
    return markdown(head, rows)


@table
def speed_by_size() -> str:
    """Speed and memory by the size of the picture."""
    rows = []
    for name in (*GAUSSIANS, "OpenCV NLM"):
        found = [speed_row(name, megapixels) for megapixels in (1.0, 12.0, 24.0)]
        words = "OpenCV non-local means" if name == "OpenCV NLM" else f"`{name}`"
        speeds = (f"{row['megapixels_per_second']:.2f}" for row in found)
        memory = (f"{row['peak_bytes'] / 1e6:,.0f} MB" for row in found[1:])
        rows.append((words, *speeds, *memory))
    head = ("", "1 MP", "12 MP", "24 MP", "memory at 12 MP", "memory at 24 MP")
    return markdown(head, rows)


@table
def bf16() -> str:
    """What half precision on a CPU costs."""
    rows = []
    for name in GAUSSIANS:
        row = speed_row(name, 12.0)
        millions = (1 - row["within_one_level_of_fp32"]) * 1e6
        rows.append((f"`{name}`", f"{row['psnr_less_than_fp32']:.3f} dB", f"{millions:.1f}"))
    head = ("12 MP in bf16", "PSNR below float32", "values in a million more than one level off")
    return markdown(head, rows)


@table
def engines() -> str:
    """The engines, on a CPU with matrix units."""
    return engine_table("engines")


@table
def engines_without() -> str:
    """The same on that CPU without its matrix units."""
    return engine_table("engines-avx512")


def engine_rows(name: str) -> dict[tuple[str, str, int], dict[str, Any]]:
    """What was measured, by model, way and megapixels; 0 for the convolutions alone."""
    return {
        (row["model"], row["way"], round(row.get("megapixels", 0))): row
        for row in measured(name)["rows"]
    }


def engine_table(name: str) -> str:
    """Megapixels per second of each way, by model and size, and by how much OpenVINO is faster."""
    found = engine_rows(name)
    sizes = sorted({size for _, _, size in found if size})
    columns = [(model, size) for model in GAUSSIANS for size in sizes]
    rows = []
    for way in dict.fromkeys(way for _, way, _ in found):
        cells = [
            found.get((model, way, 0 if "alone" in way and size == sizes[0] else size))
            for model, size in columns
        ]
        rows.append((way, *(f"{cell['rate']:.2f}" if cell else MISSING for cell in cells)))
    best = [
        [fastest_of(found, model, engine, size) for engine in ("openvino", "torch")]
        for model, size in columns
    ]
    ratios = (f"{a['rate'] / b['rate']:.2f}" if a and b else MISSING for a, b in best)
    rows.append(("openvino : torch, each in its faster precision", *ratios))
    heads = (f"{f'`{model}`, ' if size == sizes[0] else ''}{size} MP" for model, size in columns)
    return markdown(("megapixels/s", *heads), rows)


def fastest_of(
    found: dict[tuple[str, str, int], dict[str, Any]], model: str, engine: str, size: int
) -> dict[str, Any] | None:
    """What was measured of an engine in its faster precision; None where nothing was."""
    rows = (
        row
        for (of, way, megapixels), row in found.items()
        if (of, megapixels) == (model, size) and way.startswith(engine)
    )
    return max(rows, key=lambda row: float(row["rate"]), default=None)


@table
def engines_start() -> str:
    """What the first picture of a process takes with each engine, and the memory of a large one."""
    found, rows = engine_rows("engines"), []
    smallest, sizes = min(size for _, _, size in found if size), large_sizes(found)
    for model, way in dict.fromkeys((model, way) for model, way, size in found if size):
        row = found.get((model, way, smallest))
        if row is None or way.startswith("OpenCV"):
            continue
        times = (row["cold"], row["cached"], row["seconds"])
        seconds = (f"{value:.1f} s" if value is not None else MISSING for value in times)
        peaks = (found.get((model, way, size), {}).get("peak_bytes") for size in sizes)
        memory = (f"{peak / 1e6:,.0f} MB" if peak is not None else MISSING for peak in peaks)
        rows.append((f"`{model}`, {way}", *seconds, *memory))
    head = (f"{smallest} MP", "first picture, empty cache", "first picture, from the cache")
    return markdown((*head, "later pictures", *(f"memory at {size} MP" for size in sizes)), rows)


def large_sizes(found: dict[tuple[str, str, int], dict[str, Any]]) -> list[int]:
    """The megapixels of the large pictures whose memory was measured."""
    return sorted(
        {size for (_, _, size), row in found.items() if size >= 12 and "peak_bytes" in row}
    )


def engine_machine(name: str) -> str:
    """On what the engines were measured, in words."""
    found = measured(name)
    threads = "one thread" if found["threads"] == 1 else f"{found['threads']} threads"
    load = found["load"]
    others = "while others used both cores" if load is None else f"at a load of {load:.1f} before"
    return f"{threads} of an {found['processor'].replace('(R)', '')}, {others}"


def engine_limit() -> str:
    """What the second table of engines shows, in words."""
    if limit := measured("engines-avx512")["limit"]:
        return (
            f"The same on a CPU that is kept from using its matrix units "
            f"(`ONEDNN_MAX_CPU_ISA={limit}`, which torch and OpenVINO heed; ONNX Runtime has no "
            "kernels for them in float32). That is no other machine, but computes like one"
        )
    return "The same on a CPU without matrix units"


@table
def engines_verdict() -> str:
    """What the tables of engines say, in sentences that hold whatever was measured."""
    names = ("engines", "engines-avx512")
    speeds = {name: engine_ratios(name, lambda row: float(row["rate"])) for name in names}
    large = large_sizes(engine_rows("engines"))
    memory = engine_ratios("engines", lambda row: float(row["peak_bytes"]), large)
    every = [ratio for name in names for ratio in speeds[name]]
    ahead = sum(ratio >= GAIN for ratio in every)
    where = "at every size that was measured" if ahead == len(every) else "nowhere"
    if 0 < ahead < len(every):
        where = f"in {ahead} of the {len(every)} cases"
    words = (
        f"With matrix units OpenVINO has {spread(speeds['engines'])} times the speed of torch, the "
        f"package's own engine; without them, {spread(speeds['engines-avx512'])} times. "
        f"It is ahead by 5 % or more {where}."
    )
    if memory:
        sizes = " and ".join(f"{size} MP" for size in large)
        words += f" At {sizes} its memory is {spread(memory)} times that of torch."
    if measured("engines")["threads"] == 1:
        words += " (OpenCV's filter takes all cores, whatever it is told.)"
    return words + "\n"


def engine_ratios(
    name: str, value: Callable[[dict[str, Any]], float], sizes: Iterable[int] | None = None
) -> list[float]:
    """OpenVINO's value over torch's, each in its faster precision, by model and size.

    sizes: in megapixels; None: all that were measured
    """
    found = engine_rows(name)
    cells = {(model, size) for model, _, size in found if size and (sizes is None or size in sizes)}
    pairs = [
        [fastest_of(found, model, engine, size) for engine in ("openvino", "torch")]
        for model, size in sorted(cells)
    ]
    return [value(one) / value(other) for one, other in pairs if one and other]


def spread(values: list[float]) -> str:
    """The least and the most, in words."""
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"


@table
def community() -> str:
    """Networks of other projects, tiled against untiled."""
    rows = [
        (
            row["architecture"],
            str(row["scale"]),
            str(row["halo"]),
            f"blended over {2 * row['blend']} pixels" if row["blend"] else "equal the whole",
            f"{row['most']:.2g}",
            f"{row['mean']:.2g}",
        )
        for row in measured("community")
    ]
    head = ("architecture", "scale", "halo", "tiles", "largest difference", "mean difference")
    return markdown(head, rows)


@table
def gpu() -> str:
    """What an H100 reached, and what it would allow at most."""
    found = {
        (row["model"], row["megapixels"], row["way"]): row for row in measured("gpu")["speeds"]
    }
    rows = []
    for name, megapixels in itertools.product(GPU_NETWORKS, (1.0, 12.0)):
        row = found[name, megapixels, "network"]
        share = max(row["of_arithmetic"], row["of_memory"])
        rates = (found[name, megapixels, way]["rate"] for way in ("network", "engine", "pipeline"))
        rows.append(
            (
                f"`{GPU_NETWORKS[name]}`, {megapixels:.0f} MP",
                f"{row['rate'] / share:,.0f}",
                *(f"{rate:,.0f}" if rate > 10 else f"{rate:.1f}" for rate in rates),
            )
        )
    head = (
        "megapixels/s",
        "limit of the card",
        "network alone",
        "array to array",
        "8 bits to 8 bits",
    )
    return markdown(head, rows)


@table
def gpu_checks() -> str:
    """How far results on a GPU are from those of a CPU."""
    rows = []
    for name, shown in {**GPU_NETWORKS, "upscale-x2": "upscale-x2"}.items():
        figures = [row["figure"] for row in measured("gpu")["checks"] if row["model"] == name]
        exact, tiled, _, _, decibels, levels = figures[:6]
        rows.append(
            (
                f"`{shown}`",
                f"{exact:.1e}",
                f"{tiled:.1e}",
                f"{decibels:.1f} dB",
                f"{255 * levels:.2f}",
            )
        )
    head = ("", "float32: GPU from CPU", "tiles from the whole", "half precision", "levels of 255")
    return markdown(head, rows)


# --- autoencoders


@table
def web() -> str:
    """`restore web` with many clients, with clients that hang up, and with damaged files."""
    found = measured("web_load")
    load, left, fuzz = found["load"], found["hang_up"], found["fuzz"]
    answered = load["statuses"].get("200", 0)
    refused = sum(count for status, count in fuzz["statuses"].items() if status != "200")
    more = (found["memory_of_load_bytes"] - found["memory_before_bytes"]) / 1e6
    rows = [
        ("clients at once, each with one picture after another", f"{load['clients']}"),
        ("requests, answered with the right picture", f"{answered} of {load['requests']}"),
        ("results mixed up", f"{load['mixed_up']}"),
        ("the longest wait for a picture, on two cores", f"{load['longest_seconds']:.1f} s"),
        ("memory beyond that of one request", f"{more:.0f} MB"),
        (
            "all places free after all clients hung up",
            f"within {max(0.1, left['free_after_seconds']):.1f} s",
        ),
        ("damaged files: restored, refused", f"{fuzz['files'] - refused:,}, {refused:,}"),
    ]
    return markdown(("", ""), rows)


@table
def family() -> str:
    """The autoencoder family on MNIST."""

    def three(value: float) -> str:
        """Three digits that count."""
        digits = len(str(int(value)))
        return f"{round(value, 3 - digits):,.0f}" if digits > 3 else f"{value:,.0f}"

    rows = [
        (
            row["name"],
            f"{row['error']:.2f}",
            f"{100 * row['accuracy']:.1f} %",
            f"{row['parameters']:,}",
            f"{row['seconds']:.1f}" if row["seconds"] < 1 else f"{row['seconds']:.0f}",
            three(row["trained_per_second"]),
            three(row["applied_per_second"]),
        )
        for row in measured("autoencoders")["table"]
    ]
    head = ("", "error", "probe", "parameters", "seconds to train")
    return markdown((*head, "pictures/s, training", "pictures/s, applied (fp32)"), rows)


@table
def anomalies() -> str:
    """AUROC of anomaly detection, each digit the normal one in turn."""
    found = measured("anomalies")
    rows = [
        (kind, *(f"{row['auroc'][str(digit)]:.3f}" for digit in range(10)), f"{row['mean']:.3f}")
        for kind, row in found.items()
    ]
    return markdown(("normal digit", *map(str, range(10)), "mean"), rows)


# --- single numbers


def single_numbers() -> dict[str, str]:
    """The numbers that stand within sentences, by their names."""
    batch, fuzz, giant = measured("batch"), measured("fuzz"), measured("gigapixel")
    jpeg = measured("large_jpeg")
    training, alone = measured("training_speed"), measured("autoencoders")["alone"]
    errors = {row["name"]: row["error"] for row in measured("autoencoders")["table"]}
    width, height = giant["size"]
    large, fast, nlm = (speed_row(name, 12.0) for name in (*GAUSSIANS, "OpenCV NLM"))
    colour = [row["levels"] for row in measured("upscaling")["colour"].values()]
    low, high = alone["sparse, a tenth of the units below and above"]
    gaussian, masked = (
        alone["vanilla and denoising on gaussian 0.3"],
        alone["vanilla and denoising on masking 0.5"],
    )
    return {
        "harm.pairs": f"{measured('harm')['pairs']['min_gain']:.2f}",
        "batch.pictures": str(batch["pictures"]),
        "batch.megapixels": f"{batch['megapixels']:.0f}",
        "batch.seconds": f"{batch['seconds']:.0f}",
        "batch.network": f"{100 * batch['network_share']:.1f} %",
        "batch.alone": f"{batch['network_seconds_alone']:.0f}",
        "batch.ratio": f"{batch['throughput_ratio']:.2f}",
        "fuzz.files": f"{fuzz['files']:,}",
        "fuzz.kinds": str(len(fuzz["kinds"])),
        "fuzz.bad": str(sum(_count(fuzz[k]) for k in ("crashes", "hangs", "other_exceptions"))),
        "fuzz.slowest": f"{fuzz['slowest_seconds']:.0f}",
        "giant.size": f"{width:,} x {height:,}",
        "giant.killed": f"{giant['seconds_until_killed']:.0f}",
        "giant.seconds": f"{giant['seconds_until_killed'] + giant['seconds_of_the_rest']:.0f}",
        "giant.peak": f"{giant['peak_of_the_process_bytes'] / 1e9:.2f} GB",
        "jpeg.size": " x ".join(f"{side:,}" for side in jpeg["size"]),
        "jpeg.seconds": f"{jpeg['seconds']:.0f}",
        "jpeg.peak": f"{jpeg['peak_of_the_process_bytes'] / 1e9:.1f} GB",
        "jpeg.pixel": f"{jpeg['bytes_of_a_pixel']:.0f}",
        "upscaling.colour": f"{max(colour):.1f}",
        "upscaling.precision": upscaling_precision(),
        "engines.machine": engine_machine("engines"),
        "engines.machine-without": engine_machine("engines-avx512"),
        "engines.limit": engine_limit(),
        "speed.large": f"{large['seconds'] / nlm['seconds']:.2f}",
        "speed.fast": f"{fast['seconds'] / nlm['seconds']:.2f}",
        "speed.gain": f"{fast['psnr'] - nlm['psnr']:.1f}",
        "startup.ratio": " and ".join(
            f"{row['over_least']:.2f}" for row in measured("startup")["rows"]
        ),
        "startup.refusal": "{missing file:.2f}".format(
            **measured("startup")["rows"][0]["processor_seconds"]
        ),
        "training.step": f"{training['step_tflops']:.2f}",
        "training.peak": f"{training['convolution_tflops_of_the_mix']:.2f}",
        "training.fraction": f"{training['fraction']:.2f}",
        "cluster.pictures": str(measured("cluster")["pictures"]),
        "cluster.difference": str(measured("cluster")["largest_difference"]),
        "cluster.speedup": f"{measured('cluster')['speedup']:.2f}",
        "cluster.worker": f"{cluster_cpu('workers'):.2f}",
        "cluster.rest": f"{cluster_cpu('rest'):.2f}",
        "cluster.written": str(measured("cluster")["killed"]["written"]),
        "cluster.failed": str(measured("cluster")["killed"]["failed"]),
        "finetune.before": f"{measured('finetune')['held out']['before']:.2f}",
        "finetune.after": f"{measured('finetune')['held out']['after']:.2f}",
        "finetune.others": f"{measured('finetune')['other pictures']['before']:.2f} to "
        f"{measured('finetune')['other pictures']['after']:.2f}",
        **{
            f"selfsupervised.{name}": f"{measured('self_supervised')[name]['psnr']:.2f}"
            for name in ("supervised", "shots", "neighbours")
        },
        **{
            f"selfsupervised.spread.{name}": f"{found if name == 'noisy' else found['psnr']:.2f}"
            for name, found in measured("self_supervised")["spread"].items()
        },
        "family.pixels": f"{100 * alone['probe of the pixels']:.1f} %",
        "family.linear": f"{errors['linear'] / errors['pca']:.3f}",
        "family.angle": f"{alone['linear, largest angle to pca']:.1f}",
        "family.convolutional": f"{errors['convolutional']:.2f}",
        "family.vanilla": f"{errors['vanilla']:.2f}",
        "family.denoising": f"{errors['denoising']:.2f}",
        "family.stacked": f"{errors['stacked']:.2f}",
        "family.elbo20": f"{alone['negative ELBO, code 20']:.1f}",
        "family.elbo30": f"{alone['negative ELBO, code 30']:.1f}",
        "family.activation": f"{alone['sparse, target and mean activation'][1]:.4f}",
        "family.low": f"{low:.3f}",
        "family.high": f"{high:.3f}",
        "family.layer": f"{100 * alone['sparse, probe of the whole layer']:.1f} %",
        "family.gaussian.vanilla": f"{gaussian[0]:.2f}",
        "family.gaussian.denoising": f"{gaussian[1]:.2f}",
        "family.masked.vanilla": f"{masked[0]:.2f}",
        "family.masked.denoising": f"{masked[1]:.2f}",
    }


def _count(found: Any) -> int:
    """A number, or the length of a list of cases."""
    return found if isinstance(found, int) else len(found)


# --- the pages


def filled(text: str) -> str:
    """The text of a page with its numbers as they were measured."""
    numbers = single_numbers()
    text = BLOCK.sub(lambda m: m[1] + TABLES[m[2]]() + m[3], text)
    return INLINE.sub(lambda m: m[1] + numbers[m[2]] + m[3], text)


def main() -> int:
    """Fill in the pages, or check them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="exit 1 where a page is out of date")
    check = parser.parse_args().check
    stale = []
    for page in PAGES:
        old = page.read_text(encoding="utf-8")
        new = filled(old)
        if new != old:
            stale.append(page.relative_to(ROOT))
            if not check:
                page.write_text(new, encoding="utf-8")
    for name in stale:
        sys.stdout.write(f"{name} {'is out of date' if check else 'was updated'}\n")
    if check and stale:
        sys.stdout.write("run `python docs/fill_numbers.py`\n")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
