"""What the commands for one picture and for many share."""

from __future__ import annotations

import gc
import importlib
import threading
from pathlib import Path

import pytest

from restore.cli.restoring import import_ahead


def test_a_module_is_imported_on_another_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "heavy_module.py").write_text(
        "import gc, threading\n"
        "collecting = gc.isenabled()\n"
        "name = threading.current_thread().name\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    thread = import_ahead("heavy_module")
    module = importlib.import_module("heavy_module")  # waits for the other thread
    assert module.name != threading.current_thread().name and not module.collecting
    thread.join()
    assert gc.isenabled()


def test_whoever_needs_the_module_gets_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_module.py").write_text("raise OSError('no such library')\n")
    monkeypatch.syspath_prepend(tmp_path)
    import_ahead("broken_module").join()
    assert gc.isenabled()
    with pytest.raises(OSError, match="no such library"):
        importlib.import_module("broken_module")
