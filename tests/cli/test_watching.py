"""Training on the screen: what a line of progress says."""

from __future__ import annotations

from pathlib import Path

import pytest

from restore.cli import watching
from restore.cli.watching import Clock, clock_time, line, show
from restore.training.loop import Progress


def progress(step: int, **more: float) -> Progress:
    return Progress(step, 100, 0.01234, 12.5, **more)


def test_the_time_to_the_last_step_and_of_the_limit_are_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 50.0
    monkeypatch.setattr(watching.time, "monotonic", lambda: now)
    clock = Clock(limit=30.0)
    assert clock.left(41, 100) == (None, 30)  # after a resume; nothing is known of the speed yet
    now += 20
    assert clock.left(51, 100) == (pytest.approx(98), pytest.approx(10))
    now += 20
    assert clock.left(61, 100) == (pytest.approx(78), 0)
    assert Clock(None).left(1, 100) == (None, None)


def test_a_line_says_what_is_known() -> None:
    first = line(progress(3), None, None)
    assert first == "step 3/100  loss 0.01234  12.5 pictures/s"
    words = line(progress(50, psnr=30.1234, best=30.5), 5025.0, 61.2)
    assert "validation 30.123 dB  best 30.500 dB" in words
    assert "1:23:45 to the last step  0:01:01 to the time limit" in words
    assert clock_time(0.4) == "0:00:00"


def test_validations_are_printed_in_a_pipe_and_the_file_returned(
    capsys: pytest.CaptureFixture[str],
) -> None:
    events = ["200 pictures", progress(1), progress(2, psnr=30.0), Path("w.safetensors")]
    assert show(events, 60.0) == Path("w.safetensors")
    err = capsys.readouterr().err
    assert "200 pictures" in err and "step 2/100" in err and "step 1/100" not in err
