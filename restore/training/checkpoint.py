"""Checkpoints: the complete state of a training in one file, written atomically."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from restore.errors import TrainingError
from restore.image.atomic import write_aside


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write or replace a checkpoint: a kill leaves the old one or the new one, whole.

    Raises WriteError where the disk refuses it.
    """
    write_aside(path, lambda file: torch.save(state, file), overwrite=True)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; nothing in it can run code. Raises TrainingError if it is not whole."""
    if not path.is_file():
        raise TrainingError(f"there is no checkpoint {path} to resume; start without --resume")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise TrainingError(f"{path} is not a complete checkpoint of this package") from error
    if not isinstance(state, dict) or "recipe" not in state:
        raise TrainingError(f"{path} is not a complete checkpoint of this package")
    return state
