"""The engines that can run the networks on a CPU, cold and warm, beside a filter and a floor.

    python benchmarks/engines.py --json benchmarks/engines.json
    ONEDNN_MAX_CPU_ISA=AVX512_CORE python benchmarks/engines.py --megapixels 1,12 \\
                                   --json benchmarks/engines-avx512.json
    options: [--models denoise-gaussian,denoise-gaussian-fast] [--megapixels 1,12,24,100]
             [--repeats 3] [--minutes 8] [--no-floors]

Each way does the whole pipeline, 8-bit array to 8-bit array, in a process of its own. `cold` is the
first run in a fresh process with an empty cache folder, `cached` the same with what an earlier
process left there; torch and the picture are loaded before. After that all ways of a size run in
turns, so that a machine whose speed changes is as unfair to each: `seconds` is the median. In its
turn each runs twice, and the second run counts, as for the next picture of a folder: the memory of
a process that waited can be slow at first.
`peak_bytes` is the most memory above what the process had before its first run. A non-local means
filter and the network's 3x3 convolutions alone are for comparison. Run it on a quiet machine.

It ends after `--minutes`: the smallest size is measured in full, with all engines and precisions;
the larger ones with the faster precision of each engine, as often as the time allows; from 50
megapixels on once, after a small picture. What was left out is stored, too.

The second line is for a CPU with AMX, and keeps it from being used. oneDNN reads that variable, in
torch and in OpenVINO's own copy of it: `kernels` holds what each of them then took. ONNX Runtime
cannot be limited, and has no kernels in AMX for float32; OpenCV has none either. So it is what such
a CPU computes without its matrix units, and no measurement of another CPU.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from speed import MODELS, classical, measure, peak, picture

from restore.engine.compute import ENGINES, installed_engines

NLM, ALONE = "OpenCV NLM", "convolutions alone"
LONG = 50  # megapixels from which on a run is measured once
WARM_UP = 0.1  # megapixels
STARTING = 4.0  # seconds until a process is ready
MARGIN = 1.2  # times as long as expected a run may take
Row = dict[str, Any]


@dataclass(frozen=True)
class Way:
    """An engine in a precision, or a filter without a precision."""

    engine: str
    precision: str = ""

    @property
    def name(self) -> str:
        """As it is shown."""
        return f"{self.engine}, {self.precision}" if self.precision else self.engine


Rates = dict[tuple[str, Way], float]  # megapixels per second, by model and way


# ---- a process that measures one way


class Worker:
    """A process with a network and a picture, which runs when it is told to."""

    def __init__(self, model: str, way: Way, megapixels: float, cache: Path) -> None:
        """Start it, and wait until it is ready."""
        words = [model, way.engine, way.precision or "-", str(megapixels)]
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--work", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "XDG_CACHE_HOME": str(cache)},
        )
        self.peak_bytes = 0
        self._answer()

    def run(self, task: str = "run") -> float:
        """Seconds of one run."""
        assert self.process.stdin is not None
        self.process.stdin.write(task + "\n")
        self.process.stdin.flush()
        seconds, self.peak_bytes = self._answer()
        return float(seconds)

    def turn(self, twice: bool) -> float:
        """Seconds of one run, after one that does not count if `twice`."""
        if twice:
            self.run()
        return self.run()

    def _answer(self) -> list[Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("a process that measures has ended; its words are above")
        answer: list[Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


def work(model: str, engine: str, precision: str, megapixels: str) -> None:
    """The loop of a `Worker`: seconds and bytes for each line that comes."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    run, noisy = runner(model, Way(engine, precision)), picture(float(megapixels))[1]
    small = picture(WARM_UP)[1]
    before = peak()
    answers.write(json.dumps(["ready", 0]) + "\n")
    for line in sys.stdin:
        began = time.perf_counter()
        run(noisy if line.strip() == "run" else small)
        answers.write(json.dumps([time.perf_counter() - began, peak() - before]) + "\n")


def runner(model: str, way: Way) -> Callable[[Any], object]:
    """From a noisy picture to a clean one."""
    if way.engine == NLM:
        return classical(NLM)
    from restore.pipeline.picture import denoise

    settings: Any = {"device": "cpu", "precision": way.precision, "engine": way.engine}
    return functools.partial(denoise, model=model, **settings)


# ---- what is measured, and how often


