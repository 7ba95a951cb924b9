"""The way over a GPU: whether it is right, and how near it comes to what the card allows.

    python benchmarks/gpu.py check [--models ...] [--json check.json]
    python benchmarks/gpu.py speed [--models ...] [--megapixels 1,12,24,100] [--repeats 5]
                                   [--teraflops 989 --terabytes 3.35] [--json speed.json]
    python benchmarks/gpu.py profile [--models ...] [--megapixels 64] --json trace.json.gz

check: in float32 the picture of the CPU, within 1e-5; tiles as the whole; the same bits with and
without streams of its own; small pictures at once as each alone; the same picture after memory ran
out; no more memory than planned; and how far half precision is from float32. It ends with an error
if one of these does not hold.

speed: the network alone, on a tensor that is on the device already, plain, with cuDNN's own search
for the fastest kernels, as a CUDA graph and (the smallest size only) compiled; the engine, array to
array; the pipeline, 8 bits to 8 bits. Beside each the share of what arithmetic or memory would
allow (`floors.py`; the defaults are the maker's figures for an NVIDIA H100 SXM: dense half
precision, and memory).

profile: one run of the engine in tiles, as torch's profiler saw it, for a viewer of Chrome traces.

The file is written anew after each row, so that what was found is kept if the time ends. With
`--device cpu` all three run on a CPU, which shows no more than that the script works.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import itertools
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from floors import counted
from speed import picture as noisy_picture

from restore.engine import transfer
from restore.engine.backend import padded_array
from restore.engine.compute import Resources
from restore.engine.device import choose_device, choose_precision, device_name
from restore.engine.memory import cuda_pixels
from restore.engine.prepare import prepare
from restore.engine.run import run_array, run_together
from restore.models.network import keeping
from restore.models.weights import load_model
from restore.pipeline.picture import denoise, upscale

picture = functools.lru_cache(1)(noisy_picture)  # the ways of one size come one after the other
CPU, FP32 = torch.device("cpu"), torch.float32
MODELS = "denoise-gaussian,denoise-gaussian-fast"
WITHIN = 1e-5
TILE = 1024  # pixels; so small that many copies are seen in a profile
Row = dict[str, Any]


def told(name: str) -> Any:
    """A model, conditioned on some noise if it is conditioned on any."""
    network = load_model(name)
    return (
        network.conditioned_on(*[10.0] * network.noise_inputs) if network.noise_inputs else network
    )


# ---- whether it is right


def check(name: str, device: torch.device, megapixels: float) -> Iterator[tuple[str, float, bool]]:
    """What was looked at, the figure, and whether it is as promised."""
    _, noisy = picture(megapixels)
    pixels = noisy.astype(np.float32) / 255
    network = keeping(told(name))
    exact = Resources(device, FP32, engine="torch")
    on_cpu = run_array(network, pixels, Resources(CPU, FP32, engine="torch")).pixels
    whole = run_array(network, pixels, exact).pixels
    apart = apart_of(whole, on_cpu)
    yield "float32: largest difference from the CPU", apart, apart <= WITHIN
    tiled = run_array(network, pixels, dataclasses.replace(exact, tile=512))
    apart = apart_of(tiled.pixels, whole)
    yield f"{tiled.plan.tiles} tiles: from the whole", apart, apart <= WITHIN
    with no_streams():
        plain = run_array(network, pixels, dataclasses.replace(exact, tile=512)).pixels
    apart = apart_of(plain, tiled.pixels)
    yield "without streams: from the same with them", apart, apart == 0
    small = [np.ascontiguousarray(pixels[:64, start : start + 64]) for start in (0, 16, 32)]
    together = run_together(network, small, exact)
    singly = [run_array(network, each, exact).pixels for each in small]
    apart = max(apart_of(a.pixels, b) for a, b in zip(together, singly, strict=True))
    yield f"{together[0].plan.batch} pictures at once: from each alone", apart, apart <= WITHIN
    half = Resources(device, choose_precision("auto", device), engine="torch")
    found = run_array(network, pixels, half)
    error = float(np.square(found.pixels - whole).mean())
    decibels, apart = -10 * math.log10(max(error, 1e-20)), apart_of(found.pixels, whole)
    yield f"{found.plan.dtype}: decibels to float32", decibels, decibels > 50
    yield f"{found.plan.dtype}: largest difference", apart, apart < 4 / 255
    if device.type == "cuda":
        yield from check_memory(network, pixels, exact, whole)


def check_memory(
    network: Any, pixels: Any, exact: Resources, whole: Any
) -> Iterator[tuple[str, float, bool]]:
    """Memory as planned; and the same picture where the card has a fifth of what it would take.

    cuDNN takes more than was planned where that is free, so a fifth of the plan is taken if it is
    less.
    """
    device = exact.device
    index = torch.cuda.current_device() if device.index is None else device.index
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    plan = run_array(network, pixels, exact).plan
    taken = torch.cuda.max_memory_allocated(device) - before
    yield "bytes taken, of those planned", taken / plan.memory, taken <= plan.memory
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.empty_cache()
    least = min(taken, plan.memory) / 5
    torch.cuda.set_per_process_memory_fraction((before + least) / total, index)
    try:
        found = run_array(network, pixels, exact)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, index)
    apart, smaller = apart_of(found.pixels, whole), found.plan.tiles > plan.tiles
    holds = smaller and apart <= WITHIN
    yield f"out of memory, then {found.plan.tiles} tiles: difference", apart, holds


def apart_of(one: Any, other: Any) -> float:
    """The largest difference."""
    return float(np.abs(one - other).max())


@contextmanager
def no_streams() -> Iterator[None]:
    """Transfers one after the other."""
    real = transfer.streams_of
    transfer.streams_of = lambda device: None
    try:
        yield
    finally:
        transfer.streams_of = real


# ---- how fast it is


def timed(run: Callable[[], Any], device: torch.device, repeats: int) -> float:
    """Seconds of a run, the mean of several in a row, after two that do not count."""
    for _ in range(2):
        run()
    wait(device)
    began = time.perf_counter()
    for _ in range(repeats):
        run()
    wait(device)
    return (time.perf_counter() - began) / repeats


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def plain(network: Any, x: torch.Tensor) -> Callable[[], Any]:
    """The network as the engine runs it."""
    return lambda: network(x)


def searched(network: Any, x: torch.Tensor) -> Callable[[], Any]:
    """The network with the kernels that cuDNN finds to be the fastest."""
    cudnn = torch.backends.cudnn

    def run() -> None:
        before, cudnn.benchmark = cudnn.benchmark, True
        network(x)
        cudnn.benchmark = before

    return run


def graphed(network: Any, x: torch.Tensor) -> Callable[[], Any]:
    """The network as a CUDA graph: all its kernels started at once."""
    with torch.cuda.device(x.device):  # a graph is captured on the current device
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                network(x)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            network(x)
    return graph.replay


def compiled(network: Any, x: torch.Tensor) -> Callable[[], Any]:
    """The network as torch compiles it for this size."""
    return plain(torch.compile(network, mode="max-autotune-no-cudagraphs", dynamic=False), x)


ALONE = {
    "network": plain,
    "network, cuDNN's search": searched,
    "network, CUDA graph": graphed,
    "network, compiled": compiled,
}


def jobs(models: list[str], sizes: list[float], cuda: bool) -> Iterator[tuple[str, float, str]]:
    """Models, megapixels and ways: what may fail comes last, and what takes a minute is done once.

    Of the ways of the network alone, a CPU has only the first.
    """
    first, search, graph, slow = ALONE
    for size, name in itertools.product(sizes, models):
        for way in (first, search, "engine", "pipeline") if cuda else (first, "engine", "pipeline"):
            yield name, size, way
    if cuda:
        yield from ((name, size, graph) for size, name in itertools.product(sizes, models))
        yield from ((name, sizes[0], slow) for name in models)


@torch.inference_mode()
def network_rate(name: str, device: torch.device, noisy: Any, way: str, repeats: int) -> float:
    """Megapixels per second of the network alone, on what lies on the device: one tile at most."""
    network = told(name)
    pixels = noisy.astype(np.float32) / 255
    padded = padded_array(pixels, network.multiple_of, network.border)
    rows = max(8, cuda_pixels(network) // padded.shape[1] // 8 * 8)
    x = torch.from_numpy(padded[:rows]).to(device).permute(2, 0, 1)[None]
    run = ALONE[way](prepare(network, device, choose_precision("auto", device)), x)
    return x.shape[2] * x.shape[3] / 1e6 / timed(run, device, repeats)


def rate(name: str, device: torch.device, size: float, way: str, repeats: int) -> float:
    """Megapixels of the input per second."""
    noisy = picture(size)[1]
    if way in ALONE:
        return network_rate(name, device, noisy, way, repeats)
    network = told(name)
    if way == "engine":
        cached, pixels = keeping(network), noisy.astype(np.float32) / 255
        resources = Resources(device, choose_precision("auto", device), engine="torch")
        seconds = timed(lambda: run_array(cached, pixels, resources), device, repeats)
    else:
        restore: Any = upscale if network.scale > 1 else denoise
        given = {"scale": network.scale} if network.scale > 1 else {}
        run = functools.partial(restore, noisy, model=network, device=str(device), **given)
        seconds = timed(run, device, repeats)
    return noisy.shape[0] * noisy.shape[1] / 1e6 / seconds


def speeds(asked: argparse.Namespace, device: torch.device) -> Iterator[Row]:
    """A row for each way, model and size."""
    models, sizes = asked.models.split(","), sorted(map(float, asked.megapixels.split(",")))
    limits = {}
    for name in models:
        operations, traffic = counted(name)
        limits[name] = asked.teraflops * 1e6 / operations, asked.terabytes * 1e6 / traffic
    for name, size, way in jobs(models, sizes, device.type == "cuda"):
        found = rate(name, device, size, way, asked.repeats)
        arithmetic, memory = (found / limit for limit in limits[name])
        row = {"model": name, "megapixels": size, "way": way, "rate": found}
        yield row | {"of_arithmetic": arithmetic, "of_memory": memory}
        print(
            f"{name:<22} {size:>5} MP  {way:<24} {found:8.1f} MP/s  "
            f"{arithmetic:.2f} of arithmetic, {memory:.2f} of memory",
            flush=True,
        )


def checks(asked: argparse.Namespace, device: torch.device) -> Iterator[Row]:
    """A row for each thing that was looked at."""
    size = float(asked.megapixels.split(",")[0])
    for name in asked.models.split(","):
        for what, figure, holds in check(name, device, size):
            yield {"model": name, "what": what, "figure": figure, "holds": holds}
            print(f"{'ok  ' if holds else 'NOT '} {name:<22} {what:<50} {figure:.3g}", flush=True)


def profile(asked: argparse.Namespace, device: torch.device) -> None:
    """Write what the device and the CPU did, and when, in the second of two runs."""
    network = keeping(told(asked.models.split(",")[0]))
    pixels = picture(float(asked.megapixels))[1].astype(np.float32) / 255
    resources = Resources(device, choose_precision("auto", device), tile=TILE, engine="torch")
    run_array(network, pixels, resources)
    with torch.profiler.profile() as seen:
        run_array(network, pixels, resources)
    seen.export_chrome_trace(str(asked.json))


def main() -> None:
    """Check or measure, print, store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=["check", "speed", "profile"])
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--megapixels", default="1")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--teraflops", type=float, default=989)
    parser.add_argument("--terabytes", type=float, default=3.35)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    if asked.task == "profile" and not asked.json:
        parser.error("a profile needs --json FILE, for example --json trace.json.gz")
    device, rows = choose_device(asked.device), list[Row]()
    if asked.json:
        asked.json.parent.mkdir(parents=True, exist_ok=True)
    if asked.task == "profile":
        profile(asked, device)
        return
    for row in (checks if asked.task == "check" else speeds)(asked, device):
        rows.append(row)
        if asked.json:
            found = {"device": device_name(device), "torch": torch.__version__, "rows": rows}
            asked.json.write_text(json.dumps(found, indent=1) + "\n")
    if not all(row.get("holds", True) for row in rows):
        raise SystemExit("not all holds")


if __name__ == "__main__":
    main()
