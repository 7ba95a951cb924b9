"""The backend that runs networks in ONNX Runtime, on a CPU in float32 (extra `onnx`)."""

from __future__ import annotations

import os
import tempfile
import warnings
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from restore.engine.backend import PaddedRows, Plan
from restore.engine.compute import Resources
from restore.engine.convert import Graph, Infer, RuntimeBackend
from restore.engine.tiled import TilePlan
from restore.models.network import Network

OPSET = 17


class OnnxBackend(RuntimeBackend):
    """Runs graphs in ONNX Runtime's CPU provider, which has convolutions in float32 only."""

    name = "onnx"

    def plan(
        self,
        network: Network,
        source: PaddedRows,
        resources: Resources,
        *,
        ordered: bool,
        failed: Plan | None = None,
    ) -> TilePlan:
        """As for tiles of any network, in float32."""
        resources = replace(resources, dtype=torch.float32)
        return super().plan(network, source, resources, ordered=ordered, failed=failed)

    def compile(self, graph: Graph, dtype: torch.dtype) -> Infer:
        """One session for pictures of any size."""
        import onnxruntime

        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.enable_cpu_mem_arena = False  # it takes twice what is in use
        options.log_severity_level = 4  # errors are raised
        session = onnxruntime.InferenceSession(
            _model(graph), options, providers=["CPUExecutionProvider"]
        )

        def infer(*inputs: Tensor) -> Tensor:
            given = {
                name: x.contiguous().numpy() for name, x in zip(graph.names, inputs, strict=True)
            }
            try:
                found: Any = session.run(None, given)[0]
            except MemoryError:
                raise
            except Exception as error:  # its classes of errors have no other in common
                raise RuntimeError(f"{error}") from error
            return torch.from_numpy(found)

        return infer


def _model(graph: Graph) -> str | bytes:
    """The graph in ONNX's format: its file in the cache, or its bytes where there is no cache."""
    path = graph.file("onnx")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                part = Path(folder) / path.name
                convert(graph, part)
                os.replace(part, path)
        return str(path)
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / path.name
        convert(graph, part)
        return part.read_bytes()


def convert(graph: Graph, path: Path) -> None:
    """Write the graph in ONNX's format, with batch, height and width open."""
    axes = {0: "batch", 2: "height", 3: "width"}
    with warnings.catch_warnings(), torch.no_grad():
        # This exporter is deprecated, but its successor takes ten times as long to start.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph.copy(),
            graph.inputs,
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=graph.names,
            output_names=["y"],
            dynamic_axes={"x": axes, "y": axes},
        )
