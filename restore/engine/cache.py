"""The folder in which the engine keeps what it would otherwise make or measure again."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """`restore` in the user's cache folder; it need not exist, and may be deleted at any time.

    That is $XDG_CACHE_HOME or ~/.cache, ~/Library/Caches on macOS, and %LOCALAPPDATA% on Windows.
    """
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / "restore"
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return Path(local or Path.home() / "AppData" / "Local") / "restore" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "restore"
    return Path.home() / ".cache" / "restore"
