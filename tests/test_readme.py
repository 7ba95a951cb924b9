"""The README is one screen that sells and starts. Its commands are run by `test_docs.py`."""

from __future__ import annotations

import re
from pathlib import Path

from restore.models.folders import available_models

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_is_short() -> None:
    assert len(TEXT.encode()) < 8000


def test_it_begins_with_the_two_commands() -> None:
    first_screen = "\n".join(TEXT.splitlines()[:40])
    restoring = re.findall(r"^pip install.*restore denoise.*$", first_screen, re.M)
    testing = re.findall(r"^pip install.*pytest.*$", first_screen, re.M)
    assert len(restoring) == len(testing) == 1
    assert restoring[0].startswith("pip install . && restore denoise samples/")
    assert testing[0] == 'pip install ".[test]" && pytest'


def test_every_model_is_in_its_table() -> None:
    models = set(available_models())
    assert set(re.findall(r"^\| `([\w-]+)` \|", TEXT, re.M)) == models
