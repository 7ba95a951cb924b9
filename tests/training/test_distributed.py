"""Several processes train as one does, and a training outlives the loss of one of them."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from restore.errors import TrainingError
from restore.models.weights import load_model
from restore.training.checkpoint import load_checkpoint
from restore.training.crops import PictureStore
from restore.training.degradations.pairs import ValidationSet
from restore.training.distributed import Processes, joined
from restore.training.job import Job, run_job
from restore.training.loop import Progress, Training, train
from restore.training.recipe import Recipe, make_recipe
from restore.training.sources import Degraded

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available() or sys.platform != "linux",
    reason="processes are found in /proc",
)


def started(recipe: Path, samples: Path, *more: str) -> subprocess.Popen[str]:
    """`torchrun --nproc-per-node 2 -m restore train ...` on the CPU."""
    words = [recipe.name, "--data", str(samples), "--val", str(samples), "--device", "cpu"]
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
            *("--standalone", "-m", "restore", "train"),
            *(*words, "--precision", "fp32", *more),
        ],
        cwd=recipe.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def table(folder: Path) -> list[dict[str, str]]:
    with open(folder / "tiny.training.csv", newline="") as file:
        return list(csv.DictReader(file))


def shared(tiny: Recipe, **changes: object) -> Recipe:
    return make_recipe({**tiny.to_dict(), "batch": [4, 3], "conditioned": 0.5, **changes}, "t")


def events_of(training: Training, store: PictureStore) -> list[Progress]:
    recipe = training.recipe
    return list(train(training, Degraded(store, recipe), ValidationSet(store, recipe)))


def close(one: Training, other: Training) -> None:
    """Muon rounds to bf16, and may round the last bit of a sum to either side."""
    for key, value in one.average.state_dict().items():
        torch.testing.assert_close(other.average.state_dict()[key], value, rtol=0, atol=2e-3)


def test_passes_share_a_batch(tiny: Recipe) -> None:
    recipe = shared(tiny, batch=[7, 5])
    found = []
    for rank in range(2):
        training = Training(recipe, "cpu", "fp32", processes=Processes(rank, 2), accumulate=2)
        found.append(training.passes())
    assert found == [[[(0, 2)], [(1, 2)]], [[(2, 2)], [(3, 1)]]]
    with pytest.raises(TrainingError, match="too small for 8 parts"):
        Training(recipe, "cpu", accumulate=8)


def test_several_passes_are_one_batch(tiny: Recipe, store: PictureStore) -> None:
    whole = Training(shared(tiny), "cpu", "fp32", parts=3)
    cut = Training(shared(tiny), "cpu", "fp32", accumulate=3)
    for one, other in zip(events_of(whole, store), events_of(cut, store), strict=True):
        assert one.loss == pytest.approx(other.loss, abs=1e-5)
        assert one.psnr is None or one.psnr == pytest.approx(other.psnr, abs=1e-3)
    close(whole, cut)


def test_without_torchrun_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined() as processes:
        assert processes == Processes() and processes.main and processes.any(True)


ENDED = """
import glob, torch
from restore.training.distributed import joined

with joined() as processes:
    layer = torch.nn.Linear(3, 3)
    network, optimiser = processes.wrapped(layer), torch.optim.AdamW(layer.parameters())
    network(torch.ones(2, 3)).sum().backward()
    optimiser.step()
    assert processes.total(torch.tensor(1.0)) == 2
    del network
names = [open(path).read().strip() for path in glob.glob("/proc/self/task/*/comm")]
assert not any("gloo" in name for name in names), names
"""


def test_no_thread_of_the_connection_is_left_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "ended.py").write_text(ENDED)
    run = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
            *("--standalone", "ended.py"),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr


def test_two_processes_train_as_one_with_twice_the_batch(
    tiny: Recipe, store: PictureStore, tmp_path: Path, samples: Path
) -> None:
    recipe = shared(tiny, steps=40, validate_every=20, conditioned=0.0)
    write(recipe, tmp_path)
    # they agree on the clock, too, and have more than enough time
    run = started(tmp_path / "tiny.toml", samples, "--no-compile", "--time-limit", "100h")
    said, _ = run.communicate(timeout=90)
    assert run.returncode == 0, said
    assert said.count("wrote ") == 1 and "Warning" not in said  # one of them speaks
    alone = Training(recipe, "cpu", "fp32", parts=2)
    events = {event.step: event for event in events_of(alone, store)}
    lines = table(tmp_path)
    assert [int(line["step"]) for line in lines] == [10, 20, 30, 40]
    for line in lines:
        event = events[int(line["step"])]
        assert float(line["loss"]) == pytest.approx(event.loss, abs=1e-5)
        if event.psnr is not None:
            assert float(line["validation_psnr"]) == pytest.approx(event.psnr, abs=2e-3)
    both = Training(recipe, "cpu", "fp32")
    both.resume(tmp_path / "tiny.checkpoint")
    close(alone, both)


def test_where_one_process_is_killed_the_training_goes_on_from_its_last_step(
    tiny: Recipe, tmp_path: Path, samples: Path
) -> None:
    write(shared(tiny, steps=100_000, validate_every=100_000), tmp_path)
    run = started(tmp_path / "tiny.toml", samples, "--no-compile")
    try:
        wait_for(lambda: (tmp_path / "tiny.training.csv").is_file() and len(table(tmp_path)) > 1)
        os.kill(process_of(run.pid, rank=1), signal.SIGKILL)
        said, _ = run.communicate(timeout=120)
    finally:
        run.kill()
    assert run.returncode != 0
    assert "another process of this training has ended, seen by process 1 of 2" in said
    step = load_checkpoint(tmp_path / "tiny.checkpoint")["step"]
    assert step >= 20 and f"step {step} is saved" in said
    job = Job(
        str(tmp_path / "tiny.toml"),
        {"steps": step + 3},
        samples,
        output=tmp_path / "tiny.safetensors",
        resume=True,
        device="cpu",
        precision="fp32",
    )
    steps = [event.step for event in run_job(job) if isinstance(event, Progress)]
    assert steps == [step + 1, step + 2, step + 3]  # with one process
    card = load_model(tmp_path / "tiny.safetensors").card
    assert card is not None and card.training["steps"] == step + 3


def write(recipe: Recipe, folder: Path) -> None:
    lines = [f"{k} = {v!r}".replace("'", '"') for k, v in recipe.to_dict().items()]
    (folder / "tiny.toml").write_text("\n".join(lines) + "\n")


def wait_for(condition: object, seconds: float = 120) -> None:
    assert callable(condition)
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it never came to it"
        time.sleep(0.1)


def process_of(parent: int, rank: int) -> int:
    """The process that torchrun started for a rank."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    for child in children:
        if f"RANK={rank}".encode() in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
            return int(child)
    raise AssertionError(f"no process of rank {rank} among {children}")
