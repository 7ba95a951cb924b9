"""`restore devices`: what this machine can compute with, how fast it is, and what auto takes."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Annotated, Any

import typer

from restore.cli.console import Debug, err, examples, out, rows

if TYPE_CHECKING:
    import torch

    from restore.engine.backend import Plan
    from restore.engine.compute import Resources
    from restore.engine.speeds import Speed
    from restore.image.picture import Pixels
    from restore.models.network import Network

EPILOG = examples("restore devices", "restore devices --measure")
MODELS = ("denoise-photo", "denoise-photo-fast")  # both sizes of the default
SIDES = (816, 1224)  # of the picture that is measured with
SIZES = (1, 12, 24, 100)  # megapixels for which it is told what auto takes


def command(
    again: Annotated[bool, typer.Option("--measure", help="Measure the speeds again.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Debug = False,
) -> None:
    """List the devices: precision, memory, speed, and what --engine auto takes.

    Speeds are measured the first time, which takes a minute, and kept.
    """
    from restore.engine.device import available_devices, choose_devices
    from restore.engine.speeds import read_speeds

    first = available_devices()[0]
    devices = choose_devices("all") + (choose_devices("cpu") if first != "cpu" else [])
    found = []
    for device in devices:
        speeds = [] if again or device.type != "cpu" else read_speeds()
        found.append(described(device, speeds or measured(device)))
    if as_json:
        out().print_values(found, 2)
        return
    for one in found:
        out().print(one["device"], soft_wrap=True)
        rows(lines(one))


def measured(device: torch.device) -> list[Speed]:
    """The speed of each engine with both sizes of the default model; of a CPU, it is kept."""
    from restore.engine.compute import Resources, installed_engines
    from restore.engine.device import choose_precision, precision_name
    from restore.engine.speeds import measure, write_speeds
    from restore.models.network import keeping
    from restore.models.weights import load_own

    dtype, speeds = choose_precision("auto", device), []
    pixels = picture()
    for model in MODELS:
        network = load_own(model)
        told = network.conditioned_on(*[10.0] * network.noise_inputs)
        cached = keeping(told)
        for engine in installed_engines() if device.type == "cpu" else ["torch"]:
            err().print(f"measuring {model} with {engine} ...", soft_wrap=True)
            resources = Resources(device, dtype, engine=engine)
            run = functools.partial(planned, cached, pixels, resources)
            speeds.append(measure(model, told, precision_name(dtype), engine, run))
    if device.type == "cpu" and not write_speeds(speeds):
        err().print("note: the cache folder cannot be written to, so the speeds are not kept")
    return speeds


def planned(network: Network, pixels: Pixels, resources: Resources) -> Plan:
    """Run a network over a picture; the plan that was used."""
    from restore.engine.run import run_array

    return run_array(network, pixels, resources).plan


def picture() -> Pixels:
    """A megapixel of noise, as networks take as long for it as for any other picture."""
    import numpy as np

    return np.random.default_rng(0).random((*SIDES, 3), np.float32)


def described(device: torch.device, speeds: list[Speed]) -> dict[str, Any]:
    """A device: name, memory, precision and why, speeds, and the engine that auto takes."""
    from restore.engine.device import choose_precision, device_name, precision_name, why_precision
    from restore.engine.memory import format_bytes, free_memory
    from restore.engine.speeds import processor

    chosen = precision_name(choose_precision("auto", device))
    name = device_name(device)
    return {
        "device": f"{name}: {processor()}" if device.type == "cpu" else name,
        "memory": f"{format_bytes(free_memory(device))} free",
        "precision": f"{chosen}: {why_precision(device)}",
        "speeds": [dataclasses.asdict(speed) for speed in speeds],
        "auto": choices(device, speeds) if device.type == "cpu" else {},
    }


def choices(device: torch.device, speeds: list[Speed]) -> dict[str, str]:
    """For each model the engine that auto takes for a single picture, by its megapixels."""
    import numpy as np

    from restore.engine.backend import ArraySource, PaddedRows
    from restore.engine.compute import Resources
    from restore.engine.device import choose_precision
    from restore.engine.run import plans_of
    from restore.engine.speeds import GAIN, expected
    from restore.models.weights import load_model

    resources, found = Resources(device, choose_precision("auto", device)), {}
    for model in MODELS:
        network, taken = load_model(model), dict[str, list[str]]()
        own = {speed.engine: speed for speed in speeds if speed.model == model}
        for size in SIZES:
            height = round((size * 1e6 / 1.5) ** 0.5)
            blank = np.broadcast_to(np.float32(0), (height, height * 3 // 2, 3))
            source = PaddedRows(ArraySource(blank), network.multiple_of, network.border)
            seconds = expected(plans_of(network, resources, source, list(own)), own)
            total = {e: (s + own[e].again) * (e == "torch" or GAIN) for e, s in seconds.items()}
            best = min(total, key=lambda engine: total[engine], default="torch")
            taken.setdefault(best, []).append(str(size))
        found[model] = "; ".join(f"{e} for {', '.join(n)} MP" for e, n in taken.items())
    return found


def lines(one: dict[str, Any]) -> dict[str, str]:
    """What is printed of a device: a line for each model and engine, and what auto takes."""
    shown = {name: one[name] for name in ("memory", "precision")}
    for speed in one["speeds"]:
        waits = f", ready after {speed['first']:.1f} s, from the cache {speed['again']:.1f} s"
        words = f"{speed['rate']:.2f} MP/s" + (waits if speed["first"] else "")
        shown[f"{speed['model']}, {speed['engine']}"] = words
    return shown | {f"{model}, auto": taken for model, taken in one["auto"].items()}
