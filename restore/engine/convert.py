"""A network as a graph for another runtime, and a backend that runs such graphs tile by tile.

Of the package's own networks only the convolutions are converted: what precedes and follows them
stays in torch and in float32. The numbers about the noise that a network is conditioned on act on
its first layer alone, and are an input of the graph. So one graph, and one compilation, serves all
pictures of any size.
"""

from __future__ import annotations

import copy
import hashlib
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from restore.engine.backend import PaddedRows, Plan
from restore.engine.compute import Resources
from restore.engine.memory import tile_bytes
from restore.engine.prepare import prepared_of
from restore.engine.tiled import TileBackend, TilePlan
from restore.errors import InputError, installed_version
from restore.models.ensemble import Ensemble
from restore.models.folders import cache_folder
from restore.models.network import Network
from restore.models.unet import UNet

# Pixels of a tile: an overlap is computed twice, so that larger tiles are faster; this takes 1.5 GB
# for the shipped networks in bf16, and twice that in float32.
TILE_PIXELS = 2**22
SPARE = 1.25  # times what torch takes for a tile: measured 0.8 to 1.2
KEPT = 4  # compiled graphs in memory
SAME = 1e-3  # how far a graph may differ from torch in float32
SIMPLE = (bool, int, float, str, tuple)  # attributes of a module that count for its key

# Computes a graph: its inputs, float32 `(N, C, H, W)`, to its output.
Infer = Callable[..., Tensor]


class Body(nn.Module):
    """The convolutions of a U-Net: its first layer's input, and an offset, to its last's output."""

    def __init__(self, network: UNet) -> None:
        """Share the network's layers, without the bias that conditions its first layer."""
        super().__init__()
        self.network = copy.copy(network)
        self.network._modules = dict(network._modules)
        head = self.network.head = copy.copy(network.head)
        head._parameters = {**head._parameters, "bias": None}

    def forward(self, x: Tensor, offset: Tensor | None = None) -> Tensor:
        """`(N, C, H, W)` and `(1, width, 1, 1)` -> `(N, outputs, H, W)`."""
        return self.network.features(x, offset)


class Graph:
    """What a runtime computes of a network.

    module: what is converted
    inputs: examples of its inputs, the first of a small picture
    key:    a hash of its layers and kernels; networks conditioned on different noise have the same
    """

    def __init__(self, network: nn.Module) -> None:
        """network: a UNet, or another module `(N, C, H, W) -> (N, C, scale H, scale W)`."""
        plain = cast("Any", network)
        side, draw = 8 * plain.multiple_of, torch.Generator().manual_seed(0)
        self.inputs: tuple[Tensor, ...] = (
            torch.rand(1, plain.channels, side, side, generator=draw),
        )
        self.module = network
        if isinstance(network, UNet):
            self.module = Body(network)
            if network.head.bias is not None:
                self.inputs += (offset_of(network),)
        self.key = prepared_of(network).once(("graph", len(self.inputs)), self._hash)

    @property
    def names(self) -> list[str]:
        """Names of the inputs."""
        return ["x", "offset"][: len(self.inputs)]

    def copy(self) -> nn.Module:
        """The module to convert, ready to infer; the network stays as it is."""
        return copy.deepcopy(self.module).eval().requires_grad_(False)

    def file(self, engine: str) -> Path:
        """Where the converted graph is kept."""
        suffix = {"openvino": "xml"}.get(engine, engine)
        return cache_folder() / engine / f"{self.key}.{suffix}"

    def _hash(self) -> str:
        values = {k: v for k, v in vars(self.module).items() if isinstance(v, SIMPLE)}
        layers = type(self.module).__qualname__, repr(self.module), sorted(values.items())
        known = (installed_version(), layers, len(self.inputs))
        digest = hashlib.sha256(repr(known).encode())
        for name, value in sorted(self.module.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().float().cpu().contiguous().numpy())
        return digest.hexdigest()[:20]


class Converted:
    """A network whose graph another runtime computes; all else is the network's own."""

    def __init__(self, network: Network, infer: Infer) -> None:
        """infer: computes its `Graph`."""
        self.network, self.infer = network, infer

    def __getattr__(self, name: str) -> Any:
        """An attribute of the network."""
        return getattr(self.network, name)

    def __call__(self, x: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] -> (N, C, scale H, scale W)."""
        network = self.network
        if not isinstance(network, UNet):
            return self.infer(x)
        more = () if network.head.bias is None else (offset_of(network),)
        return network.postprocess(x, self.infer(network.preprocess(x), *more))


def offset_of(network: UNet) -> Tensor:
    """What the noise adds to each channel of the first layer's output, `(1, width, 1, 1)`."""
    assert network.head.bias is not None
    return network.head.bias.detach().float().cpu().view(1, -1, 1, 1)


