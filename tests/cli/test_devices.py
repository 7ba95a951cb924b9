"""`restore devices`: devices, precision and why, speeds that are measured once, what auto takes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from restore.cli import app, devices
from restore.engine.backend import Plan
from restore.engine.compute import Resources, installed_engines
from restore.image.picture import Pixels
from restore.models.card import ModelCard
from restore.models.denoiser import Denoiser
from restore.models.network import Network
from restore.models.weights import save_weights


@pytest.fixture(autouse=True)
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A network and a picture that are measured in no time, and a cache folder of its own."""
    path = tmp_path / "tiny.safetensors"
    network = Denoiser(3, (4,), (1,), noise_inputs=3)
    save_weights(network, ModelCard("tiny", "denoise", "Denoiser", network.arguments), path)
    monkeypatch.setattr(devices, "MODELS", (str(path),))
    monkeypatch.setattr(devices, "SIDES", (24, 32))
    monkeypatch.setattr("restore.engine.device.available_devices", lambda: ["cpu"])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return str(path)


def run(*words: str) -> str:
    result = CliRunner().invoke(app, ["devices", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_it_shows_devices_precision_memory_and_speed(tiny: str) -> None:
    shown = run()
    assert shown.count("measuring") == len(installed_engines())
    page = shown[shown.index("cpu (") :]
    assert "GB free" in page
    assert "fp32" in page and ("speed of fp32" in page or "no fast bf16" in page)
    assert f"{tiny}, torch " in page and " MP/s" in page
    assert f"{tiny}, auto " in page and "for 1, " in page


def test_it_measures_once_unless_asked(tiny: str) -> None:
    run()
    assert "measuring" not in run()
    assert "measuring" in run("--measure")


def test_json_holds_what_was_measured(tiny: str) -> None:
    run()
    (found,) = json.loads(run("--json"))
    assert {row["engine"] for row in found["speeds"]} == set(installed_engines())
    assert all(row["rate"] > 0 for row in found["speeds"])


def test_a_gpu_comes_first_with_its_memory_precision_and_speed(
    tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without one: what torch tells of it, and the runs on it, are replaced."""
    monkeypatch.setattr("restore.engine.device.available_devices", lambda: ["cuda", "cpu"])
    for name, value in {
        "device_count": 1, "get_device_name": "NVIDIA H100", "mem_get_info": (80 * 10**9, 10**11),
        "memory_reserved": 0, "memory_allocated": 0,
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    planned, seen = devices.planned, list[Resources]()

    def on_the_cpu(network: Network, pixels: Pixels, resources: Resources) -> Plan:
        seen.append(resources)
        return planned(network, pixels, Resources(torch.device("cpu"), torch.float32))

    monkeypatch.setattr(devices, "planned", on_the_cpu)
    gpu, cpu = json.loads(re.sub(r"(?m)^measuring.*\n", "", run("--json")))
    assert gpu["device"] == "cuda:0 (NVIDIA H100)" and gpu["memory"] == "80.00 GB free"
    assert gpu["precision"].startswith("fp16: ") and gpu["auto"] == {}
    assert [speed["engine"] for speed in gpu["speeds"]] == ["torch"] and len(cpu["auto"]) == 1
    assert {(r.device, r.dtype) for r in seen if r.device.type == "cuda"} == {
        (torch.device("cuda:0"), torch.float16)
    }
    assert run().count("measuring") == 1  # the CPU's speeds are kept
