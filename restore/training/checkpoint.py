"""All that a training needs to go on, in one file that is whole or absent."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from restore.errors import TrainingError


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write aside in the same folder, sync, rename: a kill leaves the old one or the new one."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(aside, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; nothing in it can run code. Raises TrainingError if it is not whole."""
    if not path.is_file():
        raise TrainingError(f"there is no checkpoint {path} to resume; start without --resume")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise TrainingError(f"{path} is not a whole checkpoint of this package") from error
    if not isinstance(state, dict) or "recipe" not in state:
        raise TrainingError(f"{path} is not a whole checkpoint of this package")
    return state
