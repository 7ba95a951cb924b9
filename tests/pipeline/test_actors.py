"""What a cluster's machines are asked for, and what a worker there does with a picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from restore.engine.compute import Compute
from restore.errors import InputError
from restore.image.picture import Picture
from restore.image.write import save_image
from restore.pipeline.actors import Worker, actor_places
from restore.pipeline.batch import denoise_files
from restore.pipeline.file import Saving
from restore.pipeline.places import PlacedJob
from restore.tasks.denoise import denoising


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


def test_a_worker_says_what_one_machine_says(
    tmp_path: Path, rng: np.random.Generator, identity: Any
) -> None:
    network = identity(8)
    network.blend = 8  # it sees further than any halo, of which there is a note
    source = tmp_path / "noisy.png"
    save_image(Picture(rng.random((64, 96, 3), np.float32)), source)
    job = PlacedJob(source, tmp_path / "out.png")
    compute = Compute("cpu", "fp32", tile=48)
    worker = Worker((denoising(network), compute, Saving()), 1)
    outcome, content = worker.restore(job, source.read_bytes(), False)
    (here,) = denoise_files(source, job.target, network, device="cpu", precision="fp32", tile=48)
    assert content == job.target.read_bytes()
    assert outcome.notes == here.notes and "blended" in outcome.notes[0]
    assert replace(outcome, seconds=0) == replace(here, seconds=0) and outcome.seconds > 0


def test_a_worker_refuses_what_does_not_fit_into_memory(tmp_path: Path, identity: Any) -> None:
    source = tmp_path / "huge.png"
    Image.new("L", (9000, 9000)).save(source)
    compute = Compute("cpu", memory="50MB")
    worker = Worker((denoising(identity()), compute, Saving()), 1)
    with pytest.raises(InputError, match=f"{source} says .* do not fit into 50"):
        worker.restore(PlacedJob(source, tmp_path / "out.png"), source.read_bytes(), False)
