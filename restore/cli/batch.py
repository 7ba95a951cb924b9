"""How a batch is shown: a live bar, plain lines in a pipe, JSON, a summary."""

from __future__ import annotations

import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from restore.cli.console import Messages, err, escaped, out
from restore.cli.showing import Showing, short_names
from restore.image.atomic import backup_of

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from restore.pipeline.batch import Batch
    from restore.pipeline.cluster import ClusterBatch
    from restore.pipeline.flow import Outcome


def restore_many(batch: Batch, messages: Messages, show: Showing) -> None:
    """Do the work of a batch and show how it goes; exit code 1 where a picture failed."""
    name = short_names([job.source for job in batch.jobs])
    in_place = batch.settings.saving.in_place

    def each(outcome: Outcome) -> None:
        source = Path(outcome.source)
        backup = backup_of(source)
        original = backup if in_place and backup.is_file() else source
        show.outcome(outcome, name(source), original)

    failed = run_batch(batch, messages, each)
    show.finish()
    if failed:
        raise typer.Exit(1)


def run_batch(
    batch: Batch | ClusterBatch, messages: Messages, each: Callable[[Outcome], None]
) -> bool:
    """Do the work of a batch and print its outcomes; whether a picture failed."""
    with (
        interruption_answered(),
        Display(batch, messages.json_lines, messages.quiet) as display,
    ):
        batch.report = display.tile
        for outcome in batch:
            display.add(outcome)
            each(outcome)
            if messages.debug and outcome.error is not None:
                err().print_lines("".join(traceback.format_exception(outcome.error)))
    display.summary()
    return bool(display.failed)


@contextmanager
def interruption_answered() -> Iterator[None]:
    """A word at once after Ctrl-C: the pictures in progress may take a while to stop."""

    def answer(*_: object) -> None:
        err().print("stopping; waiting for the pictures in progress", soft_wrap=True)
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # ignored, or somebody else's
        return
    signal.signal(signal.SIGINT, answer)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class Display:
    """What is shown of a batch while it runs and at its end."""

    def __init__(self, batch: Batch | ClusterBatch, as_json: bool, quiet: bool) -> None:
        """Nothing is shown before the `with` block begins."""
        self.batch, self.quiet, self.as_json = batch, quiet, as_json
        self.done = dict.fromkeys(("written", "skipped", "failed"), 0)
        self.failed: list[Outcome] = []
        self.megapixels = 0.0
        self.bytes_left: dict[Path | str, int] = {
            job.source: _size(job.source) for job in batch.jobs
        }
        self.bytes_done = 0
        live = err().is_terminal and not quiet
        self.lines = not quiet and not as_json and not (live and out().is_terminal)
        self.bar: Progress | None = _bar() if live else None
        self.task: TaskID | None = None

    def __enter__(self) -> Display:
        """Show the bar, where there is one."""
        if self.bar is not None:
            self.bar.start()
            self.task = self.bar.add_task("", total=len(self.batch), name="", speed="", left="")
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the bar."""
        if self.bar is not None:
            self.bar.stop()

    def tile(self, picture: Path, done: int, total: int) -> None:
        """A tile of a picture is done; called from the network's thread."""
        if self.bar is not None and self.task is not None:
            words = picture.name if total == 1 else f"{picture.name} {done}/{total}"
            self.bar.update(self.task, name=escaped(words, err().encoding))

    def add(self, outcome: Outcome) -> None:
        """A picture is done."""
        self.done[outcome.status] += 1
        size = self.bytes_left.pop(outcome.source, 0)
        if outcome.status == "written":
            self.megapixels += outcome.megapixels
        if outcome.status != "skipped":
            self.bytes_done += size
        if outcome.status == "failed":
            self.failed.append(outcome)
        if self.as_json:
            out().print_values(outcome.to_dict())
        elif self.lines:
            count = f"[{sum(self.done.values())}/{len(self.batch)}]"
            out().print(f"{count} {_line(outcome)}", soft_wrap=True)
        if not self.quiet:
            for note in outcome.notes:
                err().print(f"note: {outcome.source}: {note}", soft_wrap=True)
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, advance=1, speed=self._speed(), left=self._left())

    def _speed(self) -> str:
        return f"{self.megapixels / max(self.batch.seconds, 1e-9):.2f} MP/s"

    def _left(self) -> str:
        """Time left, by the bytes of the files that are still to come."""
        if not self.bytes_done:
            return ""
        seconds = self.batch.seconds * sum(self.bytes_left.values()) / self.bytes_done
        return f"{format_time(seconds)} left"

    def summary(self) -> None:
        """The counts, and each failure with its reason, on standard error."""
        if not self.quiet:
            err().print(
                f"{self.done['written']} restored, {self.done['skipped']} skipped, "
                f"{self.done['failed']} failed; {self.megapixels:.1f} MP in "
                f"{self.batch.seconds:.1f} s, {self._speed()}, "
                f"network busy {self.batch.network_share:.0%} of the time",
                soft_wrap=True,
            )
        for outcome in self.failed:
            err().print(f"  failed: {outcome.reason}", soft_wrap=True)
        if self.batch.unread and not self.quiet:
            names = ", ".join(path.name for path in self.batch.unread[:5])
            more = f" and {len(self.batch.unread) - 5} more" if len(self.batch.unread) > 5 else ""
            err().print(f"  left out, of kinds that are not read: {names}{more}", soft_wrap=True)


def _bar() -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    return Progress(
        BarColumn(),
        MofNCompleteColumn(),
        *(
            TextColumn(f"{{task.fields[{field}]}}", markup=False)
            for field in ("speed", "left", "name")
        ),
        console=err(),
        transient=True,
    )


def _line(outcome: Outcome) -> str:
    if outcome.status == "failed":
        return f"failed: {outcome.reason}"
    if outcome.status == "skipped":
        return f"skipped: {outcome.reason}"
    return f"{outcome.source} -> {outcome.target} ({outcome.megapixels:.2f} MP)"


def _size(place: Path | str) -> int:
    """Bytes of a file; 0 of what is in a store, where asking for each would take long."""
    try:
        return 0 if isinstance(place, str) else place.stat().st_size
    except OSError:
        return 0


def format_time(seconds: float) -> str:
    """A time such as 42s, 3m05s or 2h07m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}m{rest:02}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02}m"
