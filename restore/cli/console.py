"""How the commands speak: results on standard output, everything else on standard error."""

from __future__ import annotations

import re
from typing import Annotated

import typer
from rich.console import Console

from restore.errors import InputError

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Device = Annotated[
    str, typer.Option(help="auto, cpu, cuda, cuda:1, mps or xpu; several with commas, or all.")
]
Precision = Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16, of the convolutions.")]
Ensemble = Annotated[
    bool,
    typer.Option("--ensemble", help="The mean over 8 turned and mirrored views; 8 times slower."),
]
Tile = Annotated[
    int | None,
    typer.Option(help="Side of the square the network sees at once, in pixels; default: chosen."),
]


Memory = Annotated[
    str | None, typer.Option(help="The most memory to use, such as 2GB; default: as pays.")
]


def out() -> Console:
    """Standard output; no wrapping in a pipe, so that lines stay whole."""
    console = Console(highlight=False, markup=False, emoji=False)
    return (
        console
        if console.is_terminal
        else Console(highlight=False, markup=False, emoji=False, width=10_000)
    )


def err() -> Console:
    """Standard error, for progress and complaints."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def complain(sentence: str) -> None:
    """One sentence on standard error."""
    err().print(f"restore: {sentence}", soft_wrap=True)


def rows(pairs: dict[str, str]) -> None:
    """A small table of names and values."""
    width = max(map(len, pairs))
    console = out()
    for name, value in pairs.items():
        console.print(f"  {name:<{width}}  {value}", soft_wrap=True)


def parse_seconds(text: str | None) -> float | None:
    """A time such as "90", "90s", "75m", "1h30m" in seconds."""
    if text is None:
        return None
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?", text.strip())
    if not text.strip() or match is None:
        raise InputError(f"'{text}' is no time; write it like 90s, 75m or 1h30m")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds
