"""Help pages: options in groups, values named as people name them, wide where the terminal is."""

from __future__ import annotations

import re
from typing import Any

import typer
from typer.core import TyperCommand

WIDTH = 100
# What typer calls the type of a value, in older and newer versions, and what help pages call it.
VALUES = {
    r"<int( range)?>|INTEGER( RANGE)?": "N",
    r"<float( range)?>|FLOAT( RANGE)?": "NUMBER",
    r"<(list\[)?str\]?>|TEXT": "TEXT",
    r"<(list\[)?path\]?>|PATH": "PATH",
}
RANGES = {r"\b([\d.]+)<=x<=([\d.]+)": r"\1 to \2", r"\bx>=([\d.]+)": r"at least \1"}
BEFORE, AFTER = "Arguments", "Other options"


def option(group: str, words: str, *names: str, **more: Any) -> Any:
    """An option that stands in a group of the help page; `more` as for `typer.Option`."""
    return typer.Option(*names, help=words, rich_help_panel=group, **more)


class GroupedCommand(TyperCommand):
    """A command whose options are listed by their `rich_help_panel`, without boxes around them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As any command of typer."""
        super().__init__(*args, **kwargs)
        self.context_settings.setdefault("max_content_width", WIDTH)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments first, then each group in the order of its first option, then the rest."""
        groups: dict[str, list[tuple[str, str]]] = {BEFORE: []}
        rest: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            name, words = record
            for pattern, plain in RANGES.items():
                words = re.sub(pattern, plain, words)
            if parameter.param_type_name == "argument":
                groups[BEFORE].append((re.sub(r"\s*<.*>$", "", name).upper(), words))
                continue
            for pattern, value in VALUES.items():
                name = re.sub(rf"(?<= )({pattern})", value, name)
            group = getattr(parameter, "rich_help_panel", None)
            (groups.setdefault(group, []) if group else rest).append((name, words))
        for title, lines in {**groups, AFTER if len(groups) > 1 else "Options": rest}.items():
            if lines:
                with formatter.section(title):
                    formatter.write_dl(lines)