@dataclass(frozen=True)
class Cell:
    """A model and a size, the ways that are compared there, and how many warm runs each has."""

    model: str
    megapixels: float
    ways: tuple[Way, ...]
    rounds: int = 1

    @property
    def cold(self) -> bool:
        """Whether a first run is measured; else a small picture comes first."""
        return self.megapixels < LONG

    def cost(self, rates: Rates) -> float:
        """Seconds that it is expected to take, by the megapixels per second of a smaller size."""
        runs = 2 * self.rounds + 1 if self.cold else self.rounds
        each = (self.megapixels / rates[self.model, way] for way in self.ways)
        return sum(STARTING + runs * MARGIN * seconds for seconds in each)


def planned(cells: list[Cell], rates: Rates, left: float, most: int) -> list[Cell]:
    """The cells that fit into the seconds that are left; most: warm runs.

    The cells come with the ways that must be compared; those with more ways, which are known by
    their rates, and with more runs, take the time that remains, what costs least first.
    """
    kept: dict[tuple[str, float], Cell] = {}
    for cell in sorted(cells, key=lambda cell: cell.cost(rates)):
        if cell.cost(rates) <= left:
            kept[cell.model, cell.megapixels] = cell
            left -= cell.cost(rates)
    while True:
        larger = [more for cell in kept.values() for more in enlarged(cell, rates, most)]
        prices = {
            more: more.cost(rates) - kept[more.model, more.megapixels].cost(rates)
            for more in larger
        }
        cheapest = min(prices, key=lambda more: prices[more], default=None)
        if cheapest is None or prices[cheapest] > left:
            return list(kept.values())
        kept[cheapest.model, cheapest.megapixels] = cheapest
        left -= prices[cheapest]


def enlarged(cell: Cell, rates: Rates, most: int) -> Iterable[Cell]:
    """The cell with one way more, and with one run more."""
    known = {way for model, way in rates if model == cell.model}
    taken = {way.engine for way in cell.ways}
    for way in known:
        if way.engine not in taken and way == fastest(cell.model, way.engine, rates):
            yield replace(cell, ways=(*cell.ways, way))
    if cell.cold and cell.rounds < most:
        yield replace(cell, rounds=cell.rounds + 1)


def fastest(model: str, engine: str, rates: Rates) -> Way:
    """An engine's faster precision."""
    of = {way: rate for (m, way), rate in rates.items() if (m, way.engine) == (model, engine)}
    return max(of, key=lambda way: of[way])


def all_ways() -> tuple[Way, ...]:
    """Every engine in every precision that it has, and the filter."""
    both = ("bf16", "fp32")
    found = [
        Way(engine, precision)
        for engine in installed_engines()
        for precision in (both if engine != "onnx" else ("fp32",))
    ]
    return (*found, Way(NLM))


def measured(cell: Cell, again: bool) -> Iterable[Row]:
    """A row for each way; again: whether a process with a full cache is measured, too."""
    with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as stack:
        workers, rows = {}, {}
        for number, way in enumerate(cell.ways):
            cache = Path(place) / str(number)
            worker = Worker(cell.model, way, cell.megapixels, cache)
            stack.callback(worker.close)
            row: Row = {"model": cell.model, "megapixels": cell.megapixels, "way": way.name}
            row |= {"rounds": cell.rounds, "cold": worker.run() if cell.cold else None}
            row["cached"] = None
            if not cell.cold:
                worker.run("small")
            if again and way.engine not in ("torch", NLM):
                second = Worker(cell.model, way, cell.megapixels, cache)
                row["cached"] = second.run()
                second.close()
            workers[way], rows[way] = worker, row
        turns = [
            {way: worker.turn(cell.cold) for way, worker in workers.items()}
            for _ in range(cell.rounds)
        ]
        for way, row in rows.items():
            seconds = statistics.median(turn[way] for turn in turns)
            row |= {"seconds": seconds, "rate": cell.megapixels / seconds}
            row["peak_bytes"] = workers[way].peak_bytes
            print(told(row), flush=True)
            yield row


def told(row: Row) -> str:
    """A row in words."""
    waits = (f"{name} {row[name]:.1f} s" for name in ("cold", "cached") if row[name])
    return (
        f"{row['model']:<22} {row['megapixels']:>5g} MP  {row['way']:<15} {row['rate']:6.2f} MP/s, "
        f"{row['peak_bytes'] / 1e6:,.0f} MB, {', '.join(waits)}"
    )


def floors(model: str) -> Iterable[Row]:
    """The network's convolutions alone, in both precisions."""
    for precision in ("bf16", "fp32"):
        found = measure([f"{model} {ALONE}", "0", "1", "cpu", precision])
        if found is not None:
            rate = found["megapixels_per_second"]
            print(f"{model:<22} {ALONE}, {precision}: {rate:.2f} MP/s", flush=True)
            yield {"model": model, "way": f"{ALONE}, {precision}", "rate": rate}


