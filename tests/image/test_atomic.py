"""Writing whole or not at all: full disks, interruptions, names that appear meanwhile."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from restore.errors import WriteError
from restore.image.picture import Picture
from restore.image.read import load_image
from restore.image.write import save_image


def picture_of(channels=3):
    values = np.random.default_rng(channels).random((13, 19, channels))
    return Picture(values.astype(np.float32))


def failing(monkeypatch, name, error):
    def fail(*_arguments):
        raise error

    monkeypatch.setattr(os, name, fail)


@pytest.mark.parametrize("name", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device")])
def test_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, name, error):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    failing(monkeypatch, name, error)
    with pytest.raises(WriteError, match=r"a\.png cannot be written: No space left"):
        save_image(picture_of(), path, overwrite=True)
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_interrupted_writing_leaves_nothing(tmp_path, monkeypatch):
    failing(monkeypatch, "fsync", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        save_image(picture_of(), tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_killed_writing_leaves_no_file_of_that_name(tmp_path):
    script = (
        "import os, time, numpy as np\n"
        "from restore.image.picture import Picture\n"
        "from restore.image.write import save_image\n"
        "os.fsync = lambda handle: (print('here', flush=True), time.sleep(60))\n"
        f"save_image(Picture(np.zeros((9, 9, 3), np.float32)), {str(tmp_path / 'a.png')!r})\n"
    )
    root = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=root)
    assert process.stdout.readline() == b"here\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "a.png").exists()


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path, monkeypatch):
    path, sync = tmp_path / "a.png", os.fsync

    def appear(handle):
        path.write_bytes(b"other")
        sync(handle)

    monkeypatch.setattr(os, "fsync", appear)
    for links in (True, False):
        if not links:  # a file system without hard links
            failing(monkeypatch, "link", OSError(errno.EPERM, "no links"))
        path.unlink(missing_ok=True)
        with pytest.raises(WriteError, match="exists"):
            save_image(picture_of(), path)
        assert path.read_bytes() == b"other" and len(list(tmp_path.iterdir())) == 1


def test_file_system_without_hard_links(tmp_path, monkeypatch):
    failing(monkeypatch, "link", OSError(errno.EPERM, "no links"))
    save_image(picture_of(), tmp_path / "a.png")
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    assert load_image(tmp_path / "a.png").width == 19


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_mode_follows_the_umask_and_links_stay_links(tmp_path):
    old = os.umask(0o027)
    try:
        save_image(picture_of(), tmp_path / "a.png")
    finally:
        os.umask(old)
    assert (tmp_path / "a.png").stat().st_mode & 0o777 == 0o640
    (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
    save_image(picture_of(1), tmp_path / "link.png", overwrite=True)
    assert (tmp_path / "link.png").is_symlink()
    assert load_image(tmp_path / "a.png").channels == 1
