"""`--compare` and `--report`: what the commands show of their work, beside the pictures."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from restore.cli import checks
from restore.cli.console import command_line, err, flag, out
from restore.errors import InputError, RestoreError, WriteError

if TYPE_CHECKING:
    from restore.evaluation.report import Report
    from restore.image.picture import Picture
    from restore.pipeline.flow import Outcome
    from restore.pipeline.result import LargeResult, Result
    from restore.view.pair import Pair

PANEL = "Before and after"
Compare = Annotated[
    str | None,
    typer.Option(
        "--compare",
        metavar="FILE.png",
        help="Make a sheet of one picture before and after, at 100 %.",
        rich_help_panel=PANEL,
        show_default=False,
    ),
]
ReportFile = Annotated[
    str | None,
    typer.Option(
        "--report",
        metavar="FILE.html",
        help="Make a page of all pictures before and after, to open in a browser or to send.",
        rich_help_panel=PANEL,
        show_default=False,
    ),
]
OverwriteShown = Annotated[
    bool, flag("--overwrite", "Replace a sheet or a report that is there already.", PANEL)
]


@dataclass(frozen=True)
class ShowFiles:
    """The files that show what a command did; None for those that nobody asked for.

    command: the command line, which the report tells
    """

    sheet: Path | None = None
    page: Path | None = None
    overwrite: bool = False
    command: str = ""


def check_shown(
    context: typer.Context,
    compare: str | None,
    report: str | None,
    overwrite: bool,
    *others: Path | None,
    single: bool = True,
) -> ShowFiles:
    """The files by their names. All that can be told to be wrong with them is refused.

    others: files that they must not replace; single: whether the command is for one picture
    """
    from restore.image.write import check_place

    shown = ShowFiles(
        None if compare is None else checks.local(compare),
        None if report is None else checks.local(report),
        overwrite,
        command_line(context),
    )
    if shown.sheet is not None:
        if not single:
            raise InputError(
                "--compare is for one picture, and not for the switches of a batch, such as "
                "--in-place; give --report FILE.html"
            )
        if shown.sheet.suffix.lower() != ".png":
            raise WriteError(f"a sheet is a PNG file; name it like {shown.sheet.stem}.png")
    if shown.page is not None and shown.page.suffix.lower() not in (".html", ".htm"):
        raise WriteError(f"a report is an HTML file; name it like {shown.page.stem}.html")
    taken = {path.absolute() for path in others if path is not None}
    for path in (shown.sheet, shown.page):
        if path is not None:
            if path.absolute() in taken:
                raise InputError(f"{path} is a picture of this command; give another name")
            if path.parent.exists():  # else it is created, as that of a result is
                check_place(path, overwrite)
    return shown


class Showing:
    """Collects what is shown, and writes it at the end."""

    def __init__(
        self,
        shown: ShowFiles,
        title: str = "",
        total: int = 1,
        settings: Mapping[str, Any] | None = None,
        quiet: bool = False,
    ) -> None:
        """title, total: as for `Report`; settings: of the command."""
        self.shown, self.quiet = shown, quiet
        self.report: Report | None = None
        self.settings = dict(settings or {})
        if shown.page is not None:
            from restore.evaluation.report import Report

            self.report = Report(title, total, shown.command)
            self.report.add_table("Settings", setting_words(self.settings))

    @property
    def wanted(self) -> bool:
        """Whether anything is shown at all."""
        return self.shown.sheet is not None or self.report is not None

    def add(
        self,
        pair: Pair,
        facts: Mapping[str, str],
        original: Picture | None = None,
        model: str = "",
    ) -> None:
        """Show a picture; original: the one whose noise is told; model: by its name in its card."""
        if self.shown.sheet is not None:
            from restore.image.atomic import write_aside
            from restore.pipeline.plan import make_folder
            from restore.view.sheet import draw_sheet

            memory = io.BytesIO()
            draw_sheet(pair).save(memory, "PNG")
            make_folder(self.shown.sheet.parent)
            write_aside(self.shown.sheet, memory.getvalue(), self.shown.overwrite)
            self._say("sheet", self.shown.sheet)
        if self.report is not None:
            self.report.add(pair, facts, original)
            self.add_model(model)

    def add_model(self, name: str) -> None:
        """The short card of a model, once."""
        from restore.cli.models import summary
        from restore.models.folders import find_weights
        from restore.models.weights import read_card

        given = self.settings.get("model")
        try:
            path = find_weights(name)
        except RestoreError:  # not a shipped one: the file that was given, or bicubic
            if given is None or not Path(given).is_file():
                return
            path = Path(given)
        if self.report is not None:
            card = summary(read_card(path), path)
            card.pop("file")  # a folder of this machine is nothing to send
            self.report.add_table(f"Model {name}", card)

    def result(
        self, result: Result | LargeResult, source: Path, written: Path, facts: Mapping[str, str]
    ) -> None:
        """Show the result of one file."""
        if not self.wanted:
            return
        from restore.pipeline.result import Result

        if isinstance(result, Result) and result.original is not None:
            self.add(result.pair(), facts, result.original, result.model)
        else:
            self._files(source.name, source, written, facts, result.model)

    def outcome(self, outcome: Outcome, name: str, source: Path) -> None:
        """Show an outcome of a batch; its files are read again.

        source: the file that has the original pixels
        """
        if not self.wanted:
            return
        written = None if outcome.target is None else Path(outcome.target)
        if outcome.status == "failed" or written is None or not written.is_file():
            if self.report is not None:
                self.report.add_failure(name, outcome.reason)
            return
        self._files(name, source, written, outcome_facts(outcome), outcome.model)

    def _files(
        self, name: str, source: Path, written: Path, facts: Mapping[str, str], model: str
    ) -> None:
        """Show two files; of those that are larger than memory, the rows in the middle."""
        from restore.pipeline.large import read_pair

        try:
            original, pair = read_pair(name, source, written, self.settings.get("memory"))
            self.add(pair, facts, original, model)
        except RestoreError as error:  # the results are there; only the report lacks one
            if self.report is not None:
                self.report.add_failure(name, str(error))
            err().print(f"note: {name} is not shown: {error}", soft_wrap=True)

    def finish(self) -> None:
        """Write the report."""
        if self.report is not None and self.shown.page is not None:
            from restore.pipeline.plan import make_folder

            make_folder(self.shown.page.parent)
            self.report.write(self.shown.page, self.shown.overwrite)
            self._say("report", self.shown.page)

    def _say(self, what: str, path: Path) -> None:
        if not self.quiet:
            out().print(f"{what}: {path}", soft_wrap=True)


def setting_words(settings: Mapping[str, Any]) -> dict[str, str]:
    """The settings that are in use, as names and words."""
    return {
        name.replace("_", " "): "yes" if value is True else str(value)
        for name, value in settings.items()
        if value is not None and value is not False and value != ""
    }


def outcome_facts(outcome: Outcome) -> dict[str, str]:
    """What is told of a picture of a batch."""
    if outcome.status == "skipped":
        return {"skipped": outcome.reason}
    facts = {
        "size": f"{outcome.width}x{outcome.height}, {outcome.megapixels:.2f} MP",
        "model": outcome.model,
        "time": f"{outcome.seconds:.2f} s of the network",
    }
    return facts | noise_words(outcome.sigma, outcome.unchanged)


def noise_words(sigma: float | None, unchanged: bool) -> dict[str, str]:
    """The noise level that was found or asked for, and whether the picture was left as it is."""
    found = "" if sigma is None else f"sigma {sigma:.1f} of 255"
    if unchanged:
        why = "no noise found" if sigma is not None else "strength 0"
        found = f"{found}; {why}: left as it is" if found else f"{why}: left as it is"
    return {"noise level": found} if found else {}


def short_names(paths: list[Path]) -> Callable[[Path], str]:
    """Names of files without the folders that all of them share."""
    folders = {path.absolute().parent for path in paths}
    try:
        shared = os.path.commonpath(folders) if folders else ""
    except ValueError:  # on several drives
        shared = ""

    def name(path: Path) -> str:
        return os.path.relpath(path.absolute(), shared) if shared else str(path)

    return name
