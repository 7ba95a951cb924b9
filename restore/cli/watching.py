"""What the commands that train share: progress that a person can read, and being told to stop."""

from __future__ import annotations

import logging
import os
import signal
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from restore.cli.console import err

if TYPE_CHECKING:
    from restore.training.loop import Progress


@contextmanager
def stopping() -> Iterator[Callable[[], bool]]:
    """Within this, Ctrl-C and SIGTERM are only noted, and the training ends after its step.

    Schedulers send SIGTERM before they take the machine away. A second Ctrl-C ends at once.
    """
    noted: list[int] = []

    def note(number: int, _: object) -> None:
        if noted and number == signal.SIGINT:
            raise KeyboardInterrupt
        noted.append(number)
        if os.environ.get("LOCAL_RANK", "0") == "0":
            err().print("stopping after this step; the checkpoint is being saved", soft_wrap=True)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(noted)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def torch_quiet(debug: bool) -> Iterator[None]:
    """Without torch's own warnings and log lines, which speak of its internals; `debug` has them.

    Nothing in them is for the person who trains: what is wrong with a training is said by us.
    """
    speaker = logging.getLogger("torch")
    level = speaker.level
    with warnings.catch_warnings():
        if not debug:
            warnings.filterwarnings("ignore", module=r"torch(\.|$)")
            speaker.setLevel(logging.ERROR)
        try:
            yield
        finally:
            speaker.setLevel(level)


class Clock:
    """How much time a training still needs for all its steps, and how much its limit leaves."""

    def __init__(self, limit: float | None) -> None:
        """`limit`: seconds from the first step, or None."""
        self.limit = limit
        self.started: float | None = None
        self.first_step = 0

    def left(self, step: int, steps: int) -> tuple[float | None, float | None]:
        """Seconds to the last step, None after the first one; seconds of the limit, if any."""
        now = time.monotonic()
        if self.started is None:
            self.started, self.first_step = now, step
        elapsed, done = now - self.started, step - self.first_step
        to_the_end = (steps - step) * elapsed / done if done else None
        return to_the_end, None if self.limit is None else max(0.0, self.limit - elapsed)


def show(
    events: Iterable[Progress | str | Path], limit: float | None = None, quiet: bool = False
) -> Path:
    """A progress bar on a terminal, a line for each validation; returns the file written.

    quiet: nothing is printed
    """
    if quiet:
        return [event for event in events if isinstance(event, Path)][-1]
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    console, clock = err(), Clock(limit)
    written = Path()
    columns = (BarColumn(), TextColumn("{task.description}"))
    with Bar(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        for event in events:
            if isinstance(event, Path):
                written = event
            elif isinstance(event, str):
                console.print(event, soft_wrap=True)
            else:
                words = line(event, *clock.left(event.step, event.steps))
                bar.update(task, completed=event.step, total=event.steps, description=words)
                if event.psnr is not None:
                    console.print(words, soft_wrap=True)
    return written


def line(event: Progress, to_the_end: float | None, of_the_limit: float | None) -> str:
    """Steps, loss, scores and speed; the time to the last step, and what is left of the limit."""
    parts = [f"step {event.step}/{event.steps}", f"loss {event.loss:.5f}"]
    if event.psnr is not None:
        parts.append(f"validation {event.psnr:.3f} dB")
    if event.best is not None:
        parts.append(f"best {event.best:.3f} dB")
    parts.append(f"{event.pictures_per_second:.1f} pictures/s")
    if to_the_end is not None:
        parts.append(f"{clock_time(to_the_end)} to the last step")
    if of_the_limit is not None:
        parts.append(f"{clock_time(of_the_limit)} to the time limit")
    return "  ".join(parts)


def clock_time(seconds: float) -> str:
    """Seconds as hours:minutes:seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
