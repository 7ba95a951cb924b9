"""The options by which the autoencoder commands are given their pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from restore.autoencoders.samples import Split

Data = Annotated[
    str,
    typer.Option(
        help="mnist, fashion-mnist, a folder of IDX files or of pictures, or a .npy or .npz file."
    ),
]
Weights = Annotated[Path, typer.Argument(help="A file that `restore autoencoder train` wrote.")]
Labels = Annotated[
    Path | None, typer.Option(help="Labels (IDX or .npy) for a single file of pictures.")
]
Download = Annotated[bool, typer.Option("--download", help="Fetch mnist or fashion-mnist.")]
Patch = Annotated[int, typer.Option(help="Side of the patches from a folder of pictures.")]
Count = Annotated[int, typer.Option(help="How many patches.")]
Channels = Annotated[int, typer.Option(help="1 or 3, of the patches.", min=1, max=3)]
Seed = Annotated[int, typer.Option(help="Of everything random.")]


def load(
    data: str,
    labels: Path | None,
    download: bool,
    patch: int,
    count: int,
    channels: int,
    seed: int,
) -> Split:
    """The pictures that the options name."""
    from restore.autoencoders.samples import load_samples

    return load_samples(
        data,
        labels=labels,
        download=download,
        patch=patch,
        count=count,
        channels=channels,
        seed=seed,
    )
