"""Exported networks: the same pictures in other runtimes, at any size, without this package."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from restore.cli.export import SUFFIXES
from restore.errors import InputError, ModelError
from restore.models import export
from restore.models.card import ModelCard
from restore.models.denoiser import Denoiser
from restore.models.export import FORMATS, TOLERANCE, description, export_model
from restore.models.network import BaseNetwork
from restore.models.upscaler import Upscaler
from restore.models.weights import load_model

CARD = ModelCard("small", "denoise", "Denoiser", {}, licence="Apache-2.0")

# what a program of somebody else's does with the file: no `restore`, a size of its own
READERS = {
    "onnx": """
import onnxruntime
session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
about = session.get_modelmeta().custom_metadata_map["restore"]
names = [each.name for each in session.get_inputs()]
result = session.run(None, dict(zip(names, inputs)))[0]
""",
    "openvino": """
import openvino
core = openvino.Core()
model = core.read_model(path)
about = model.get_rt_info("restore").astype(str)
ready = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
result = ready(inputs)[0]
""",
    "torch-export": """
import torch
extra = {"restore.json": ""}
module = torch.export.load(path, extra_files=extra).module()
about = extra["restore.json"]
result = module(*map(torch.from_numpy, inputs)).detach().numpy()
""",
}
READ = """
import json, sys
import numpy as np
path, arrays, output = sys.argv[1:4]
inputs = [np.load(arrays)[name] for name in sorted(np.load(arrays))]
{reader}
assert not [name for name in sys.modules if name.partition(".")[0] == "restore"]
np.save(output, result)
print(json.dumps(json.loads(about)))
"""


@pytest.fixture
def conditioned() -> Denoiser:
    """Told three numbers about the noise, as the model for photographs is."""
    network = Denoiser(3, widths=(4, 8), blocks=(1, 1), seed=1, noise_inputs=3)
    network.level.data.normal_(generator=torch.Generator().manual_seed(1))
    network.card = CARD
    return network.eval().requires_grad_(False)


def needs(kind: str) -> None:
    for package in export.NEEDED[kind]:
        pytest.importorskip(package, reason=f"pip install {package}")


def read_elsewhere(kind: str, path: Path, arrays: list[Any]) -> tuple[Any, dict[str, Any]]:
    """The output and the metadata, from a fresh process that cannot import this package."""
    folder = path.parent
    np.savez(folder / "in.npz", **{f"{i}": each for i, each in enumerate(arrays)})
    code = READ.format(reader=READERS[kind])
    words = ["-I", "-c", code, str(path), str(folder / "in.npz"), str(folder / "out.npy")]
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return np.load(folder / "out.npy"), json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("kind", FORMATS)
def test_a_fresh_process_without_this_package_gives_the_same(
    kind: str, tmp_path: Path, conditioned: Denoiser
) -> None:
    needs(kind)
    path = tmp_path / f"small{FORMATS[kind]}"
    done = export_model(conditioned, kind, path)
    assert done.difference <= TOLERANCE and done.runtime[-1].isdigit()
    picture, noise = torch.rand(1, 3, 26, 44), torch.tensor([[10.0, 4.0, 7.0]])
    output, about = read_elsewhere(kind, path, [picture.numpy(), noise.numpy()])
    np.testing.assert_allclose(output, conditioned(picture, noise).numpy(), rtol=0, atol=1e-4)
    assert about["card"]["licence"] == "Apache-2.0" and about["card"]["name"] == "small"
    assert (about["multiple_of"], about["noise_inputs"], about["border"]) == (2, 3, 8)
    assert about.get("opset") == (None if kind == "torch-export" else export.OPSET)


@pytest.mark.parametrize(
    ("name", "kind"), [("denoise-photo-fast", "onnx"), ("upscale-x4", "torch-export")]
)
def test_shipped_models_are_exported_at_their_full_size(
    name: str, kind: str, tmp_path: Path
) -> None:
    needs(kind)
    network = load_model(name)
    done = export_model(network, kind, tmp_path / f"{name}{FORMATS[kind]}")
    assert done.difference <= TOLERANCE
    kernels = sum(parameter.numel() for parameter in network.parameters())  # type: ignore[attr-defined]
    assert done.path.stat().st_size > 4 * kernels  # all of them, in float32


def test_an_upscaler_in_both_runtimes(tmp_path: Path, small_upscaler: Upscaler) -> None:
    """One ONNX file, run by ONNX Runtime and by OpenVINO."""
    for kind in ("onnx", "openvino"):
        needs(kind)
    import onnx
    import openvino

    path = tmp_path / "up.onnx"
    export_model(small_upscaler, "onnx", path)
    assert onnx.load(path).opset_import[0].version == export.OPSET
    picture = torch.rand(1, 3, 22, 36)
    wanted = small_upscaler(picture).numpy()
    ready = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    np.testing.assert_allclose(ready([picture.numpy()])[0], wanted, rtol=0, atol=1e-4)
    assert ready.input(0).partial_shape.is_dynamic


def test_a_community_model_is_exported_too(tmp_path: Path) -> None:
    pytest.importorskip("spandrel", reason="pip install spandrel")
    from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact

    from restore.models.weights import load_model

    torch.manual_seed(0)
    torch.save(SRVGGNetCompact(num_feat=4, num_conv=1, upscale=2).state_dict(), tmp_path / "c.pth")
    done = export_model(load_model(tmp_path / "c.pth"), "torch-export", tmp_path / "c.pt2")
    assert done.difference <= TOLERANCE


class Odd(nn.Module, BaseNetwork):
    """Does something else for wide pictures, which no graph for all sizes can hold."""

    channels, scale, multiple_of, halo = 3, 1, 1, 0

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.shape[3] > 9 else x


def test_a_network_that_no_graph_holds_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot be exported to torch-export: \w"):
        export_model(Odd(), "torch-export", tmp_path / "x.pt2")
    assert not list(tmp_path.iterdir())


def test_a_difference_is_found_and_nothing_is_written(
    tmp_path: Path, small_network: Denoiser, monkeypatch: pytest.MonkeyPatch
) -> None:
    for wrong in (lambda arrays: arrays[0] + 0.01, lambda arrays: arrays[0][:, :, 1:]):
        made = lambda program, about, wrong=wrong: ({".pt2": b"x"}, wrong)  # noqa: E731
        monkeypatch.setitem(export.MAKERS, "torch-export", made)
        with pytest.raises(ModelError, match=r"differs from PyTorch by .*; nothing was written"):
            export_model(small_network, "torch-export", tmp_path / "x.pt2")
    assert not list(tmp_path.iterdir())


def test_an_existing_file_stays(tmp_path: Path, small_network: Denoiser) -> None:
    path = tmp_path / "x.pt2"
    path.write_bytes(b"mine")
    with pytest.raises(ModelError, match="exists"):
        export_model(small_network, "torch-export", path)
    assert path.read_bytes() == b"mine"
    export_model(small_network, "torch-export", path, overwrite=True)
    assert len(path.read_bytes()) > 1000


def test_formats_and_packages_are_checked_first(
    tmp_path: Path, small_network: Denoiser, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert SUFFIXES == FORMATS
    with pytest.raises(InputError, match="'coreml' is not a format; choose one of onnx"):
        export_model(small_network, "coreml", tmp_path / "x")
    with pytest.raises(InputError, match=r"must end in \.onnx for onnx"):
        export_model(small_network, "onnx", tmp_path / "x.pt2")
    monkeypatch.setitem(export.NEEDED, "onnx", ("onnx", "no_such_package"))
    with pytest.raises(ModelError, match=r"`pip install .*no_such_package`"):
        export_model(small_network, "onnx", tmp_path / "x.onnx")


def test_the_description_is_enough_to_use_the_file(small_network: Denoiser) -> None:
    about = description(small_network, "onnx")
    assert about["noise"] is None and about["opset"] == export.OPSET
    assert {"channels", "scale", "multiple_of", "border", "halo"} <= set(about)
    json.dumps(about)
