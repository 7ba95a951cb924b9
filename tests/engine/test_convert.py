"""Other runtimes give what torch gives, from one graph for all pictures and noise levels."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from restore.engine import convert
from restore.engine.backend import ArraySource, PaddedRows
from restore.engine.compute import ENGINES, Resources
from restore.engine.convert import Graph, forget
from restore.engine.run import BACKENDS, run_array, run_together
from restore.errors import InputError
from restore.image.picture import Pixels
from restore.models.denoiser import Denoiser
from restore.models.ensemble import Ensemble
from restore.models.folders import cache_folder
from restore.models.network import BaseNetwork, keeping
from restore.models.upscaler import Upscaler

CPU, FP32 = torch.device("cpu"), torch.float32


@pytest.fixture(params=["openvino", "onnx"])
def engine(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    package = ENGINES[request.param]
    pytest.importorskip(package, reason=f"pip install '.[{request.param}]'")
    if request.param == "onnx":
        pytest.importorskip("onnx", reason="pip install '.[onnx]'")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    forget()
    yield request.param
    forget()


@pytest.fixture
def pixels(rng: np.random.Generator) -> Pixels:
    return rng.random((75, 61, 3), np.float32)


def converting(monkeypatch: pytest.MonkeyPatch, engine: str) -> list[Graph]:
    """The graphs that are converted from here on."""
    module: Any = importlib.import_module(f"restore.engine.{engine}")
    real, converted = module.convert, list[Graph]()
    monkeypatch.setattr(module, "convert", lambda g, *a: converted.append(g) or real(g, *a))
    return converted


def test_a_runtime_gives_what_torch_gives(
    engine: str,
    small_network: Denoiser,
    telling_network: Denoiser,
    small_upscaler: Upscaler,
    pixels: Pixels,
    assert_same_picture: Callable[..., None],
) -> None:
    told = telling_network.conditioned_on(30)
    for network in (small_network, told, small_upscaler, Ensemble(told), keeping(told)):
        expected = run_array(network, pixels, Resources(CPU, FP32, engine="torch"))
        for tile in (None, 32):
            found = run_array(network, pixels, Resources(CPU, FP32, tile, engine=engine))
            assert (expected.plan.engine, found.plan.engine) == ("torch", engine)
            assert (found.plan.tiles > 1) == (tile is not None)
            assert_same_picture(found.pixels, expected.pixels)


def test_one_graph_serves_all_sizes_and_noise_levels(
    engine: str, telling_network: Denoiser, pixels: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    converted = converting(monkeypatch, engine)
    results = []
    for level in (5.0, 50.0):
        network = telling_network.conditioned_on(level)
        results.append(run_array(network, pixels, Resources(CPU, FP32, engine=engine)).pixels)
        run_array(network, pixels[:20, :33], Resources(CPU, FP32, engine=engine))
    assert len(converted) == 1
    assert np.abs(results[0] - results[1]).max() > 1e-3
    telling_network.tail.weight.data *= 2  # as training does: other kernels, another graph
    run_array(network, pixels, Resources(CPU, FP32, engine=engine))
    assert len(converted) == 2


def test_what_was_converted_is_kept_for_the_next_process(
    engine: str, small_network: Denoiser, pixels: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    resources = Resources(CPU, FP32, engine=engine)
    first = run_array(small_network, pixels, resources).pixels
    assert Graph(small_network).file(engine).is_file()
    assert not [p for p in (cache_folder() / engine).iterdir() if p.is_dir()]  # nothing half-made
    forget()
    converted = converting(monkeypatch, engine)
    np.testing.assert_array_equal(run_array(small_network, pixels, resources).pixels, first)
    assert not converted


def test_nobody_is_told_of_a_conversion(
    small_network: Denoiser, pixels: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenVINO's own `convert_model` sends an event over the network."""
    pytest.importorskip("openvino", reason="pip install '.[openvino]'")
    sender = pytest.importorskip("openvino_telemetry.utils.sender", reason="comes with openvino")
    sent: list[object] = []
    monkeypatch.setattr(sender.TelemetrySender, "send", lambda self, *a, **k: sent.append(a))
    forget()
    module: Any = importlib.import_module("restore.engine.openvino")
    module.convert(Graph(small_network))
    assert not sent


