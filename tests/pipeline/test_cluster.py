"""A batch on a cluster: the rules of one machine, and a real local cluster of two nodes."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from restore.engine.compute import Compute
from restore.errors import InputError
from restore.image.picture import Picture
from restore.image.read import decode_image, load_image
from restore.image.write import save_image
from restore.pipeline import cluster
from restore.pipeline.actors import Worker
from restore.pipeline.batch import denoise_files, upscale_files
from restore.pipeline.cluster import strips_of
from restore.pipeline.file import Saving
from restore.pipeline.large import TiffWork
from restore.pipeline.rows import RowPicture
from restore.pipeline.store import list_store, read_store, write_store
from restore.tasks.denoise import denoising

MODEL = "denoise-gaussian-fast"


@pytest.mark.parametrize(("model", "detail"), [(MODEL, None), ("denoise-photo-fast", 0.5)])
def test_strips_give_what_the_whole_gives(
    tmp_path: Path,
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    detail: float | None,
) -> None:
    source = tmp_path / "large.tif"
    noisy = (0.5 + 0.05 * rng.standard_normal((300, 64, 3))).astype(np.float32)
    save_image(Picture(noisy, depth=16), source)
    monkeypatch.setattr(cluster, "STRIP_PIXELS", 64 * 50)
    task, compute = denoising(model, detail=detail), Compute("cpu", "fp32")
    worker = Worker((task, compute, Saving()), 1)
    work = TiffWork(source, tmp_path / "out.tif", task, compute, False, False)
    rows = list(strips_of(work.picture, 0))
    assert len(rows) > 4 and rows[-1][1] == 300
    for each in rows:
        work.strips.append(worker.restore_strip(*cluster._strip(work.picture, each, None)))
    work.finish()
    work.close()
    from restore.pipeline.picture import denoise

    whole = denoise(source, model, detail=detail, device="cpu", precision="fp32").picture
    found = load_image(tmp_path / "out.tif")
    np.testing.assert_allclose(found.pixels, whole.pixels, rtol=0, atol=2e-5)


def test_strips_at_strength_zero_need_no_network(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, compute = denoising(MODEL, strength=0), Compute("cpu", "fp32")
    samples = rng.integers(0, 256, (60, 32, 3), np.uint8)
    monkeypatch.setattr("restore.engine.run.run_array", lambda *_: pytest.fail("the network ran"))
    worker, picture = Worker((task, compute, Saving()), 1), RowPicture(samples, task)
    strip = worker.restore_strip(*cluster._strip(picture, (16, 40), None))
    np.testing.assert_array_equal(strip, samples[16:40])


def test_without_a_cluster_or_ray_it_is_said(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = denoise_files(photos, tmp_path / "out", MODEL, cluster="ray://nowhere:1")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match="--cluster needs Ray"):
        list(batch)

    def refuse(**_: object) -> None:
        raise ConnectionError("nobody\nanswers")

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=refuse))
    with pytest.raises(InputError, match=r"at 'ray://nowhere:1' \(nobody answers\); start one"):
        list(batch)


def test_pictures_of_kinds_that_are_not_read_are_named(photos: Path, tmp_path: Path) -> None:
    (photos / "layers.psd").touch()
    batch = denoise_files(photos, "memory://out", MODEL, cluster="auto")
    assert batch.unread == [photos / "layers.psd"]


@pytest.fixture
def two_nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A Ray cluster of two nodes with a core each, on this machine."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    pytest.importorskip("ray", reason="pip install ray")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own, about files it leaves to be closed
        from ray.cluster_utils import Cluster

        nodes = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
        )
        second = nodes.add_node(num_cpus=1)
        try:
            yield nodes, second
        finally:
            nodes.shutdown()


@pytest.mark.filterwarnings("ignore")
def test_two_nodes_give_what_one_machine_gives_though_one_is_lost(
    two_nodes: Any, photos: Path, tmp_path: Path, assert_same_picture: Any
) -> None:
    nodes, second = two_nodes
    settings: Any = {"recursive": True, "device": "cpu", "precision": "fp32"}
    here = {o.source: o for o in denoise_files(photos, tmp_path / "here", MODEL, **settings)}
    batch = denoise_files(photos, tmp_path / "there", MODEL, cluster=nodes.address, **settings)
    there: dict[Any, Any] = {}
    for outcome in batch:
        there[outcome.source] = outcome
        if len(there) == 2:
            nodes.remove_node(second, allow_graceful=False)
    assert there.keys() == here.keys() and len(there) == 7
    for source, outcome in there.items():
        assert outcome.status == here[source].status, outcome.reason
        assert (outcome.model, outcome.unchanged) == (here[source].model, here[source].unchanged)
        if outcome.status == "written":
            one, other = (load_image(each.target).pixels for each in (outcome, here[source]))
            assert_same_picture(
                (one * 255).round().astype(np.uint8), (other * 255).round().astype(np.uint8)
            )
        else:
            assert str(source) in outcome.reason
    again = denoise_files(photos, tmp_path / "there", MODEL, cluster=nodes.address, **settings)
    assert sorted(o.status for o in again) == ["failed", *["skipped"] * 6]


@pytest.mark.filterwarnings("ignore")
def test_pictures_are_upscaled_from_store_to_store(
    bucket: str, two_nodes: Any, photos: Path, tmp_path: Path, assert_same_picture: Any
) -> None:
    nodes, _ = two_nodes
    settings: Any = {"model": "bicubic", "recursive": True, "device": "cpu"}
    here = tmp_path / "here"
    assert len([*upscale_files(photos, here, 2, **settings)]) == 7
    for number in range(6):
        place = "deep/" if number == 5 else ""
        data = (photos / place / f"{number}.png").read_bytes()
        write_store(f"memory://photos/{place}{number}.png", data)
    ways = [
        ("memory://photos", f"file://{tmp_path}/first"),  # by this process, then by workers
        (f"file://{tmp_path}/first", f"{bucket}/second"),
        (f"{bucket}/second", "memory://third"),
    ]
    for turn, (source, target) in enumerate(ways):
        scale = 2 if turn == 0 else 1.5
        outcomes = [*upscale_files(source, target, scale, cluster=nodes.address, **settings)]
        assert [o.status for o in outcomes] == ["written"] * 6, [o.reason for o in outcomes]
        for found in list_store(target, True):
            name = found.address.rpartition("/")[2]
            one = decode_image(read_store(found.address), name=name).pixels
            if turn == 0:
                other = load_image(here / found.tree / name).pixels
                pixels = [(each * 255).round().astype(np.uint8) for each in (one, other)]
                assert_same_picture(*pixels)
            assert one.shape == (round(80 * 1.5**turn), round(96 * 1.5**turn), 3)
