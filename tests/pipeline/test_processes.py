"""Files shared out over several processes, each file restored once, whatever happens to one."""

from __future__ import annotations

import queue
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from restore.engine import device as runtime
from restore.image.arrays import from_array
from restore.image.read import load_image
from restore.image.write import save_image
from restore.pipeline.batch import denoise_files
from restore.pipeline.processes import _Worker, restore_in_processes


@pytest.fixture
def folder(tmp_path: Path, samples: Path) -> Path:
    from PIL import Image

    (tmp_path / "in").mkdir()
    for name in ("fur.png", "text.png"):
        for copy in range(3):
            picture = Image.open(samples / name).crop((0, 0, 64, 48))
            picture.save(tmp_path / "in" / f"{copy}-{name}")
    (tmp_path / "in" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nno picture")
    return tmp_path


def test_two_processes_restore_each_file_once(folder: Path) -> None:
    batch = denoise_files(folder / "in", folder / "out", device="cpu,cpu", precision="fp32")
    outcomes = {outcome.source.name: outcome for outcome in batch}
    assert len(outcomes) == len(batch) == 7
    assert [n for n, o in outcomes.items() if o.status == "failed"] == ["bad.png"]
    assert batch.network_seconds > 0 and batch.seconds > 0
    alone = denoise_files(folder / "in", folder / "alone", device="cpu", precision="fp32")
    for outcome in alone:
        if outcome.status == "written" and outcome.target is not None:
            other = load_image(folder / "out" / outcome.target.name).pixels
            assert abs(load_image(outcome.target).pixels - other).max() <= 1 / 255


def test_a_process_that_dies_fails_its_files(folder: Path, samples: Path) -> None:
    shutil.rmtree(folder / "in")
    (folder / "in").mkdir()
    shutil.copy(samples / "fur.png", folder / "in")
    batch = denoise_files(folder / "in", folder / "out", device="cpu,cpu")
    began = _Worker.give

    def killed(self: _Worker, job: object) -> None:
        began(self, job)  # type: ignore[arg-type]
        if job is not None:
            self.process.kill()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(_Worker, "give", killed)
        outcomes = [outcome for outcome, _ in restore_in_processes(batch.jobs, batch.devices)]
    assert [o.status for o in outcomes] == ["failed"]
    assert "run again" in outcomes[0].reason
    assert not list(folder.glob("out/*.png"))


def test_workers_run_no_module_of_the_folder_they_are_started_in(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("torch.py", "restore.py", "pickle.py"):
        (folder / name).write_text(
            "import pathlib; pathlib.Path('ran').touch(); raise SystemExit(9)"
        )
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend("")
    (folder / "in" / "bad.png").unlink()
    batch = denoise_files(folder / "in", folder / "out", device="cpu,cpu", precision="fp32")
    assert {outcome.status for outcome in batch} == {"written"}
    assert not (folder / "ran").exists()


def test_devices_by_name() -> None:
    assert [d.type for d in runtime.choose_devices("cpu, cpu")] == ["cpu", "cpu"]
    assert len(runtime.choose_devices("all")) >= 1
    assert runtime.choose_device("cpu,cpu").type == "cpu"


def test_a_worker_ends_with_its_parent_whatever_it_is_doing(folder: Path) -> None:
    noisy = np.random.default_rng(0).integers(0, 256, (1200, 1200, 3), np.uint8)
    save_image(from_array(noisy), folder / "in" / "bad.png", overwrite=True)
    batch = denoise_files(folder / "in" / "bad.png", folder / "out", device="cpu,cpu")
    messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
    worker = _Worker(batch.devices[0], 1, messages)
    worker.give(batch.jobs[0])
    assert messages.get()[1][0] == "tiles"  # it is at work
    assert worker.process.stdin is not None
    worker.process.stdin.close()  # as the system does when the parent was killed
    assert worker.process.wait() == 1
    worker.end()
    assert not list(folder.glob("out/*.png"))
