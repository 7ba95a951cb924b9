"""Where models lie, shipped and added, and how they are found by name, without importing torch.

The user's own folders are for models that were added, and for what was measured of others.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from restore.errors import UnknownModelError

NAME = "restore"
SUFFIXES = (".pth", ".ckpt", ".safetensors")  # of weights files
ESTIMATORS = ("noise-level",)  # shipped networks that restore nothing themselves
FAST = "-fast"  # at the end of the name of a model's small version


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


def weights_folder() -> Path:
    """Where the shipped weights lie: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "weights"
    return installed if installed.is_dir() else package.parent / "weights"


def available_models() -> dict[str, Path]:
    """The shipped models that restore pictures: name -> file."""
    shipped = sorted(weights_folder().glob("*.safetensors"))
    return {path.stem: path for path in shipped if path.stem not in ESTIMATORS}


def fast_version(model: str) -> str:
    """The name of the small version of a shipped model: that of `denoise-photo-fast` for either.

    Raises UnknownModelError for a model that has none, with the names of those of its task that do.
    """
    small = [name for name in available_models() if name.endswith(FAST)]
    found = model.removesuffix(FAST) + FAST
    if found not in small:
        task = model.partition("-")[0]
        others = [name.removesuffix(FAST) for name in small if name.startswith(task)]
        having = f"; those that have one: {', '.join(others)}" if others else ""
        raise UnknownModelError(f"'{model}' has no fast version{having}")
    return found


def added_models() -> dict[str, Path]:
    """The models in the user's folder, as `add_model` keeps them there: name -> file."""
    folder = models_folder()
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return {path.stem: path for path in files if path.suffix.lower() in SUFFIXES}


def find_weights(name_or_path: str | os.PathLike[str]) -> Path:
    """The file of a model by its name, or the path itself; UnknownModelError says what exists."""
    shipped, added = available_models(), added_models()
    known = added | shipped  # a name that is shipped stays what it is
    if str(name_or_path) in known:
        return known[str(name_or_path)]
    if str(name_or_path) in ESTIMATORS:
        return weights_folder() / f"{name_or_path}.safetensors"
    path = Path(name_or_path)
    with suppress(OSError, ValueError):  # a name that cannot be one of a file
        if path.is_file():
            return path
    listed = ", ".join([*shipped, *added]) or "none"
    raise UnknownModelError(
        f"there is no model '{name_or_path}'; give one of {listed}, or a weights file "
        f"({', '.join(SUFFIXES)})"
    )


def _base(variable: str, linux: str, mac: str) -> Path:
    if os.environ.get(variable):
        return Path(os.environ[variable])
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    return Path.home() / (mac if sys.platform == "darwin" else linux)
