"""Which picture becomes which result in stores and folders, and which is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from restore.errors import InputError, WriteError
from restore.pipeline.file import Saving
from restore.pipeline.places import PlacedJob, place_jobs, why_kept


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
