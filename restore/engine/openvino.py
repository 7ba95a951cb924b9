"""The backend that runs networks in OpenVINO, on a CPU (extra `openvino`).

The converted network is kept in the user's cache folder, and OpenVINO keeps what it compiles
there, so that only the first run of a network waits for the conversion.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from restore.engine.convert import Graph, Infer, RuntimeBackend

HINTS = {torch.float32: "f32", torch.bfloat16: "bf16"}


class OpenVinoBackend(RuntimeBackend):
    """Runs graphs in OpenVINO's CPU plugin, in float32 or bfloat16."""

    name = "openvino"

    def compile(self, graph: Graph, dtype: torch.dtype) -> Infer:
        """One compilation for pictures of any size."""
        import openvino

        path = graph.file(self.name)
        core = openvino.Core()
        settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": HINTS[dtype],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        model = None
        with suppress(OSError):  # without a cache it is converted each time
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                _save(convert(graph), path)
            model = core.read_model(path)
            settings["CACHE_DIR"] = str(path.parent)
        if model is None:
            model = convert(graph)

        def ready() -> Any:
            return core.compile_model(model, "CPU", settings).create_infer_request()

        request = ready()

        def infer(*inputs: Tensor) -> Tensor:
            nonlocal request
            request = request or ready()
            given = [x.contiguous().numpy() for x in inputs]
            try:
                # Out of memory, `request.infer` raises nothing and gives the result before.
                request.start_async(given, share_inputs=True)
                request.wait()
            except RuntimeError:
                request = None  # what failed once is in disorder, and must be compiled anew
                raise
            return torch.from_numpy(request.get_output_tensor(0).data.copy())

        return infer


def convert(graph: Graph) -> Any:
    """The graph as an OpenVINO model, with batch, height and width open.

    By the converter's own parts: `openvino.convert_model` around them reports to its makers over
    the network that it was called.
    """
    from openvino import PartialShape, Type
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    converter = FrontEndManager().load_by_framework("pytorch")
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # about how OpenVINO itself traces the module
        decoder = TorchScriptPythonDecoder(
            graph.copy(), example_input=graph.inputs, shared_memory=False
        )
        model = converter.load(decoder)
        for number, (place, given) in enumerate(zip(model.get_inputs(), graph.inputs, strict=True)):
            shape = [-1, given.shape[1], -1, -1] if number == 0 else list(given.shape)
            model.set_partial_shape(place, PartialShape(shape))
            model.set_element_type(place, Type.f32)
        return converter.convert(model)


def _save(model: Any, path: Path) -> None:
    """Write a model, all of it or nothing. Raises OSError."""
    import openvino

    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        part = Path(folder) / path.name
        try:
            openvino.save_model(model, part, compress_to_fp16=False)
        except RuntimeError as error:  # a full disk
            raise OSError(str(error)) from error
        os.replace(part.with_suffix(".bin"), path.with_suffix(".bin"))
        os.replace(part, path)
