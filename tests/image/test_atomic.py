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
from restore.image.atomic import (
    backup_of,
    replace_in_place,
    stamp,
    tidy,
    write_aside,
    write_json,
)
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
def test_mode_follows_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        save_image(picture_of(), tmp_path / "a.png")
    finally:
        os.umask(old)
    assert (tmp_path / "a.png").stat().st_mode & 0o777 == 0o640


def test_nothing_is_written_through_a_link_or_over_what_is_no_file(tmp_path):
    """`out/a-restored.png -> ../originals/b.png`, with overwrite, replaced b.png."""
    original = tmp_path / "b.png"
    original.write_bytes(b"precious")
    link, second, pipe = (tmp_path / name for name in ("link.png", "second.png", "pipe.png"))
    link.symlink_to(original)
    os.link(original, second)
    os.mkfifo(pipe)
    for path in (link, second):
        write_aside(path, b"result", overwrite=True)
        assert path.read_bytes() == b"result" and not path.is_symlink()
    with pytest.raises(WriteError, match="not a regular file"):
        write_aside(pipe, b"result", overwrite=True)
    assert original.read_bytes() == b"precious" and not list(tmp_path.glob(".*"))


def test_in_place_neither_a_link_is_replaced_nor_trusted_as_a_backup(tmp_path):
    path, link = tmp_path / "a.jpg", tmp_path / "link.jpg"
    path.write_bytes(b"first")
    link.symlink_to(path)
    with pytest.raises(WriteError, match=r"is a link to .*a\.jpg"):
        replace_in_place(link, b"result", b"first", stamp(path.stat()))
    backup_of(path).symlink_to(path)  # which holds the same bytes, until the picture is replaced
    with pytest.raises(WriteError, match="not a copy"):
        replace_in_place(path, b"result", b"first", stamp(path.stat()))
    assert path.read_bytes() == b"first" and not list(tmp_path.glob(".*"))


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_what_is_written_of_a_private_file_is_private_from_its_first_byte(tmp_path, monkeypatch):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"first")
    path.chmod(0o600)
    modes = []

    def content(file):
        modes.append(os.fstat(file.fileno()).st_mode & 0o077)
        file.write(b"result")

    write_aside(tmp_path / "b.jpg", content, overwrite=False, like=path)
    failing(monkeypatch, "link", OSError(errno.EPERM, "no links"))
    replace_in_place(path, content, b"first", stamp(path.stat()))
    assert modes == [0, 0]
    assert all(p.stat().st_mode & 0o077 == 0 for p in tmp_path.iterdir())


def test_a_second_name_of_a_finished_result_is_swept_and_a_begun_one_stays(tmp_path):
    """Killed between its last two steps, a run leaves its hidden name and its journal."""
    result = tmp_path / "a.tif"
    result.write_bytes(b"result")
    os.link(result, tmp_path / ".a.tif.restore-unfinished")
    (tmp_path / ".a.tif.restore-journal").write_text("words")
    (tmp_path / ".c.tif.restore-journal").write_text("words")
    (tmp_path / ".b.tif.restore-unfinished").write_bytes(b"begun")
    (tmp_path / ".b.tif.restore-journal").write_text("words")
    assert tidy(tmp_path) == 3
    left = {p.name for p in tmp_path.iterdir()}
    assert left == {"a.tif", ".b.tif.restore-unfinished", ".b.tif.restore-journal"}


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
