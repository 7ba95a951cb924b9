"""What a trained autoencoder is used for: reconstruct, embed, generate, probe; and compress."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from restore.cli.console import Debug, out, rows
from restore.cli.samples import Channels, Count, Data, Download, Labels, Seed, Weights, load
from restore.errors import InputError, WriteError

if TYPE_CHECKING:
    from torch import Tensor

    from restore.autoencoders.dense import Autoencoder
    from restore.autoencoders.samples import Split

Figure = Annotated[Path | None, typer.Option("-o", "--output", help="The figure, a .png file.")]


def load_both(
    weights: Path,
    data: str,
    labels: Path | None,
    download: bool,
    count: int,
    channels: int,
    seed: int,
) -> tuple[Autoencoder, Split]:
    """A trained member and pictures of its size. Raises InputError where the sizes differ."""
    from restore.autoencoders.family import load_autoencoder

    network = load_autoencoder(weights)
    split = load(data, labels, download, network.shape[1], count, channels, seed)
    if split.test.shape != network.shape:
        raise InputError(
            f"{weights} is for pictures of {network.shape} (channels, height, width), "
            f"{data} has {split.test.shape}"
        )
    return network, split


def reconstruct(
    weights: Weights,
    data: Data,
    shown: Annotated[int, typer.Option(help="Pictures in the figure.", min=1, max=24)] = 10,
    output: Figure = None,
    labels: Labels = None,
    download: Download = False,
    count: Count = 10_000,
    channels: Channels = 1,
    seed: Seed = 0,
    debug: Debug = False,
) -> None:
    """Give test pictures back: originals above, reconstructions below."""
    from restore.autoencoders.figures import draw_rows, save_figure
    from restore.autoencoders.reconstruction import corrupted, in_batches, squared_errors
    from restore.autoencoders.regularised import DenoisingAutoencoder

    network, split = load_both(weights, data, labels, download, count, channels, seed)
    x = split.test.pictures
    pictures = {"original": x[:shown], "given back": in_batches(network, x[:shown])}
    lines = {"error": f"{float(squared_errors(network, x).mean()):.3f} squared per picture"}
    if isinstance(network, DenoisingAutoencoder):
        seen = corrupted(x, network.corruption, network.level, seed)
        pictures |= {"corrupted": seen[:shown], "cleaned": in_batches(network, seen[:shown])}
        lines["denoising error"] = f"{float(squared_errors(network, x, seen).mean()):.3f}"
    path = output or weights.with_name(f"{weights.stem}-reconstructions.png")
    save_figure(draw_rows(pictures), path)
    out().print(f"wrote {path}", soft_wrap=True)
    rows(lines)


def embed(
    weights: Weights,
    data: Data,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="A .csv or .npz file of codes.")
    ] = None,
    part: Annotated[str, typer.Option(help="train or test.")] = "test",
    labels: Labels = None,
    download: Download = False,
    count: Count = 10_000,
    channels: Channels = 1,
    seed: Seed = 0,
    debug: Debug = False,
) -> None:
    """Write the codes of pictures, and draw them in the plane."""
    from restore.autoencoders.figures import draw_scatter, save_figure
    from restore.autoencoders.pca import fit_pca
    from restore.autoencoders.reconstruction import in_batches

    if part not in ("train", "test"):
        raise InputError(f"the part is train or test, not '{part}'")
    path = output or weights.with_name(f"{weights.stem}-codes.npz")
    if path.suffix not in (".csv", ".npz"):
        raise InputError(f"codes are written as .csv or .npz; {path} is named otherwise")
    network, split = load_both(weights, data, labels, download, count, channels, seed)
    samples = split.test if part == "test" else split.train
    codes = in_batches(network.encode, samples.pictures)
    write_codes(codes, samples.labels, path)
    title = f"codes of {len(codes)} pictures"
    if codes.shape[1] > 2:
        codes, title = fit_pca(codes, 2).encode(codes), f"{title}, their first two components"
    if codes.shape[1] == 1:
        raise InputError(f"{path} is written; codes of one number have no plane to be drawn in")
    figure = path.with_name(f"{path.stem}.png")
    save_figure(draw_scatter(codes, samples.labels, title), figure)
    out().print(f"wrote {path} and {figure.name}", soft_wrap=True)


def write_codes(codes: Tensor, labels: Tensor | None, path: Path) -> None:
    """CSV with a column z0, z1 ... and "label", or NPZ with "codes" and "labels"."""
    import numpy as np

    arrays = {"codes": codes.numpy()}
    if labels is not None:
        arrays["labels"] = labels.numpy()
    try:
        if path.suffix == ".npz":
            # to mypy one of the arrays might be the switch `allow_pickle`
            np.savez(path, **arrays)  # type: ignore[arg-type]
            return
        names = [f"z{i}" for i in range(codes.shape[1])]
        columns, formats = arrays["codes"], ["%.7g"] * len(names)
        if labels is not None:
            columns = np.column_stack([columns, arrays["labels"]])
            names, formats = [*names, "label"], [*formats, "%d"]
        np.savetxt(path, columns, formats, ",", header=",".join(names), comments="")
    except OSError as error:
        raise WriteError(f"{path} cannot be written: {error.strerror}") from error


def generate(
    weights: Weights,
    count: Annotated[int, typer.Option(help="Samples.", min=1, max=1000)] = 100,
    walks: Annotated[int, typer.Option(help="Walks through the code.", min=1, max=12)] = 6,
    seed: Seed = 0,
    output: Figure = None,
    debug: Debug = False,
) -> None:
    """Draw pictures from a variational autoencoder, and walks from one code to another."""
    import torch

    from restore.autoencoders.family import load_autoencoder
    from restore.autoencoders.figures import draw_sheet, save_figure
    from restore.autoencoders.variational import VariationalAutoencoder, walk

    network = load_autoencoder(weights)
    if not isinstance(network, VariationalAutoencoder):
        raise InputError(f"{weights} cannot generate; only a variational autoencoder has a prior")
    generator = torch.Generator().manual_seed(seed)
    path = output or weights.with_name(f"{weights.stem}-samples.png")
    columns = min(count, 20)
    save_figure(draw_sheet(network.sample(count, generator), columns, "samples"), path)
    ends = torch.randn(2, walks, network.latent, generator=generator)
    steps = walk(ends[0], ends[1], 12)
    walked = path.with_name(f"{path.stem}-walk.png")
    title = "each row walks from one code to another"
    save_figure(draw_sheet(network.decode(steps.flatten(0, 1)), 12, title), walked)
    out().print(f"wrote {path} and {walked.name}", soft_wrap=True)


def probe(
    weights: Weights,
    data: Data,
    labels: Labels = None,
    download: Download = False,
    seed: Seed = 0,
    debug: Debug = False,
) -> None:
    """Accuracy of a linear classifier on the code, and of the same on PCA's code of equal size."""
    from restore.autoencoders.comparison import accuracy
    from restore.autoencoders.pca import fit_pca
    from restore.autoencoders.regularised import SparseAutoencoder

    network, split = load_both(weights, data, labels, download, 10_000, 1, seed)
    train, test = split.train, split.test
    if train.labels is None or test.labels is None:
        raise InputError(f"{data} has no labels to classify by; give a file of them with --labels")
    pca = fit_pca(train.pictures, min(network.latent, len(train)))
    table: dict[str, float | None] = {
        f"code, {network.latent} numbers": accuracy(network.encode, train, test),
        f"PCA, {network.latent} components": accuracy(pca.encode, train, test),
    }
    if isinstance(network, SparseAutoencoder):
        units = network.first.out_features
        table[f"sparse layer, {units} units"] = accuracy(network.features, train, test)
    table["the pixels themselves"] = accuracy(lambda x: x.flatten(1), train, test)
    rows({name: f"{100 * (value or 0):.2f} %" for name, value in table.items()})


def compress(
    picture: Annotated[Path, typer.Argument(help="Any picture.")],
    output: Figure = None,
    debug: Debug = False,
) -> None:
    """Draw a picture compressed with 1, 5, 9 ... 29 principal components of its rows."""
    from restore.autoencoders.figures import draw_compressed, save_figure
    from restore.autoencoders.pca import COMPONENTS
    from restore.autoencoders.pca import compress as compress_pixels
    from restore.image.metrics import psnr
    from restore.image.read import load_image

    pixels = load_image(picture).pixels.clip(0, 1)
    kept = {n: compress_pixels(pixels, n) for n in COMPONENTS}
    height, width, _ = pixels.shape
    words = {
        n: f"{n}: {psnr(image, pixels, data_range=1):.1f} dB, "
        f"{100 * (n * (height + width) + width) / (height * width):.0f} % of the numbers"
        for n, image in kept.items()
    }
    path = output or picture.with_name(f"{picture.stem}-compressed.png")
    save_figure(draw_compressed(pixels, {words[n]: kept[n] for n in kept}), path)
    out().print(f"wrote {path}", soft_wrap=True)
