"""What the autoencoder and anomaly commands share: options of their data, checks of outputs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from restore.cli.console import option
from restore.errors import InputError, WriteError

Data = Annotated[
    str,
    option(
        "Data",
        "mnist, fashion-mnist, a folder of IDX files or of pictures, an IDX file, or a .npy or "
        ".npz file.",
    ),
]
Weights = Annotated[
    Path, typer.Argument(help="A weights file written by `restore autoencoder train`.")
]
Detector = Annotated[Path, typer.Argument(help="A weights file written by `restore anomaly fit`.")]
Labels = Annotated[
    Path | None,
    option("Data", "A file of labels (IDX or .npy), if DATA is a single file of pictures."),
]
Download = Annotated[
    bool, option("Data", "Download mnist or fashion-mnist if missing.", "--download")
]
Patch = Annotated[
    int, option("Data", "Side in pixels of the patches cut from a folder of pictures.", min=1)
]
Patches = Annotated[
    int, option("Data", "Number of patches cut from a folder of pictures.", "--patches", min=5)
]


def check_channels(channels: int) -> int:
    """The channels of a patch; InputError unless they are 1 or 3."""
    if channels not in (1, 3):
        raise InputError(f"--channels is 1 (grey) or 3 (colour), not {channels}")
    return channels


Channels = Annotated[
    int,
    option("Data", "Channels of the patches: 1 (grey) or 3.", callback=check_channels),
]


def check_seed(seed: int) -> int:
    """The seed, if it fits into the 64 bits that torch's generators take; else InputError."""
    if not 0 <= seed < 2**63:
        raise InputError(f"the seed must be from 0 to 2^63 - 1, not {seed}")
    return seed


Seed = Annotated[int, typer.Option(help="Seed of everything random.", callback=check_seed)]
Overwrite = Annotated[bool, option("Output", "Replace existing files.", "--overwrite")]
AsJson = Annotated[bool, option("Output", "Print JSON instead of a table.", "--json")]


def check_outputs(*paths: Path | None, overwrite: bool) -> None:
    """Before any work: WriteError for a file that exists or a folder that is missing or closed."""
    for path in (p for p in paths if p is not None):
        folder = path.resolve().parent
        if not folder.is_dir():
            raise WriteError(f"{path} cannot be written: there is no folder {folder}")
        if not os.access(folder, os.W_OK):
            raise WriteError(f"{path} cannot be written: the folder {folder} is read-only")
        if path.is_dir():
            raise WriteError(f"{path} is a folder; give the name of a file")
        if os.path.lexists(path) and not overwrite:
            raise WriteError(f"{path} exists; give another name, or --overwrite")


def check_weights_name(path: Path) -> None:
    """InputError for a name that does not end in .safetensors."""
    if path.suffix != ".safetensors":
        raise InputError(f"weights are written as safetensors; {path} must end in .safetensors")
