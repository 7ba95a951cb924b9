"""Where results go, settled before anything is read: trees, patterns, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from restore.errors import InputError, WriteError
from restore.pipeline.file import Saving
from restore.pipeline.plan import plan_jobs


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("in/a.jpg", "in/b.png", "in/sub/a.jpg", "in/sub/deep/c.tif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def planned(photos: Path, output: str | None, *given: str, **options: object) -> dict[str, str]:
    saving = options.pop("saving", Saving())
    target = None if output is None else photos / output if "/" not in output[:1] else output
    jobs = plan_jobs([photos / g for g in given], target, saving, **options)  # type: ignore[arg-type]
    return {
        j.source.relative_to(photos).as_posix(): j.target.relative_to(photos).as_posix()
        for j in jobs
    }


def test_beside_and_into_a_mirrored_tree(photos: Path) -> None:
    assert planned(photos, None, "in") == {
        "in/a.jpg": "in/a-restored.jpg",
        "in/b.png": "in/b-restored.png",
    }
    assert planned(photos, "out", "in", recursive=True) == {
        "in/a.jpg": "out/a.jpg",
        "in/b.png": "out/b.png",
        "in/sub/a.jpg": "out/sub/a.jpg",
        "in/sub/deep/c.tif": "out/sub/deep/c.tif",
    }


def test_patterns(photos: Path) -> None:
    jobs = plan_jobs([photos / "in" / "a.jpg"], "{stem}-x{ext}", Saving())
    assert jobs[0].target == photos / "in" / "a-x.jpg"
    jobs = plan_jobs([photos / "in" / "a.jpg"], "{parent}/new/{name}.png", Saving())
    assert jobs[0].target == photos / "in" / "new" / "a.jpg.png"
    found = planned(photos, "out/{tree}/{number:03}-{stem}{ext}", "in", recursive=True)
    assert list(found.values()) == [
        "out/001-a.jpg",
        "out/002-b.png",
        "out/sub/003-a.jpg",
        "out/sub/deep/004-c.tif",
    ]
    saving = Saving(file_format="png")
    assert planned(photos, "{stem}{ext}", "in/a.jpg", saving=saving) == {"in/a.jpg": "a.png"}


@pytest.mark.parametrize(
    "pattern", ["{nix}.png", "{stem", "{}.png", "{stem.__class__}.png", "{stem:d}"]
)
def test_patterns_that_make_no_sense(photos: Path, pattern: str) -> None:
    with pytest.raises(InputError, match="pattern"):
        plan_jobs([photos / "in"], pattern, Saving())


def test_results_of_an_earlier_run_are_no_sources(photos: Path) -> None:
    (photos / "in" / "a-restored.jpg").write_bytes(b"x")
    assert "in/a-restored.jpg" not in planned(photos, None, "in")
    named = planned(photos, None, "in/a.jpg", "in/a-restored.jpg")  # as a shell expands in/*.jpg
    assert list(named) == ["in/a.jpg"]
    (photos / "elsewhere").mkdir()
    assert "in/a-restored.jpg" not in planned(photos, "elsewhere", "in")
    # But a picture of that name whose source is not there is a picture like others.
    (photos / "in" / "z-restored.jpg").write_bytes(b"x")
    assert "in/z-restored.jpg" in planned(photos, None, "in")


def test_results_named_after_two_formats_are_no_sources(photos: Path) -> None:
    for name in ("a.nef", "a.tif", "a-nef-restored.tif", "a-restored.tif"):
        (photos / name).write_bytes(b"x")
    named = planned(photos, None, "a.nef", "a.tif", "a-nef-restored.tif", "a-restored.tif")
    assert named == {"a.nef": "a-nef-restored.tif", "a.tif": "a-restored.tif"}
    assert planned(photos, "out", "a.nef", "a.tif") == {
        "a.nef": "out/a-nef.tif",
        "a.tif": "out/a.tif",
    }


def test_results_keep_their_names_in_another_folder_only(photos: Path) -> None:
    found = planned(photos, "in/sub", "in/b.png", "in/sub/a.jpg")
    assert found == {"in/b.png": "in/sub/b.png", "in/sub/a.jpg": "in/sub/a-restored.jpg"}
    assert planned(photos, "in", "in")["in/a.jpg"] == "in/a-restored.jpg"
    with pytest.raises(WriteError, match="another picture of this batch"):
        planned(photos, "in/sub", "in/a.jpg", "in/sub/a.jpg")


def test_results_inside_the_tree_are_not_restored_again(photos: Path) -> None:
    (photos / "in" / "out").mkdir()
    (photos / "in" / "out" / "old.jpg").write_bytes(b"x")
    assert len(planned(photos, "in/out", "in", recursive=True)) == 4


def test_pictures_of_one_name_in_two_formats_go_through_a_folder(photos: Path) -> None:
    folder = photos / "card"
    folder.mkdir()
    for name in ("a.nef", "a.tif", "b.gif", "b.png", "c.ppm", "c.gif"):
        (folder / name).write_bytes(b"x")
    jobs = {job.source.name: job.target.name for job in plan_jobs([folder], None, Saving())}
    assert jobs == {
        "a.nef": "a-nef-restored.tif",
        "a.tif": "a-restored.tif",
        "b.gif": "b-gif-restored.png",
        "b.png": "b-restored.png",
        "c.gif": "c-gif-restored.png",
        "c.ppm": "c-ppm-restored.png",
    }


def test_two_pictures_with_one_result_are_refused(photos: Path) -> None:
    with pytest.raises(WriteError, match=r"in/a\.jpg and .*in/sub/a\.jpg would both become"):
        planned(photos, "out", "in/a.jpg", "in/sub/a.jpg")
    with pytest.raises(WriteError, match="both become"):
        planned(photos, "{stem}.png", "in/a.jpg", "in/sub/a.jpg")
    with pytest.raises(WriteError, match="one file for 2 pictures"):
        planned(photos, "out.png", "in")


def test_a_result_that_would_replace_a_picture_is_refused(photos: Path) -> None:
    (photos / "in" / "a.png").write_bytes(b"x")
    with pytest.raises(WriteError, match=r"a\.png, which is another picture of this batch"):
        plan_jobs([photos / "in"], "{parent}/{stem}.png", Saving())
    with pytest.raises(WriteError, match="is the picture itself"):
        plan_jobs([photos / "in" / "b.png"], "{stem}{ext}", Saving())


def test_a_folder_that_is_a_file_is_refused(photos: Path) -> None:
    (photos / "results").write_bytes(b"x")
    with pytest.raises(WriteError, match="is a file"):
        planned(photos, "results", "in")


def test_in_place_has_no_output(photos: Path) -> None:
    saving = Saving(in_place=True)
    assert planned(photos, None, "in/a.jpg", saving=saving) == {"in/a.jpg": "in/a.jpg"}
    with pytest.raises(InputError, match="no other output"):
        planned(photos, "out", "in", saving=saving)


def test_what_cannot_be_written_goes_on_as_what_can(photos: Path) -> None:
    for name in ("r.dng", "h.heic", "g.gif"):
        (photos / name).write_bytes(b"x")
    found = planned(photos, None, "r.dng", "h.heic", "g.gif")
    assert list(found.values()) == ["r-restored.tif", "h-restored.png", "g-restored.png"]
