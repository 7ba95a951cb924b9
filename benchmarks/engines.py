"""Our engine beside other ways to run the same network on this CPU.

    python benchmarks/engines.py [--models denoise-gaussian,denoise-gaussian-fast]
                                 [--megapixels 1,4] [--repeats 5] [--json benchmarks/engines.json]

torch as it is, torch compiled (`torch.compile`), ONNX Runtime and OpenVINO, the last two where they
are installed (`pip install onnx onnxruntime openvino`). The others see the picture in one piece,
padded already and as a tensor; ours is the whole pipeline, array to array. Start-up is what comes
before the first result: compiling or converting, and the first run. After it all ways run in turns,
so that a machine whose speed changes is as unfair to each; the first run of a turn does not count,
for the threads of the way before it may still be waiting for work; the median of the others does.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from speed import picture

from restore.engine.backend import padded_array
from restore.engine.device import choose_precision
from restore.models.weights import load_model
from restore.pipeline.picture import denoise

CPU = torch.device("cpu")
Run = Callable[[], Any]


def seconds(run: Run) -> float:
    """Of one run, after another one."""
    run()
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def in_turns(made: dict[str, Callable[[], Run]], repeats: int) -> dict[str, dict[str, float]]:
    """Seconds of start-up of each way, and the median of the runs after it."""
    start, runs = {}, {}
    for way, make in made.items():
        began = time.perf_counter()
        try:
            runs[way] = make()
            runs[way]()
        except Exception as error:  # no compiler, an operator that is missing
            print(f"{way} left out: {str(error).splitlines()[0]}", flush=True)
            runs.pop(way, None)
            continue
        start[way] = time.perf_counter() - began
    times = [{way: seconds(run) for way, run in runs.items()} for _ in range(repeats)]
    return {
        way: {
            "start_seconds": start[way],
            "seconds": statistics.median(turn[way] for turn in times),
        }
        for way in runs
    }


def eager(network: Any, x: torch.Tensor, dtype: torch.dtype, compiled: bool = False) -> Run:
    """torch's own operators, one by one or compiled."""
    network = network.to(dtype, memory_format=torch.channels_last)
    given = x.to(dtype, memory_format=torch.channels_last)
    forward = torch.compile(network) if compiled else network

    def run() -> np.ndarray:
        with torch.inference_mode():
            return forward(given).float().numpy()

    return run


def corner(network: Any, x: torch.Tensor) -> torch.Tensor:
    """Enough of the picture to convert a network with, which takes long on all of it."""
    side = 8 * network.multiple_of
    return x[..., :side, :side]


def onnx_runtime(network: Any, x: torch.Tensor) -> Run:
    """ONNX Runtime in float32: its CPU provider has no convolutions in bf16."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "network.onnx")
        axes = {"x": {2: "height", 3: "width"}}
        torch.onnx.export(
            network, (corner(network, x),), path, dynamo=False, input_names=["x"], dynamic_axes=axes
        )
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x.numpy()})[0]


def openvino(network: Any, x: torch.Tensor, dtype: torch.dtype) -> Run:
    """OpenVINO, with the precision as its hint."""
    import openvino as ov

    model = ov.convert_model(
        network, example_input=corner(network, x), input=[(1, x.shape[1], -1, -1)]
    )
    model.reshape(list(x.shape))
    hint = {"INFERENCE_PRECISION_HINT": "bf16" if dtype == torch.bfloat16 else "f32"}
    request = ov.Core().compile_model(model, "CPU", hint).create_infer_request()
    return lambda: request.infer([x.numpy()])[0]


def ways(name: str, noisy: np.ndarray) -> dict[str, Callable[[], Run]]:
    """How to run a model, by names."""
    dtype = choose_precision("auto", CPU)

    def tensor() -> tuple[Any, torch.Tensor]:
        network = load_model(name)
        pixels = padded_array(noisy.astype(np.float32) / 255, network.multiple_of, network.border)
        return network, torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous()

    found: dict[str, Callable[[], Run]] = {
        "restore, whole pipeline": lambda: lambda: denoise(noisy, name, device="cpu").image,
        "torch": lambda: eager(*tensor(), dtype),
        "torch.compile": lambda: eager(*tensor(), dtype, compiled=True),
    }
    if importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("onnx"):
        found["ONNX Runtime, fp32"] = lambda: onnx_runtime(*tensor())
    if importlib.util.find_spec("openvino"):
        found["OpenVINO"] = lambda: openvino(*tensor(), dtype)
    return found


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="denoise-gaussian,denoise-gaussian-fast")
    parser.add_argument("--megapixels", default="1,4")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    warnings.filterwarnings("ignore")
    rows = []
    for size in asked.megapixels.split(","):
        _, noisy = picture(float(size))
        megapixels = noisy.shape[0] * noisy.shape[1] / 1e6
        for name in asked.models.split(","):
            print(f"{name}, {megapixels:.1f} MP", flush=True)
            for way, found in in_turns(ways(name, noisy), asked.repeats).items():
                rate = megapixels / found["seconds"]
                row = {"model": name, "megapixels": megapixels, "way": way}
                rows.append({**row, "megapixels_per_second": rate, **found})
                print(f"  {way:<24} {rate:6.2f} MP/s, start {found['start_seconds']:6.1f} s")
    if asked.json:
        found = {"threads": torch.get_num_threads(), "rows": rows}
        asked.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
