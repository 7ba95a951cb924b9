"""A network as a file for other runtimes: ONNX, OpenVINO, and torch.export.

The file takes pictures of any height and width. It carries the model card, and what its input must
be like, as JSON. It is run before it is written, and refused unless it gives what PyTorch gives.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import io
import json
import logging
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from restore.errors import InputError, ModelError, WriteError
from restore.image.atomic import write_aside
from restore.models.network import Network

FORMATS = {"onnx": ".onnx", "openvino": ".xml", "torch-export": ".pt2"}
NEEDED = {  # packages, by format
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "openvino": ("onnx", "onnxscript", "openvino"),
    "torch-export": (),
}
OPSET = 18  # of ONNX; the one in which torch writes
TOLERANCE = 1e-4  # by which the output may differ from PyTorch's
KEY = "restore"  # of the JSON in the file's metadata
TRACED, CHECKED = (5, 7), ((4, 9), (10, 6))  # sizes, in cells of the grid above the minimum
Arrays = list[npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Export:
    """What was written.

    runtime:    what it was checked with, such as "onnxruntime 1.20.1"
    difference: the most by which its output differed from PyTorch's
    """

    path: Path
    runtime: str
    difference: float


class Exported(nn.Module):
    """A network with the inputs of an exported file: a picture, and perhaps noise levels."""

    def __init__(self, network: nn.Module, conditioned: bool) -> None:
        """conditioned: whether the network takes noise levels."""
        super().__init__()
        self.network, self.conditioned = network, conditioned

    def forward(self, picture: Tensor, noise: Tensor | None = None) -> Tensor:
        """(1, C, H, W) in [0, 1], (1, noise_inputs) in 0-255 -> (1, C, scale H, scale W)."""
        given = (picture, noise) if self.conditioned else (picture,)
        output: Tensor = self.network(*given)
        return output


def export_model(network: Network, kind: str, path: Path, *, overwrite: bool = False) -> Export:
    """Write a network as a file for another runtime.

    kind: of `FORMATS`; for "openvino" a .bin with the weights is written beside the .xml
    Raises InputError for a format or a suffix that is none, ModelError where a package is missing,
    the network cannot be exported, its output differs or the file cannot be written; then nothing
    is written.
    """
    check_format(kind, path)
    check_packages(kind)
    if not isinstance(network, nn.Module):
        raise ModelError(f"{type(network).__name__} is no torch module, so it cannot be exported")
    about = json.dumps(description(network, kind), sort_keys=True, ensure_ascii=False)
    with quiet():
        try:
            program = traced(network)
            files, run = MAKERS[kind](program, about)
        except Exception as error:  # exporters fail anywhere in a network's code, in many ways
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise ModelError(f"this network cannot be exported to {kind}: {reason}") from error
        difference = largest_difference(network, run)
    if not difference <= TOLERANCE:
        raise ModelError(
            f"the exported network differs from PyTorch by {difference:.1e}, more than "
            f"{TOLERANCE:.0e}; nothing was written"
        )
    for suffix, content in files.items():  # what another file needs is written first
        try:
            write_aside(path.with_suffix(suffix), content, overwrite)
        except WriteError as error:
            raise ModelError(str(error)) from error
    runtime = NEEDED[kind][-1] if NEEDED[kind] else "torch"
    version = importlib.import_module(runtime).__version__
    return Export(path, f"{runtime} {re.split('[-+]', version)[0]}", difference)


def check_format(kind: str, path: Path | None = None) -> None:
    """InputError for a format that is none, and for a path that does not end in its suffix."""
    if kind not in FORMATS:
        raise InputError(f"'{kind}' is not a format; choose one of {', '.join(FORMATS)}")
    if path is not None and path.suffix != FORMATS[kind]:
        raise InputError(f"{path} must end in {FORMATS[kind]} for {kind}")


def check_packages(kind: str) -> None:
    """ModelError with what to install, where a package is missing."""
    missing = [name for name in NEEDED[kind] if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelError(f"{kind} needs packages; `pip install {' '.join(missing)}`")


def description(network: Network, kind: str) -> dict[str, Any]:
    """What someone with only the file must know: the card, and the form of input and output."""
    names = ("channels", "scale", "multiple_of", "minimum", "square", "border", "halo", "blend")
    return {
        "card": None if network.card is None else dataclasses.asdict(network.card),
        "picture": "float32 (1, channels, height, width), RGB or grey, in [0, 1]; height and width "
        "are multiples of multiple_of, at least minimum; mirror the picture by border pixels on "
        "all sides first, and cut them off the result",
        "noise": "float32 (1, noise_inputs), on the scale 0-255" if network.noise_inputs else None,
        "noise_inputs": network.noise_inputs,
        **{name: getattr(network, name) for name in names},
        **({} if kind == "torch-export" else {"opset": OPSET}),
    }


def inputs(network: Network, cells: tuple[int, int]) -> tuple[Tensor, ...]:
    """A picture of noise, so many cells of the grid larger than the minimum, and noise levels."""
    generator = torch.Generator().manual_seed(0)
    height, width = (network.minimum + count * network.multiple_of for count in cells)
    if network.square:
        height = width = max(height, width)
    height, width = (-(-n // network.multiple_of) * network.multiple_of for n in (height, width))
    picture = torch.rand((1, network.channels, height, width), generator=generator)
    if not network.noise_inputs:
        return (picture,)
    return picture, 5 + 20 * torch.rand((1, network.noise_inputs), generator=generator)


def traced(network: Any) -> torch.export.ExportedProgram:
    """The network as a graph for any height and width that are multiples of `multiple_of`."""
    sides: dict[int, Any] = {}
    for axis, name in ((2, "height"), (3, "width")):
        cells = torch.export.Dim(f"{name}_cells", min=2, max=2**16)
        sides[axis] = cells if network.multiple_of == 1 else network.multiple_of * cells
    given = inputs(network, TRACED)
    shapes = (sides, {})[: len(given)]
    module = Exported(network, len(given) > 1).eval()
    return torch.export.export(module, given, dynamic_shapes=shapes)


def largest_difference(network: Any, run: Callable[[Arrays], npt.NDArray[np.float32]]) -> float:
    """The most by which a runtime's output differs from PyTorch's, for pictures of two sizes."""
    module, found = Exported(network, network.noise_inputs > 0), []
    for cells in CHECKED:
        given = inputs(network, cells)
        with torch.inference_mode():
            wanted = module(*given).numpy()
        output = run([each.numpy() for each in given])
        if output.shape != wanted.shape:
            return float("inf")
        found.append(float(np.abs(output - wanted).max()))
    return max(found)


# ---- the formats; each gives the bytes of its files by suffix, and a function that runs them

Made = tuple[dict[str, bytes], Callable[[Arrays], Any]]


def _onnx_bytes(program: torch.export.ExportedProgram, about: str) -> bytes:
    import onnx

    names = ["picture", "noise"][: len(program.graph_signature.user_inputs)]
    made = torch.onnx.export(
        program, opset_version=OPSET, input_names=names, output_names=["result"], dynamo=True,
        external_data=False, verbose=False, optimize=True,
    )  # fmt: skip
    assert made is not None
    proto = made.model_proto
    onnx.helper.set_model_props(proto, {KEY: about})
    data: bytes = proto.SerializeToString()
    return data


def _onnx(program: torch.export.ExportedProgram, about: str) -> Made:
    import onnxruntime

    data = _onnx_bytes(program, about)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    return {".onnx": data}, lambda arrays: session.run(None, dict(zip(names, arrays, strict=True)))[
        0
    ]


def _openvino(program: torch.export.ExportedProgram, about: str) -> Made:
    import openvino

    core = openvino.Core()
    model = core.read_model(_onnx_bytes(program, about))
    model.set_rt_info(about, [KEY])
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "model.xml"
        openvino.save_model(model, place, compress_to_fp16=False)
        files = {end: place.with_suffix(end).read_bytes() for end in (".bin", ".xml")}
    model = core.read_model(files[".xml"], files[".bin"])
    ready = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return files, lambda arrays: ready(arrays)[0]


def _torch_export(program: torch.export.ExportedProgram, about: str) -> Made:
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={f"{KEY}.json": about})
    module = torch.export.load(io.BytesIO(file.getvalue())).module()
    with_tensors = lambda arrays: module(*map(torch.from_numpy, arrays)).detach().numpy()  # noqa: E731
    return {".pt2": file.getvalue()}, with_tensors


MAKERS = {"onnx": _onnx, "openvino": _openvino, "torch-export": _torch_export}


@contextmanager
def quiet() -> Iterator[None]:
    """Without the exporters' own warnings and log messages; what matters is checked."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