def test_a_damaged_file_in_the_cache_is_made_anew(
    engine: str, small_network: Denoiser, pixels: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    resources = Resources(CPU, FP32, engine=engine)
    first = run_array(small_network, pixels, resources).pixels
    file = Graph(small_network).file(engine)
    file.write_bytes(file.read_bytes()[:100])
    forget()
    converted = converting(monkeypatch, engine)
    np.testing.assert_array_equal(run_array(small_network, pixels, resources).pixels, first)
    assert len(converted) == 1


def test_a_network_that_is_converted_stays_as_it_was(
    engine: str, small_network: Denoiser, pixels: Pixels
) -> None:
    small_network.train().requires_grad_(True)
    state, mark = torch.get_rng_state(), small_network.head.weight.clone()
    run_array(small_network, pixels, Resources(CPU, FP32, engine=engine))
    assert small_network.training and small_network.tail.weight.requires_grad
    assert torch.equal(small_network.head.weight, mark)
    assert torch.equal(torch.get_rng_state(), state)


def test_without_a_cache_folder_it_is_converted_each_time(
    engine: str,
    small_network: Denoiser,
    pixels: Pixels,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    converted = converting(monkeypatch, engine)
    found = run_array(small_network, pixels, Resources(CPU, FP32, engine=engine)).pixels
    expected = run_array(small_network, pixels, Resources(CPU, FP32, engine="torch")).pixels
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert len(converted) == 1


def test_half_precision_is_for_the_convolutions_alone(
    engine: str, small_network: Denoiser, pixels: Pixels
) -> None:
    expected = run_array(small_network, pixels, Resources(CPU, FP32, engine="torch")).pixels
    output = run_array(small_network, pixels, Resources(CPU, torch.bfloat16, engine=engine))
    assert output.plan.dtype == (torch.bfloat16 if engine == "openvino" else FP32)
    noise = np.abs(pixels - expected).max()  # what is subtracted, in bf16 8 bits of it
    assert np.abs(output.pixels - expected).max() < 0.03 * noise


class Plain(nn.Module, BaseNetwork):
    """A network that is none of the package's own."""

    channels, scale, multiple_of, halo = 3, 1, 1, 1

    def __init__(self, fixed: bool = False) -> None:
        super().__init__()
        self.layer, self.fixed = nn.Conv2d(3, 3, 3, padding=1), fixed

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layer(x)
        return found / int(x.shape[3]) if self.fixed else found


def test_any_network_of_torch_can_be_run(engine: str, pixels: Pixels) -> None:
    network = Plain().eval().requires_grad_(False)
    expected = run_array(network, pixels, Resources(CPU, FP32, engine="torch")).pixels
    found = run_array(network, pixels, Resources(CPU, FP32, 20, engine=engine)).pixels
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_a_graph_that_took_on_the_size_of_its_example_is_refused(
    engine: str, pixels: Pixels
) -> None:
    network = Plain(fixed=True).eval().requires_grad_(False)
    with pytest.raises(InputError, match=f"{engine} cannot run this network .*--engine torch"):
        run_array(network, pixels, Resources(CPU, FP32, engine=engine))


def test_what_is_no_module_of_torch_is_refused(engine: str, identity: Any, pixels: Pixels) -> None:
    with pytest.raises(InputError, match=f"{engine} cannot run this network"):
        run_array(identity(), pixels, Resources(CPU, FP32, engine=engine))


def test_pictures_together_are_run_by_the_engine_that_was_asked_for(
    engine: str, small_network: Denoiser, pixels: Pixels
) -> None:
    outputs = run_together(small_network, [pixels] * 2, Resources(CPU, FP32, engine=engine))
    assert [output.plan.engine for output in outputs] == [engine] * 2


def test_few_graphs_stay_in_memory(
    engine: str, pixels: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convert, "KEPT", 1)
    network = Denoiser(3, (4,), (1,), 1).eval().requires_grad_(False)
    for dtype in (FP32, torch.bfloat16):
        run_array(network, pixels, Resources(CPU, dtype, engine=engine))
    assert len(convert._compiled) == 1


@pytest.mark.parametrize("name", ["openvino", "onnx"])
def test_tiles_are_large_and_bounded(name: str, small_network: Denoiser) -> None:
    (backend,) = BACKENDS[name]
    blank = np.broadcast_to(np.float32(0), (8000, 12000, 3))
    source = PaddedRows(ArraySource(blank), small_network.multiple_of, small_network.border)
    resources = Resources(CPU, FP32, engine=name)
    plan = backend.plan(small_network, source, resources, ordered=False)
    height, width = plan.window
    assert 2**21 < height * width <= convert.TILE_PIXELS
    limited = Resources(CPU, FP32, memory=10**8, engine=name)
    assert backend.plan(small_network, source, limited, ordered=True).memory <= 10**8


FITTING = 3 * 4000  # values of an input


class Short:
    """A request of OpenVINO's in a memory that holds little; one that failed is in disorder."""

    def __init__(self, real: Any) -> None:
        self.real, self.failed = real, False

    def infer(self, *given: Any, **more: Any) -> None:
        pytest.fail("it raises nothing when memory runs out, and gives the result before")

    def start_async(self, inputs: list[Any], **more: Any) -> None:
        self.failed |= inputs[0].size > FITTING
        if not self.failed:
            self.real.start_async(inputs, **more)

    def wait(self) -> None:
        if self.failed:
            raise RuntimeError("Check 'ptr' failed:\nFailed to allocate 23592960 bytes of memory")
        self.real.wait()

    def get_output_tensor(self, number: int) -> Any:
        return self.real.get_output_tensor(number)


def memory_runs_out(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runtime computes no more than `FITTING` at once, and fails as the real one does."""
    if engine == "openvino":
        openvino = importlib.import_module("openvino")
        make = openvino.CompiledModel.create_infer_request
        monkeypatch.setattr(
            openvino.CompiledModel, "create_infer_request", lambda model: Short(make(model))
        )
        return
    import onnxruntime
    from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException

    real = onnxruntime.InferenceSession.run

    def run(session: Any, names: Any, given: dict[str, Any]) -> Any:
        if given["x"].size > FITTING:
            raise RuntimeException("while running Conv node. Status Message: std::bad_alloc")
        return real(session, names, given)

    monkeypatch.setattr(onnxruntime.InferenceSession, "run", run)


def test_a_runtime_that_is_out_of_memory_gives_the_same_picture_in_smaller_tiles(
    engine: str, small_network: Denoiser, pixels: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory_runs_out(engine, monkeypatch)
    for part in (pixels, pixels[:20, :20], pixels):
        expected = run_array(small_network, part, Resources(CPU, FP32, engine="torch")).pixels
        found = run_array(small_network, part, Resources(CPU, FP32, engine=engine))
        assert (found.plan.tiles > 1) == (part is pixels)
        np.testing.assert_allclose(found.pixels, expected, rtol=0, atol=1e-5)
