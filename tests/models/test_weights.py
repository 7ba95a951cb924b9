"""Weights files: self-describing, reproducible, unable to run code, refused when damaged."""

from __future__ import annotations

import json
import pickle
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from restore.errors import UnknownModelError, WeightsError
from restore.models.card import ModelCard
from restore.models.denoiser import Denoiser
from restore.models.folders import available_models
from restore.models.weights import load_model, read_card, replace_scores, save_weights

ARGUMENTS = {"channels": 3, "widths": [4, 8], "blocks": [1, 1]}


def card(**changes: object) -> ModelCard:
    values = {"name": "t", "task": "denoise", "architecture": "Denoiser", "arguments": ARGUMENTS}
    return ModelCard(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture
def file(tmp_path: Path, small_network: Denoiser) -> Path:
    path = tmp_path / "t.safetensors"
    save_weights(small_network, card(), path, torch.float32)
    return path


def test_what_is_loaded_is_what_was_saved(file: Path, small_network: Denoiser) -> None:
    loaded = load_model(file)
    assert loaded.card == card()
    assert loaded.arguments == small_network.arguments
    x = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(loaded(x), small_network(x), atol=1e-6, rtol=0)
    assert not loaded.training


def test_saved_twice_is_the_same_bytes(file: Path, small_network: Denoiser) -> None:
    first = file.read_bytes()
    save_weights(small_network, card(), file, torch.float32)
    assert file.read_bytes() == first


def test_float16_is_the_default_and_half_as_large(file: Path, small_network: Denoiser) -> None:
    whole = file.stat().st_size
    save_weights(small_network, card(), file)
    assert file.stat().st_size < 0.6 * whole
    assert next(load_model(file).parameters()).dtype == torch.float32


def test_scores_can_be_replaced_and_nothing_else_changes(file: Path) -> None:
    before = load_model(file)
    replace_scores(file, [{"psnr": 31.0}])
    after = load_model(file)
    assert after.card == card(scores=[{"psnr": 31.0}])
    assert all(map(torch.equal, before.parameters(), after.parameters()))


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UnknownModelError, match="denoise-gaussian"):
        load_model("denoise-everything")


@pytest.mark.parametrize("shape", [[2**40, 2**20], [2**62, 4], [-1, 3], [2**31, 2**31, 2**31]])
def test_absurd_shapes_in_a_header_are_refused_before_memory_is_taken(
    tmp_path: Path, shape: list[int]
) -> None:
    path = tmp_path / "absurd.safetensors"
    header = {
        "__metadata__": {"restore": card().to_json()},
        "head.weight": {"dtype": "F32", "shape": shape, "data_offsets": [0, 16]},
    }
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(16))
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError):
            load_model(path)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("length", [2**63, 2**40, 10**9])
def test_absurd_header_lengths_are_refused(tmp_path: Path, length: int) -> None:
    path = tmp_path / "absurd.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + b"{}")
    with pytest.raises(WeightsError):
        load_model(path)


def test_every_length_of_a_truncated_file_is_refused(file: Path) -> None:
    data = file.read_bytes()
    for length in [0, 1, 7, 8, 9, 100, len(data) // 2, len(data) - 1]:
        file.write_bytes(data[:length])
        with pytest.raises(WeightsError):
            load_model(file)


def test_a_pickle_is_refused_and_not_opened(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str, ...]]:
            return (Path.touch, (tmp_path / "ran",))  # type: ignore[return-value]

    path = tmp_path / "bomb.safetensors"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(WeightsError, match="pickled"):
        load_model(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "Transformer"}, "known are Denoiser"),
        ({"arguments": {**ARGUMENTS, "widths": [4, 16]}}, "do not fit|does not fit"),
        ({"arguments": {**ARGUMENTS, "depth": 3}}, "does not fit its card"),
        ({"arguments": {**ARGUMENTS, "widths": [4, 8, 8]}}, "does not fit its card"),
    ],
)
def test_a_wrong_card_is_refused_by_name(
    tmp_path: Path, small_network: Denoiser, change: dict[str, object], message: str
) -> None:
    path = tmp_path / "wrong.safetensors"
    save_weights(small_network, card(**change), path)
    with pytest.raises(WeightsError, match=message):
        load_model(path)


