"""The `restore` command: one file per subcommand; parsing, printing and exit codes live here.

Heavy imports happen inside the commands, so that `restore --help` answers at once.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from restore.cli import (
    anomaly,
    autoencoder,
    compare,
    denoise,
    devices,
    evaluate,
    export,
    finetune,
    models,
    train,
    upscale,
    web,
)
from restore.cli.console import Command, Group, complain, examples, out
from restore.errors import RestoreError, installed_version

INTERRUPTED = 130  # what typer ends with after Ctrl-C

app = typer.Typer(
    name="restore",
    cls=Group,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog=examples("restore denoise photo.jpg", "restore upscale small.png --scale 2"),
)
for module in (
    denoise, upscale, web, compare, evaluate, models, devices, export, train, finetune,
):  # fmt: skip
    name = module.__name__.rpartition(".")[2]
    app.command(name, epilog=getattr(module, "EPILOG", None))(module.command)
app.add_typer(autoencoder.app, name="autoencoder", cls=Group)
app.add_typer(anomaly.app, name="anomaly", cls=Group)
for group in (app, autoencoder.app, anomaly.app):
    for registered in group.registered_commands:
        registered.cls = Command


def print_version(wanted: bool) -> None:
    """Print the version, and end."""
    if wanted:
        out().print(f"restore {installed_version()}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=print_version, is_eager=True),
    ] = False,
) -> None:
    """Denoise and enlarge photographs with convolutional autoencoders."""


def main() -> None:
    """Run the command; an error raised on purpose is one sentence and exit code 2."""
    try:
        app(prog_name="restore")  # of `python -m restore`, too: completion goes by this name
    except RestoreError as error:
        if "--debug" in sys.argv:
            raise
        complain(str(error))
        sys.exit(2)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            complain("interrupted; no result is half-written")
        raise