class RuntimeBackend(TileBackend, ABC):
    """Tiles of which another runtime computes the graph, on the CPU; for any network of torch."""

    name: str

    @abstractmethod
    def compile(self, graph: Graph, dtype: torch.dtype) -> Infer:
        """The graph converted, or taken from the cache on the disk, and compiled."""

    def supports(self, network: Network, resources: Resources) -> bool:
        """Whether it can run this network with this device and tile."""
        return resources.device.type == "cpu" and isinstance(inner(network), nn.Module)

    def plan(
        self,
        network: Network,
        source: PaddedRows,
        resources: Resources,
        *,
        ordered: bool,
        failed: Plan | None = None,
    ) -> TilePlan:
        """As for tiles of any network."""
        plan = super().plan(network, source, resources, ordered=ordered, failed=failed)
        return replace(plan, engine=self.name)

    def tile_bytes(self, network: Network, dtype: torch.dtype) -> int:
        """The most bytes that a pixel of a tile takes."""
        return int(SPARE * tile_bytes(network, dtype))

    def tile_pixels(self, network: Network, resources: Resources, memory: int | None) -> int:
        """The most pixels of a tile."""
        if memory is None:
            return TILE_PIXELS
        return min(TILE_PIXELS, memory // self.tile_bytes(network, resources.dtype))

    def prepare(self, network: Network, plan: Plan) -> Network:
        """The network with its graph compiled."""
        if isinstance(network, Ensemble):
            return Ensemble(self.prepare(network.network, plan))
        return cast("Network", Converted(network, self.infer_of(network, plan.dtype)))

    def infer_of(self, network: Network, dtype: torch.dtype) -> Infer:
        """The compiled graph of a network; a few are kept. Raises InputError if it cannot be."""
        graph = Graph(cast("nn.Module", network))
        key = self.name, graph.key, dtype, torch.get_num_threads()
        if key not in _compiled:
            infer = self._compile(graph, dtype)
            if not isinstance(network, UNet) and not _equals(infer, network):
                raise self._refusal("the converted network gives other results")
            _compiled[key] = infer
            if len(_compiled) > KEPT:
                _compiled.popitem(last=False)
        _compiled.move_to_end(key)
        return _compiled[key]

    def _compile(self, graph: Graph, dtype: torch.dtype) -> Infer:
        """`compile`, and once more if what was in the cache cannot be used."""
        try:
            return self.compile(graph, dtype)
        except MemoryError:
            raise
        except Exception as error:  # the runtimes have errors of their own, of no common class
            try:
                graph.file(self.name).unlink()
            except OSError:
                raise self._refusal(f"{error}".strip().partition("\n")[0]) from error
        return self._compile(graph, dtype)

    def _refusal(self, why: str) -> InputError:
        return InputError(f"{self.name} cannot run this network ({why}); use --engine torch")


_compiled: OrderedDict[tuple[str, str, torch.dtype, int], Infer] = OrderedDict()


def readiness(engine: str, network: object, dtype: torch.dtype) -> str:
    """Whether a network's graph is "compiled" in memory, "converted" on the disk, or "no"."""
    graph = Graph(cast("nn.Module", network))
    if (engine, graph.key, dtype, torch.get_num_threads()) in _compiled:
        return "compiled"
    return "converted" if graph.file(engine).exists() else "no"


def forget() -> None:
    """Drop the graphs that are compiled in memory."""
    _compiled.clear()


def inner(network: Network) -> object:
    """The network, and of an ensemble the one that it averages."""
    return network.network if isinstance(network, Ensemble) else network


def _equals(infer: Infer, network: Any) -> bool:
    """Whether a graph gives what the network gives, on a size that it was not converted with.

    A graph may have taken on the size of its example.
    """
    sides = [(n + 8) * network.multiple_of for n in (1, 3)]
    x = torch.rand(1, network.channels, *sides, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        try:
            return bool((infer(x) - network(x)).abs().max() < SAME)
        except RuntimeError:
            return False
