"""Training on the screen: what a line of progress says."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from restore.cli import watching
from restore.cli.finetune import describe_gain
from restore.cli.watching import Clock, clock_time, line, show, torch_quiet
from restore.training.finetune import Gain
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


STOPPED = """
import signal
from restore.cli.watching import stopping
before = signal.getsignal(signal.SIGTERM)
with stopping() as stop:
    seen = [stop()]
    signal.raise_signal(signal.SIGTERM)
    seen.append(stop())
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        seen.append("ended")
print(seen, signal.getsignal(signal.SIGTERM) == before)
"""


def test_a_training_is_asked_to_stop_and_a_second_time_it_does(root: Path) -> None:
    """In a process of its own, since a signal may end the one that runs the tests."""
    done = subprocess.run(
        [sys.executable, "-c", STOPPED], capture_output=True, text=True, cwd=root, check=True
    )
    assert done.stdout == "[False, True, 'ended'] True\n"


def test_torch_speaks_only_with_debug(caplog: pytest.LogCaptureFixture) -> None:
    def speak() -> None:
        warnings.warn_explicit("raw", UserWarning, "t.py", 1, module="torch.inner.module")
        logging.getLogger("torch.inner").warning("raw")

    with torch_quiet(debug=False):
        speak()
        with pytest.raises(UserWarning, match="ours"):
            warnings.warn_explicit("ours", UserWarning, "t.py", 1, module="restore.training")
        with pytest.raises(UserWarning):
            warnings.warn_explicit("another's", UserWarning, "t.py", 1, module="torchlike")
    assert not caplog.records
    with torch_quiet(debug=True), pytest.raises(UserWarning, match="raw"):
        speak()


def test_only_the_first_process_speaks(capsys: pytest.CaptureFixture[str]) -> None:
    events = ["200 pictures", progress(2, psnr=30.0), Path("w.safetensors")]
    assert show(events, quiet=True) == Path("w.safetensors")
    assert capsys.readouterr().err == ""


def test_a_gain_is_one_line() -> None:
    line = describe_gain("held out", Gain(28.1, 33.2, 35.02))
    assert line == "held out: 28.10 dB as given, 33.20 dB before, 35.02 dB after (+1.82)"
    assert describe_gain("other pictures", Gain(float("nan"), 33.2, 33.0)) == (
        "other pictures: 33.20 dB before, 33.00 dB after (-0.20)"
    )
