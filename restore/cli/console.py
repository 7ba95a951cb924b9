"""Console output, and the options that many commands share.

Results go to standard output, everything else to standard error.
"""

from __future__ import annotations

import json
import math
import re
import shlex
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperCommand, TyperGroup

from restore.errors import InputError

# The groups of options on the help pages; what newcomers need is in the first, unnamed one.
OUTPUT, MODEL, MANY = "Output files", "Model", "Many files"
MACHINE, MESSAGES = "Machine", "Messages"
# Categories of Unicode: control and format characters, halves of pairs, separators of lines.
HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def flag(name: str, words: str, panel: str | None = None) -> Any:
    """A switch, off unless it is given."""
    return typer.Option(name, help=words, rich_help_panel=panel)


def option(panel: str, words: str, *names: str, **more: Any) -> Any:
    """An option in a group of the help page; `more` as for `typer.Option`."""
    return typer.Option(*names, help=words, rich_help_panel=panel, **more)


Debug = Annotated[bool, flag("--debug", "Show the traceback of an error.", MESSAGES)]
Device = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="auto, cpu, cuda, cuda:1, mps or xpu; several with commas, or all.",
        rich_help_panel=MACHINE,
    ),
]
OneDevice = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="auto, cpu, cuda, cuda:1, mps or xpu.", rich_help_panel=MACHINE
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Precision of the convolutions: auto, fp32, bf16 or fp16.",
        rich_help_panel=MACHINE,
    ),
]
Engine = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="What computes the network: torch, openvino, onnx, or auto: what `restore "
        "devices` measured to be fastest.",
        rich_help_panel=MACHINE,
    ),
]
Ensemble = Annotated[
    bool,
    flag("--ensemble", "Average over 8 rotated and mirrored versions; 8 times slower.", MODEL),
]
Tile = Annotated[
    int | None,
    typer.Option(
        metavar="PIXELS",
        help="Side of the square tiles.",
        rich_help_panel=MACHINE,
        show_default="by the free memory",
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="The most memory to use, such as 2GB.",
        rich_help_panel=MACHINE,
        show_default="half of the free memory",
    ),
]


def _without_types(params: list[Any]) -> list[Any]:
    """The parameters, described on help pages by the metavar or the name, not by a Python type.

    Limits of numbers are given in the help texts, not as `x>=1`.
    """
    for param in params:
        if param.param_type_name == "argument":
            param.metavar = param.metavar or str(param.name).upper()
        switch = getattr(param, "is_flag", False) or param.param_type_name == "argument"
        shown = "" if switch else param.metavar or str(param.name).upper()
        param.display_type_rich = lambda ctx, shown=shown: shown
        param._get_number_range_help_str = str
    return params


@dataclass(frozen=True)
class Messages:
    """What is printed."""

    json_lines: bool = False
    quiet: bool = False
    verbose: bool = False
    debug: bool = False


WORDS = "restore.words"  # where a command's context keeps what was typed


class Command(TyperCommand):
    """A command whose help names no Python types, that knows `~` and how it was called."""

    def make_context(self, info_name: Any, args: list[str], *more: Any, **others: Any) -> Any:
        """The context, with the words of the command line."""
        words = list(args)  # which parsing uses up
        context = super().make_context(info_name, args, *more, **others)
        context.meta[WORDS] = words
        context.params = {name: _at_home(value) for name, value in context.params.items()}
        return context

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters, without the names of Python types."""
        return _without_types(super().get_params(ctx))


def _at_home(value: Any) -> Any:
    """A value of an option; a path with `~` expanded, which a shell leaves alone in quotes."""
    if isinstance(value, (list, tuple)):
        return type(value)(_at_home(each) for each in value)
    return value.expanduser() if isinstance(value, Path) else value


class Group(TyperGroup):
    """A group of commands whose help page names no Python types."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters, without the names of Python types."""
        return _without_types(super().get_params(ctx))


def command_line(context: typer.Context) -> str:
    """The command as it was typed, quoted for a shell."""
    return shlex.join([*context.command_path.split(), *context.meta.get(WORDS, ())])


def examples(*lines: str) -> str:
    """The end of a help page: commands to try."""
    return "\n\n".join(("Examples:", *lines))


class SafeConsole(Console):
    """A console for words that hold names of files and metadata, which may be anything.

    Each string is one line: what could control a terminal, end the line or not be encoded is shown
    as an escape such as \\x1b.
    """

    def __init__(self, **more: Any) -> None:
        """more: as for Console."""
        super().__init__(highlight=False, markup=False, emoji=False, **more)

    def print(self, *objects: Any, **more: Any) -> None:
        """As Console prints, with strings escaped."""
        shown = (escaped(o, self.encoding) if isinstance(o, str) else o for o in objects)
        super().print(*shown, **more)

    def print_lines(self, text: str) -> None:
        """Print a text of several lines."""
        for line in text.split("\n"):
            self.print(line, soft_wrap=True)

    def print_values(self, values: Any, indent: int | None = None) -> None:
        """Print values as JSON, in ASCII; without an indent, in one line."""
        self.print_lines(json.dumps(values, indent=indent))


def escaped(text: str, encoding: str = "utf-8") -> str:
    """Text in one line that any terminal of the encoding shows and none obeys."""
    shown = "".join(ascii(c)[1:-1] if unicodedata.category(c) in HIDDEN else c for c in text)
    return shown.encode(encoding, "backslashreplace").decode(encoding)


def out() -> SafeConsole:
    """Standard output; no wrapping in a pipe, so that lines stay whole."""
    console = SafeConsole()
    return console if console.is_terminal else SafeConsole(width=10_000)


def err() -> SafeConsole:
    """Standard error, for progress and messages."""
    return SafeConsole(stderr=True)


def complain(sentence: str) -> None:
    """One sentence on standard error."""
    err().print(f"restore: {sentence}", soft_wrap=True)


def rows(pairs: dict[str, str]) -> None:
    """A small table of names and values."""
    width = max(map(len, pairs))
    console = out()
    for name, value in pairs.items():
        console.print(f"  {name:<{width}}  {value}", soft_wrap=True)


def ssim_words(value: float, digits: int = 4) -> str:
    """A similarity; of pictures that are too small for one, that."""
    return "none, it needs 11x11 pixels" if math.isnan(value) else f"{value:.{digits}f}"


def check_one_device(device: str, command: str, advice: str) -> None:
    """InputError for several devices, with what to do instead, where a command takes one."""
    if device == "all" or "," in device:
        raise InputError(f"`restore {command}` takes one device, not '{device}'; {advice}")


def parse_seconds(text: str | None) -> float | None:
    """A time such as "90", "90s", "75m", "1h30m" in seconds."""
    if text is None:
        return None
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?", text.strip())
    if not text.strip() or match is None:
        raise InputError(f"'{text}' is not a duration; write it like 90s, 75m or 1h30m")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds
