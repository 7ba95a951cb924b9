"""The benchmarks' own decisions, and that what they find is kept."""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from restore.engine.compute import Resources
from restore.image.read import load_image
from restore.models.denoiser import Denoiser

CPU = torch.device("cpu")
ROOT = Path(__file__).resolve().parent.parent


def script(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A script as a module."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)  # for its dataclasses
    spec.loader.exec_module(module)
    return module


def test_what_the_time_does_not_allow_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The dearest cells first; what is left goes to more runs and engines, the cheapest first."""
    engines = script("engines", monkeypatch)
    ours, other, slow = (engines.Way(name, "fp32") for name in ("torch", "openvino", "onnx"))
    rates = {("a", ours): 1.0, ("a", other): 2.0, ("a", slow): 0.1}
    cells = [engines.Cell("a", size, (ours, other)) for size in (12.0, 24.0, 100.0)]
    cost = [cell.cost(rates) for cell in cells]
    assert engines.planned(cells, rates, cost[0] - 1, 3) == []
    assert engines.planned(cells, rates, cost[0] + cost[1] + 1, 3) == cells[:2]
    rich = engines.planned(cells, rates, 1e6, 3)
    assert [cell.rounds for cell in rich] == [3, 3, 1]  # the largest once
    assert all(set(cell.ways) == {ours, other, slow} for cell in rich)
    some = engines.planned(cells[:1], rates, 2 * cost[0], 3)
    assert some[0].rounds > 1 and slow not in some[0].ways
    assert sum(cell.cost(rates) for cell in some) <= 2 * cost[0]


def test_pictures_packed_in_parts_are_unpacked_as_they_were(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also two of one name, and the table of their sources."""
    pack_data, train = script("pack_data", monkeypatch), tmp_path / "train"
    for folder in ("train", "val"):
        (tmp_path / folder).mkdir()
    rng = np.random.default_rng(0)
    for name in ("train/a.png", "train/a.tif", "train/b.png", "val/c.png"):
        pixels = rng.integers(0, 256, (64, 48, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    (train / "SOURCES.csv").write_text("licence\nCC0\n")

    def run(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["pack_data.py", *map(str, words)])
        pack_data.main()
        return capsys.readouterr().out

    # a second picture does not fit into a part
    parts, data = tmp_path / "parts", tmp_path / "data"
    run(train, parts, "--val", tmp_path / "val", "--limit", 0.04)
    assert len(list(parts.iterdir())) > 1
    for part in parts.iterdir():
        assert "added to" in run(part, data, "--unpack")
    before = {path.name: load_image(path) for path in tmp_path.glob("[tv]*/*.*[gf]")}
    after = {path.stem: load_image(path) for path in data.glob("*/*.bmp")}
    assert sorted(after) == sorted(before) == ["a.png", "a.tif", "b.png", "c.png"]
    for name, picture in before.items():
        assert np.array_equal(picture.pixels, after[name].pixels)
    assert (data / "train" / "SOURCES.csv").read_text() == "licence\nCC0\n"


@pytest.mark.parametrize("smaller", [True, False])
def test_memory_on_a_gpu_is_checked_with_a_fifth_of_what_a_run_takes(
    monkeypatch: pytest.MonkeyPatch, small_network: Denoiser, smaller: bool
) -> None:
    """Torch's own functions, without a device: one of them takes a device's number only."""
    gpu, limits, cuda = script("gpu", monkeypatch), list[float](), torch.cuda
    monkeypatch.setattr(torch._C, "_cuda_setMemoryFraction", lambda f, n: limits.append(f), False)
    for module in (cuda, cuda.memory):
        monkeypatch.setattr(module, "_lazy_init", lambda: None)
    total = types.SimpleNamespace(total_memory=1000)
    for name, value in {
        "current_device": 0, "empty_cache": None, "reset_peak_memory_stats": None,
        "memory_allocated": 100, "max_memory_allocated": 350, "get_device_properties": total,
    }.items():  # fmt: skip
        monkeypatch.setattr(cuda, name, lambda *_, value=value: value)

    def run_array(network: Any, pixels: Any, resources: Resources) -> Any:
        tile = 26 if smaller and limits else None
        return real(network, pixels, Resources(CPU, torch.float32, tile))

    real, pixels = gpu.run_array, np.random.default_rng(0).random((40, 40, 3), np.float32)
    monkeypatch.setattr(gpu, "run_array", run_array)
    exact = Resources(torch.device("cuda"), torch.float32)
    whole = run_array(small_network, pixels, exact).pixels
    found = list(gpu.check_memory(small_network, pixels, exact, whole))
    assert limits == [pytest.approx(0.15), 1.0]  # 100 were taken before, and 250 by the run
    assert [holds for _, _, holds in found] == [True, smaller]


def test_what_may_fail_on_a_gpu_or_takes_long_is_timed_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpu = script("gpu", monkeypatch)
    plain, search, graph, slow = gpu.ALONE
    found = list(gpu.jobs(["large", "small"], [1.0, 12.0], cuda=True))
    assert found[:4] == [("large", 1.0, way) for way in (plain, search, "engine", "pipeline")]
    assert len(found) == len(set(found)) == 2 * 2 * 5 + 2
    assert {way for _, _, way in found[-6:-2]} == {graph}
    assert found[-2:] == [("large", 1.0, slow), ("small", 1.0, slow)]
    on_a_cpu = {way for _, _, way in gpu.jobs(["large"], [1.0], cuda=False)}
    assert on_a_cpu == {plain, "engine", "pipeline"}


def test_what_was_found_on_a_gpu_is_kept_when_the_time_ends(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gpu, target = script("gpu", monkeypatch), tmp_path / "new" / "check.json"

    def check(name: str, device: torch.device, megapixels: float) -> Iterator[Any]:
        yield "float32", 0.0, True
        raise KeyboardInterrupt

    monkeypatch.setattr(gpu, "check", check)
    words = ["gpu.py", "check", "--device", "cpu", "--json", str(target), "--models", "any"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(KeyboardInterrupt):
        gpu.main()
    (row,) = json.loads(target.read_text())["rows"]
    assert row == {"model": "any", "what": "float32", "figure": 0.0, "holds": True}


def test_a_community_network_is_compared_tiled_with_untiled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("spandrel", reason="pip install spandrel")
    from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    torch.save(SRVGGNetCompact(num_feat=4, num_conv=1, upscale=2).state_dict(), tmp_path / "c.pth")
    community, target = script("community", monkeypatch), tmp_path / "rows.json"
    words = ["community.py", str(tmp_path / "c.pth"), "--json", str(target)]
    monkeypatch.setattr(sys, "argv", words)
    community.main()
    (row,) = json.loads(target.read_text())
    assert (row["architecture"], row["scale"]) == ("RealESRGAN Compact", 2)
    assert row["tiles"] > 1 and row["most"] < 1e-3  # of 255
