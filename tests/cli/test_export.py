"""`restore export`: a file, what it was checked with, and refusals before torch is imported."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from restore.cli import app
from restore.errors import InputError, UnknownModelError, WriteError


def run(*words: str) -> str:
    result = CliRunner().invoke(app, ["export", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def refusal(*words: str) -> Exception:
    result = CliRunner().invoke(app, ["export", *words])
    assert result.exception is not None
    return result.exception  # type: ignore[return-value]


def test_a_model_is_written_beside_its_check(
    tmp_path: Path, upscaling_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = run(str(upscaling_weights), "--format", "torch-export")
    assert (tmp_path / "tiny-x3.pt2").is_file()
    assert "from PyTorch" in words and "in torch 2." in words
    again = refusal(str(upscaling_weights), "--format", "torch-export")
    assert isinstance(again, WriteError) and "--overwrite" in str(again)


@pytest.mark.parametrize(
    ("words", "kind", "sentence"),
    [
        (["denoise-photo", "--format", "coreml"], InputError, "choose one of onnx"),
        (["gone.pth", "--format", "onnx"], UnknownModelError, "gone.pth does not exist"),
        (["nonesuch", "--format", "onnx"], UnknownModelError, "there is no model 'nonesuch'"),
    ],
)
def test_refusals_are_sentences(words: list[str], kind: type[Exception], sentence: str) -> None:
    error = refusal(*words)
    assert isinstance(error, kind) and sentence in str(error)


def test_the_weights_beside_an_openvino_file_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "m.bin").write_bytes(b"mine")
    error = refusal("denoise-photo", "--format", "openvino", "-o", str(tmp_path / "m.xml"))
    assert isinstance(error, WriteError) and "m.bin exists" in str(error)
