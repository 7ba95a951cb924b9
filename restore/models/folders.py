"""The user's own folders: for models that were added, and for what was measured of others."""

from __future__ import annotations

import os
import sys
from pathlib import Path

NAME = "restore"


def models_folder() -> Path:
    """Where `restore models --add` keeps models: below XDG_DATA_HOME, or the system's place."""
    return _base("XDG_DATA_HOME", ".local/share", "Library/Application Support") / NAME / "models"


def cache_folder() -> Path:
    """What can be measured again: below XDG_CACHE_HOME, or the system's place.

    It need not exist, and may be deleted at any time. On Windows, where data and cache have one
    place, it lies beside the models.
    """
    folder = _base("XDG_CACHE_HOME", ".cache", "Library/Caches") / NAME
    shared = sys.platform == "win32" and not os.environ.get("XDG_CACHE_HOME")
    return folder / "cache" if shared else folder


def _base(variable: str, linux: str, mac: str) -> Path:
    if os.environ.get(variable):
        return Path(os.environ[variable])
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    return Path.home() / (mac if sys.platform == "darwin" else linux)
