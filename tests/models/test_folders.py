"""Models are found by name or by file, shipped and added, without importing torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from restore.errors import UnknownModelError
from restore.models.folders import (
    added_models,
    available_models,
    cache_folder,
    fast_version,
    find_weights,
    models_folder,
    weights_folder,
)


def test_shipped_models_are_found_by_name() -> None:
    assert find_weights("denoise-photo") == weights_folder() / "denoise-photo.safetensors"
    assert find_weights("noise-level").is_file()
    assert "denoise-photo" in available_models() and "noise-level" not in available_models()


def test_the_fast_version_of_a_model_is_that_of_its_fast_version_too() -> None:
    for name in ("denoise-photo", "denoise-photo-fast"):
        assert fast_version(name) == "denoise-photo-fast"
    words = "'upscale-photo-x4' has no fast version; those that have one: upscale-x2, .*x4$"
    with pytest.raises(UnknownModelError, match=words):
        fast_version("upscale-photo-x4")
    with pytest.raises(UnknownModelError, match=r"'bicubic' has no fast version$"):
        fast_version("bicubic")


def test_added_models_are_found_by_name_and_hide_no_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    models_folder().mkdir(parents=True)
    for name in ("mine.pth", "denoise-photo.safetensors", "notes.txt", "mine.pth.restore.json"):
        (models_folder() / name).touch()
    assert set(added_models()) == {"mine", "denoise-photo"}
    assert find_weights("mine") == models_folder() / "mine.pth"
    assert find_weights("denoise-photo").parent == weights_folder()
    with pytest.raises(UnknownModelError, match=r"denoise-photo.*, mine, .*\.pth"):
        find_weights("yours")


def test_files_are_found_by_their_paths(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").touch()
    assert find_weights(tmp_path / "w.safetensors") == tmp_path / "w.safetensors"
    for wrong in (tmp_path, tmp_path / "gone.pth", "\0", "x" * 5000):
        with pytest.raises(UnknownModelError, match="there is no model"):
            find_weights(wrong)


def test_windows_keeps_the_cache_beside_the_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "win32")
    assert models_folder() == tmp_path / "restore" / "models"
    assert cache_folder() == tmp_path / "restore" / "cache"


def test_torch_is_not_imported() -> None:
    code = "import sys, restore; restore.available_models(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
