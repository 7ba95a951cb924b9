"""A checkpoint is whole or refused, and never runs code."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from restore.errors import TrainingError
from restore.training.checkpoint import load_checkpoint, save_checkpoint


def test_what_is_loaded_is_what_was_saved(tmp_path: Path) -> None:
    state = {"recipe": {"name": "a"}, "step": 3, "weights": torch.arange(6.0)}
    path = tmp_path / "a.checkpoint"
    save_checkpoint(state, path)
    save_checkpoint({**state, "step": 4}, path)  # replaces the older one
    found = load_checkpoint(path)
    assert found["step"] == 4 and found["recipe"] == {"name": "a"}
    torch.testing.assert_close(found["weights"], state["weights"])
    assert [p.name for p in tmp_path.iterdir()] == ["a.checkpoint"]


class Code:
    """Runs something where it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("ran",)


@pytest.mark.parametrize("content", ["cut", "code", "other"])
def test_what_is_not_a_whole_checkpoint_is_refused(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.checkpoint"
    save_checkpoint({"recipe": {}, "weights": torch.zeros(1000)}, path)
    if content == "cut":
        path.write_bytes(path.read_bytes()[:-500])
    elif content == "code":
        path.write_bytes(pickle.dumps(Code()))
    else:
        torch.save([1, 2], path)
    with pytest.raises(TrainingError, match="not a complete checkpoint"):
        load_checkpoint(path)
    assert "ran" not in capsys.readouterr().out


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="start without --resume"):
        load_checkpoint(tmp_path / "none.checkpoint")
