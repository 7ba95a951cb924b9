"""The `restore` command: one file per subcommand; parsing, printing and exit codes live here.

Heavy imports happen inside the commands, so that `restore --help` answers at once.
"""

from __future__ import annotations

import sys

import typer

from restore.cli import anomaly, autoencoder, compare, denoise, evaluate, models, train, upscale
from restore.cli.console import complain
from restore.cli.help import GroupedCommand
from restore.errors import RestoreError

INTERRUPTED = 130  # what typer ends with after Ctrl-C

app = typer.Typer(
    name="restore",
    help="Restore photographs with convolutional autoencoders.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for module in (denoise, upscale, compare, evaluate, models, train):
    app.command(module.__name__.rpartition(".")[2], cls=GroupedCommand)(module.command)
app.add_typer(autoencoder.app, name="autoencoder")
app.add_typer(anomaly.app, name="anomaly")


def main() -> None:
    """Run the command; an error raised on purpose is one sentence and exit code 2."""
    try:
        app()
    except RestoreError as error:
        if "--debug" in sys.argv:
            raise
        complain(str(error))
        sys.exit(2)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            complain("interrupted; nothing was left half-written")
        raise
