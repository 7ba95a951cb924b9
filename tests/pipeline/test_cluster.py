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
from restore.errors import InputError, WriteError
from restore.image.picture import Picture
from restore.image.read import load_image
from restore.image.write import save_image
from restore.pipeline import cluster
from restore.pipeline.batch import denoise_files
from restore.pipeline.cluster import (
    PlacedJob,
    Worker,
    actor_places,
    place_jobs,
    strips_of,
    why_kept,
)
from restore.pipeline.file import Saving
from restore.pipeline.large import RowPicture, TiffWork
from restore.tasks.denoise import denoising

MODEL = "denoise-gaussian-fast"


@pytest.fixture
def photos(tmp_path: Path, rng: np.random.Generator) -> Path:
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    for number in range(6):
        pixels = rng.random((40, 48, 3), np.float32)
        place = folder / "deep" if number == 5 else folder
        save_image(Picture(pixels), place / f"{number}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def test_each_gpu_or_group_of_cores_gets_a_worker() -> None:
    nodes = [
        {"Alive": True, "Resources": {"CPU": 16.0, "GPU": 2.0}},
        {"Alive": True, "Resources": {"CPU": 9.0}},
        {"Alive": False, "Resources": {"CPU": 64.0}},
        {"Alive": True, "Resources": {"CPU": 1.0}},
        {"Alive": True, "Resources": {}},
    ]
    asked = actor_places(nodes)
    assert asked == [
        *([{"num_gpus": 1, "num_cpus": 8, "max_concurrency": 8}] * 2),
        *([{"num_cpus": 4, "max_concurrency": 2}] * 2),
        {"num_cpus": 1, "max_concurrency": 2},
    ]
    with pytest.raises(InputError, match="no machine"):
        actor_places(nodes[2:3])


def test_results_are_placed_in_the_tree_of_the_inputs(photos: Path) -> None:
    pytest.importorskip("fsspec", reason="pip install fsspec")
    base = f"file://{photos}"
    placed = place_jobs([base], "s3://bucket/clean/", Saving(), recursive=True)
    assert PlacedJob(f"{base}/deep/5.png", "s3://bucket/clean/deep/5.png") in placed
    assert len(placed) == 7
    local = place_jobs([str(photos)], "s3://bucket/clean", Saving(), recursive=False)
    assert local[0] == PlacedJob(photos / "0.png", "s3://bucket/clean/0.png")
    beside = place_jobs([base], base, Saving(), recursive=False)
    assert beside[0].target == f"{base}/0-restored.png"
    with pytest.raises(InputError, match="give a folder with -o"):
        place_jobs([base], None, Saving(), recursive=True)
    with pytest.raises(InputError, match="not replaced in place"):
        place_jobs([str(photos)], None, Saving(in_place=True), recursive=False)
    with pytest.raises(WriteError, match="would both become"):
        place_jobs([f"{base}/0.png", str(photos / "0.png")], "s3://b", Saving(), recursive=False)


def test_what_is_done_is_skipped_in_stores_as_in_folders(photos: Path) -> None:
    pytest.importorskip("fsspec", reason="pip install fsspec")
    job = PlacedJob(f"file://{photos}/0.png", f"file://{photos}/1.png")
    assert "is newer" in why_kept(job, Saving(), False)
    assert why_kept(job, Saving(overwrite=True), False) == ""
    back = PlacedJob(job.target, job.source)
    with pytest.raises(WriteError, match="older"):
        why_kept(back, Saving(), False)
    assert "exists" in why_kept(back, Saving(), True)
    assert why_kept(PlacedJob(job.source, f"file://{photos}/no.png"), Saving(), False) == ""


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
