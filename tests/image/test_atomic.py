"""Writing whole or not at all: full disks, interruptions, names that appear meanwhile."""

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from restore.errors import WriteError
from restore.image.atomic import replace_in_place, stamp, tidy, write_aside, write_json
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


def test_a_function_writes_into_the_open_file(tmp_path):
    write_aside(tmp_path / "a", lambda file: file.write(b"by a function"), overwrite=False)
    assert (tmp_path / "a").read_bytes() == b"by a function"

    def fail(file):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(WriteError, match="No space left"):
        write_aside(tmp_path / "a", fail, overwrite=True)
    assert (tmp_path / "a").read_bytes() == b"by a function" and len(list(tmp_path.iterdir())) == 1


def test_json_is_written_whole(tmp_path):
    write_json(tmp_path / "a.json", {"name": "ü", "values": [1, None]})
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {
        "name": "ü",
        "values": [1, None],
    }
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"name": object()})
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(os.name != "posix", reason="locks of POSIX")
def test_without_hard_links_only_one_of_many_writers_succeeds(tmp_path, monkeypatch):
    """Checking and then renaming let two writers report the same file as theirs."""
    failing(monkeypatch, "link", OSError(errno.EPERM, "no links"))
    there, lexists = threading.Barrier(4), os.path.lexists

    def slow(path):
        found = lexists(path)
        if Path(path).suffix == ".png":
            with contextlib.suppress(threading.BrokenBarrierError):
                there.wait(0.05)  # all of them have looked, were it not for the lock
        return found

    monkeypatch.setattr(os.path, "lexists", slow)
    results = []

    def write(number):
        try:
            write_aside(tmp_path / "a.png", bytes([number]), overwrite=False)
            results.append(number)
        except WriteError:
            pass

    writers = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(results) == 1
    assert (tmp_path / "a.png").read_bytes() == bytes(results)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_tidying_neither_waits_for_a_pipe_nor_follows_a_link(tmp_path):
    os.mkfifo(tmp_path / ".restore-pipe.part")
    (tmp_path / "precious").write_bytes(b"x")
    (tmp_path / ".restore-link.part").symlink_to(tmp_path / "precious")
    (tmp_path / ".restore-left.part").write_bytes(b"x")
    assert tidy(tmp_path) == 1
    assert (tmp_path / "precious").exists() and not (tmp_path / ".restore-left.part").exists()


def test_an_edit_made_meanwhile_is_not_lost(tmp_path):
    """The original was secured first, then the result encoded: what was saved between was gone."""
    path = tmp_path / "a.jpg"
    path.write_bytes(b"first")
    before = stamp(path.stat())

    def slow(file):
        file.write(b"result")
        path.write_bytes(b"an edit")

    with pytest.raises(WriteError, match="changed while it was restored"):
        replace_in_place(path, slow, b"first", before)
    assert path.read_bytes() == b"an edit" and [p.name for p in tmp_path.iterdir()] == ["a.jpg"]
    backup = replace_in_place(path, b"result", b"an edit", stamp(path.stat()))
    assert path.read_bytes() == b"result" and backup.read_bytes() == b"an edit"


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_a_replaced_file_keeps_its_attributes_and_a_result_is_as_private_as_its_source(tmp_path):
    path, result = tmp_path / "a.png", tmp_path / "b.png"
    path.write_bytes(b"old")
    path.chmod(0o640)
    labelled = hasattr(os, "setxattr")
    if labelled:
        try:
            os.setxattr(path, "user.label", b"words")
        except OSError:
            labelled = False  # a file system without them
    write_aside(path, b"new", overwrite=True)
    replace_in_place(path, b"newer", b"new", stamp(path.stat()))
    assert path.stat().st_mode & 0o777 == 0o640 and path.read_bytes() == b"newer"
    assert not labelled or os.getxattr(path, "user.label") == b"words"
    path.chmod(0o600)
    save_image(picture_of().replace(path=path), result)
    assert result.stat().st_mode & 0o777 == 0o600