def test_absurd_sizes_in_a_card_allocate_nothing(tmp_path: Path, small_network: Denoiser) -> None:
    path = tmp_path / "absurd.safetensors"
    save_weights(small_network, card(arguments={**ARGUMENTS, "widths": [10**7, 10**7]}), path)
    with pytest.raises(WeightsError, match="does not fit"):
        load_model(path)


def test_missing_and_unknown_fields_are_named(tmp_path: Path) -> None:
    path = tmp_path / "fields.safetensors"
    tensors = {"a": torch.zeros(1)}
    path.write_bytes(save(tensors, metadata={"restore": json.dumps({"name": "x"})}))
    with pytest.raises(WeightsError, match="architecture, arguments, task"):
        read_card(path)
    values = {"name": "x", "task": "d", "architecture": "D", "arguments": {}, "colour": 1}
    path.write_bytes(save(tensors, metadata={"restore": json.dumps(values)}))
    with pytest.raises(WeightsError, match="colour"):
        read_card(path)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path, small_network: Denoiser) -> None:
    next(small_network.parameters()).data[0] = float("nan")
    path = tmp_path / "nan.safetensors"
    save_weights(small_network, card(), path)
    with pytest.raises(WeightsError, match="not finite"):
        load_model(path)


def test_shipped_weights_say_what_they_are() -> None:
    models = available_models()
    assert "denoise-gaussian" in models
    assert sum(path.stat().st_size for path in models.values()) < 120e6
    for name, path in models.items():
        shipped = read_card(path)
        assert shipped.name == name
        assert shipped.licence == "Apache-2.0"
        assert sum(shipped.trained_on["licences"].values()) == shipped.trained_on["pictures"]
        assert shipped.training["steps"] > 0
        assert shipped.limits
        assert all({"data", "noise", "psnr", "protocol"} <= set(s) for s in shipped.scores)
        load_model(name)


def test_a_card_names_the_degradation_it_was_trained_against() -> None:
    trained = ModelCard(
        "a", "denoise", "Denoiser", {}, training={"recipe": {"degradation": "photo"}}
    )
    assert trained.degradation == "photo"
    assert ModelCard("a", "denoise", "Denoiser", {}).degradation == ""
    assert ModelCard("a", "denoise", "Denoiser", {}, training={"recipe": "mine"}).degradation == ""


def written(path: Path, values: object, tensors: dict[str, torch.Tensor]) -> Path:
    path.write_bytes(save(tensors, metadata={"restore": json.dumps(values)}))
    return path


@pytest.mark.parametrize(
    "arguments",
    [
        {"widths": [10**9, 10**9]},
        {"widths": [-5, -5]},
        {"widths": [4] * 100_000, "blocks": [0] * 100_000},
        {"blocks": [10**6, 10**6]},  # which took minutes to build
        {"blocks": "many"},
        {"widths": 5},
        {"channels": 10**12},
        {"noise_inputs": "x"},
    ],
    ids=str,
)
def test_a_card_of_an_absurd_network_is_one_sentence(
    tmp_path: Path, small_network: Denoiser, arguments: dict[str, object]
) -> None:
    values = {"name": "t", "task": "denoise", "architecture": "Denoiser"}
    values |= {"arguments": {**ARGUMENTS, **arguments}}  # type: ignore[dict-item]
    path = written(tmp_path / "t.safetensors", values, dict(small_network.state_dict()))
    with pytest.raises(WeightsError, match="does not fit its card") as refusal:
        load_model(path)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.int8, torch.complex64], ids=str)
def test_weights_of_other_types_are_refused(
    tmp_path: Path, small_network: Denoiser, dtype: torch.dtype
) -> None:
    values = {"name": "t", "task": "denoise", "architecture": "Denoiser", "arguments": ARGUMENTS}
    tensors = {key: value.to(dtype) for key, value in small_network.state_dict().items()}
    with pytest.raises(WeightsError, match="save them as float16"):
        load_model(written(tmp_path / "t.safetensors", values, tensors))


@pytest.mark.parametrize("header", [b"[" * 100_000, b'{"a":' * 100_000, b"9" * 5000], ids=len)
def test_a_deep_or_endless_header_is_one_sentence(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "t.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(WeightsError, match="not a weights file"):
        read_card(path)


def test_loading_a_model_does_not_import_torchs_compiler() -> None:
    """It takes most of a second, which every command would pay."""
    asked = "import sys, restore.models.weights; print('torch._dynamo' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
