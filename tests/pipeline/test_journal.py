"""A batch skips the result of this very picture with these settings, and no other."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from restore.models.denoiser import Denoiser
from restore.pipeline.batch import denoise_files
from restore.pipeline.flow import Outcome
from restore.pipeline.journal import JOURNAL, Journals, plain, settings_of
from restore.pipeline.plan import plan_jobs
from restore.tasks.denoise import denoising
from restore.tasks.target_size import make_size
from restore.tasks.upscale import upscaling

FP32: dict[str, Any] = {"device": "cpu", "precision": "fp32"}
IN_PLACE: dict[str, Any] = {"in_place": True, "backup": True, **FP32}


def picture(path: Path, value: int) -> Path:
    Image.fromarray(np.full((9, 11, 3), value, np.uint8)).save(path)
    return path


def one(source: Path, network: Any, output: Path | None = None, **more: Any) -> Outcome:
    (outcome,) = denoise_files(source, output, network, **{**FP32, **more})
    return outcome


def test_a_result_of_another_picture_or_of_other_settings_is_not_taken_for_done(
    tmp_path: Path, identity: Any
) -> None:
    source, network = picture(tmp_path / "a.png", 100), identity()
    assert one(source, network).status == "written"
    again = one(source, network)
    assert again.status == "skipped" and "was made of it" in again.reason
    other = one(source, network, strength=0.5)
    assert other.status == "failed" and "other settings" in other.reason
    picture(source, 200)
    os.utime(source, (1, 1))  # an older picture, moved here: its result is newer than it
    older = one(source, network)
    assert older.status == "failed" and "as it was before; pass --overwrite" in older.reason
    assert one(source, network, skip_existing=True).status == "skipped"
    assert one(source, network, overwrite=True).status == "written"
    assert one(source, network).status == "skipped"


def test_in_place_a_picture_is_restored_once_and_a_new_one_beside_an_old_backup_is_not_done(
    tmp_path: Path, small_network: Denoiser
) -> None:
    source = picture(tmp_path / "a.png", 100)
    backup = tmp_path / "a.png.orig"
    assert one(source, small_network, **IN_PLACE).status == "written"
    backup.rename(tmp_path / "moved away")
    assert one(source, small_network, **IN_PLACE).status == "skipped"
    (tmp_path / "moved away").rename(backup)
    original = backup.read_bytes()
    picture(source, 200)
    os.utime(source, (1, 1))
    found = one(source, small_network, **IN_PLACE)
    assert found.status == "failed" and "move the backup away" in found.reason
    backup.unlink()  # following the advice
    assert one(source, small_network, **IN_PLACE).status == "written"
    assert backup.read_bytes() != original


def test_a_damaged_journal_or_a_link_in_its_place_does_no_harm(
    tmp_path: Path, identity: Any
) -> None:
    source, out = picture(tmp_path / "a.png", 100), tmp_path / "out"
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    out.mkdir()
    (out / JOURNAL).symlink_to(precious)
    assert one(source, identity(), out).status == "written"
    assert precious.read_bytes() == b"precious"
    (out / JOURNAL).unlink()
    (out / JOURNAL).write_bytes(b'[1]\n{}\n["a", [1, 2], "b"]\n\xff\n' + b"[" * 100_000)
    assert Journals().made(out / "a-restored.png") is None
    assert one(source, identity(), out).status == "skipped"  # by the times


def test_a_link_and_its_file_are_one_picture_which_is_the_file(tmp_path: Path) -> None:
    source = picture(tmp_path / "z.png", 100)
    (tmp_path / "a-link.png").symlink_to(source)
    from restore.pipeline.file import Saving

    jobs = plan_jobs([tmp_path], None, Saving(in_place=True))
    assert [job.source for job in jobs] == [source]


def test_settings_are_told_apart(small_network: Denoiser) -> None:
    tasks = [
        denoising(small_network),
        denoising(small_network, 0.5),
        denoising(Denoiser(widths=(4, 8), blocks=(1, 1), seed=9)),
        upscaling(make_size(2), "bicubic"),
        upscaling(make_size(3), "bicubic"),
    ]
    assert len({settings_of(task) for task in tasks}) == len(tasks)
    assert settings_of(tasks[0]) == settings_of(denoising(small_network))
    assert plain(tasks[3])["networks"] == {"1": "Interpolation"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of POSIX")
def test_a_pipe_in_place_of_the_journal_does_not_hang(tmp_path: Path, identity: Any) -> None:
    source = picture(tmp_path / "a.png", 100)
    os.mkfifo(tmp_path / JOURNAL)
    assert one(source, identity()).status == "written"
    assert one(source, identity()).status == "skipped"
