"""What is printed holds names of files and metadata, which may be anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from restore.cli.console import SafeConsole, escaped


def test_what_could_control_a_terminal_is_shown_as_an_escape() -> None:
    assert escaped("a\x1b[31m\n\x9b\u202e\udcff\u2028b") == (r"a\x1b[31m\n\x9b\u202e\udcff\u2028b")
    assert escaped("Grüße 東京 ☂\u3000.png") == "Grüße 東京 ☂\u3000.png"
    assert escaped("Grüße", "ascii") == r"Gr\xfc\xdfe"


def test_values_are_json_in_ascii_and_texts_keep_their_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console = SafeConsole(width=10_000)
    console.print_values({"name": "a\x9b\udcff\n"})
    assert json.loads(capsys.readouterr().out) == {"name": "a\x9b\udcff\n"}
    console.print_lines("one\ntwo\x1b")
    assert capsys.readouterr().out == "one\ntwo\\x1b\n"


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="names of bytes, as Linux has them"
)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_no_name_stops_a_batch_or_breaks_its_lines(
    root: Path, tmp_path: Path, encoding: str
) -> None:
    names = [b"\xff.png", b"a\nb.png", b"c\x1b[31m.png", "d\u00e9\u009b.png".encode()]
    for name in names:
        (tmp_path / os.fsdecode(name)).write_bytes(b"no picture")
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONIOENCODING": encoding}
    words = [sys.executable, "-m", "restore", "denoise", str(tmp_path)]
    for extra in ((), ("--json",)):
        done = subprocess.run([*words, *extra], env=environment, capture_output=True)
        assert done.returncode == 1 and b"Traceback" not in done.stderr, done.stderr
        lines = done.stdout.decode(encoding).splitlines()
        assert len(lines) == len(names)
        shown = done.stdout + done.stderr
        assert b"\x1b" not in shown and b"\xc2\x9b" not in shown
    found = {os.fsencode(Path(json.loads(line)["source"]).name) for line in lines}
    assert found == set(names)