# ---- what oneDNN takes of the CPU


def kernels() -> dict[str, str]:
    """The convolution that torch and OpenVINO take, by engine and precision."""
    done = subprocess.run(
        [sys.executable, __file__, "--kernels"],
        env={**os.environ, "ONEDNN_VERBOSE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    found, way = {}, ""
    for line in done.stdout.splitlines():
        parts = line.split(",")
        if line.startswith("way "):
            way = line.removeprefix("way ")
        elif way and "exec" in parts and "convolution" in parts:
            found[way] = parts[parts.index("convolution") + 1]
        elif line.startswith("taken "):
            found[way] = line.removeprefix("taken ")
    return found


def show_kernels() -> None:
    """Run a convolution in each precision; oneDNN prints what it takes, OpenVINO is asked."""
    import torch
    import torch.nn.functional as F

    from restore.engine.device import DTYPES

    weight = torch.full((32, 32, 3, 3), 0.01)
    x = torch.rand(1, 32, 64, 64).to(memory_format=torch.channels_last)
    for precision in ("bf16", "fp32"):
        print(f"way torch, {precision}", flush=True)
        F.conv2d(x.to(DTYPES[precision]), weight.to(DTYPES[precision]), padding=1)
    if "openvino" not in installed_engines():
        return
    import openvino
    from openvino import opset13

    from restore.engine.openvino import HINTS

    given = opset13.parameter([1, 32, 64, 64])
    layer = opset13.convolution(given, weight.numpy(), [1, 1], [1, 1], [1, 1], [1, 1])
    model = openvino.Model([layer], [given])
    for precision in ("bf16", "fp32"):
        hint = {"INFERENCE_PRECISION_HINT": HINTS[DTYPES[precision]]}
        made = openvino.Core().compile_model(model, "CPU", hint).get_runtime_model()
        about = [layer.rt_info for layer in made.get_ops()]
        names = {info["primitiveType"].astype(str) for info in about
                 if info["layerType"].astype(str) == "Convolution"}  # fmt: skip
        print(f"way openvino, {precision}\ntaken {' '.join(sorted(names))}", flush=True)


# ---- the whole


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--megapixels", default="1,12,24,100")
    parser.add_argument("--repeats", type=int, default=3, help="warm runs, at most")
    parser.add_argument("--minutes", type=float, default=8, help="for all, about")
    parser.add_argument("--no-floors", action="store_true", help="leave the convolutions out")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--kernels", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.work:
        work(*asked.work)
    elif asked.kernels:
        show_kernels()
    else:
        compare(asked)


def compare(asked: argparse.Namespace) -> None:
    """All models and sizes, in the time that is given."""
    import torch

    from restore.engine.speeds import processor

    ends, load = time.monotonic() + 60 * asked.minutes, os.getloadavg()[0]
    models, sizes = asked.models.split(","), sorted(map(float, asked.megapixels.split(",")))
    alone: list[Row] = []
    rows: list[Row] = []
    for model in models:
        alone += [] if asked.no_floors else floors(model)
        cell = Cell(model, sizes[0], all_ways(), asked.repeats)
        rows += measured(cell, again=True)
    rates = {(row["model"], Way(*row["way"].split(", "))): row["rate"] for row in rows}
    main_ways = {
        model: tuple(
            fastest(model, engine, rates)
            for engine in ("torch", "openvino")
            if engine in installed_engines()
        )
        for model in models
    }
    wanted = [Cell(model, size, main_ways[model]) for size in sizes[1:] for model in models]
    chosen = planned(wanted, rates, ends - time.monotonic(), asked.repeats)
    for cell in chosen:
        if cell.cost(rates) / MARGIN < ends - time.monotonic():
            rows += measured(cell, again=False)
    done = {(row["model"], row["megapixels"]) for row in rows}
    missing = [
        f"{c.model}, {c.megapixels:g} MP" for c in wanted if (c.model, c.megapixels) not in done
    ]
    for name in missing:
        print(f"{name}: left out, there was no time", flush=True)
    if asked.json:
        about = {
            "processor": processor(),
            "threads": torch.get_num_threads(),
            "load": load,
            "limit": os.environ.get("ONEDNN_MAX_CPU_ISA", ""),
            "kernels": kernels(),
            "versions": {name: metadata.version(ENGINES[name]) for name in installed_engines()},
            "left_out": missing,
        }
        asked.json.write_text(json.dumps({**about, "rows": alone + rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
