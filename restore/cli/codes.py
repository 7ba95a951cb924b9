"""`restore autoencoder reconstruct`, `embed`, `generate`, `probe` and `compress`."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from restore.cli.console import Debug, option, out, rows
from restore.cli.data import (
    Channels,
    Data,
    Download,
    Labels,
    Overwrite,
    Patches,
    Seed,
    Weights,
    check_outputs,
)
from restore.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from restore.autoencoders.base import Autoencoder
    from restore.autoencoders.data import Split

FigureFile = Annotated[
    Path | None,
    option("Output", "The figure, a .png file; default: beside the input.", "-o", "--output"),
]


def load_both(weights: Path, data: str, **settings: Any) -> tuple[Autoencoder, Split]:
    """A trained autoencoder and pictures of its size; settings as for `load_samples`.

    Raises InputError where the sizes differ.
    """
    from restore.autoencoders.data import load_samples
    from restore.autoencoders.family import load_autoencoder

    network = load_autoencoder(weights)
    split = load_samples(data, patch=network.shape[1], **settings)
    if split.test.shape != network.shape:
        raise InputError(
            f"{weights} needs pictures of shape {network.shape} (channels, height, width), but "
            f"those in {data} have {split.test.shape}"
        )
    return network, split


def figure_path(given: Path | None, source: Path, ending: str, *, overwrite: bool) -> Path:
    """Where a figure goes: as given, else beside its source; checked before any work."""
    from restore.autoencoders.figures import check_figure_name

    path = given or source.with_name(f"{source.stem}-{ending}.png")
    check_figure_name(path)
    check_outputs(path, overwrite=overwrite)
    return path


def reconstruct(
    weights: Weights,
    data: Data,
    shown: Annotated[int, option("Output", "Pictures in the figure.", min=1, max=24)] = 10,
    output: FigureFile = None,
    overwrite: Overwrite = False,
    labels: Labels = None,
    download: Download = False,
    patches: Patches = 10_000,
    channels: Channels = 1,
    seed: Seed = 0,
    debug: Debug = False,
) -> None:
    """Reconstruct test pictures; draw them below the originals."""
    from restore.autoencoders.figures import draw_rows, save_figure
    from restore.autoencoders.measure import corrupt_with_seed, in_batches, squared_errors
    from restore.autoencoders.regularised import DenoisingAutoencoder

    path = figure_path(output, weights, "reconstructions", overwrite=overwrite)
    given = {"labels": labels, "download": download, "channels": channels}
    network, split = load_both(weights, data, **given, count=patches, seed=seed)
    x = split.test.pictures
    pictures = {"original": x[:shown], "reconstruction": in_batches(network, x[:shown])}
    lines = {"error": f"{float(squared_errors(network, x).mean()):.3f}, squared, per picture"}
    if isinstance(network, DenoisingAutoencoder):
        corrupted = corrupt_with_seed(x, network.corruption, network.level, seed)
        pictures |= {
            "corrupted": corrupted[:shown],
            "denoised": in_batches(network, corrupted[:shown]),
        }
        error = float(squared_errors(network, x, corrupted).mean())
        lines["denoising error"] = f"{error:.3f}, squared, per picture"
    save_figure(draw_rows(pictures), path, overwrite=overwrite)
    out().print(f"wrote {path}", soft_wrap=True)
    rows(lines)


def embed(
    weights: Weights,
    data: Data,
    output: Annotated[
        Path | None,
        option(
            "Output",
            "A .csv or .npz file of codes; default: .npz beside the weights.",
            "-o",
            "--output",
        ),
    ] = None,
    overwrite: Overwrite = False,
    part: Annotated[str, option("Data", "train or test.")] = "test",
    labels: Labels = None,
    download: Download = False,
    patches: Patches = 10_000,
    channels: Channels = 1,
    seed: Seed = 0,
    debug: Debug = False,
) -> None:
    """Write the codes of pictures to a file, and draw them."""
    from restore.autoencoders.figures import draw_scatter, save_figure
    from restore.autoencoders.measure import in_batches
    from restore.autoencoders.pca import fit_pca
    from restore.image.atomic import write_aside

    if part not in ("train", "test"):
        raise InputError(f"--part is train or test, not '{part}'")
    path = output or weights.with_name(f"{weights.stem}-codes.npz")
    if path.suffix not in (".csv", ".npz"):
        raise InputError(f"codes are written as CSV or NPZ; {path} must end in .csv or .npz")
    figure = path.with_name(f"{path.stem}.png")
    check_outputs(path, figure, overwrite=overwrite)
    given = {"labels": labels, "download": download, "channels": channels}
    network, split = load_both(weights, data, **given, count=patches, seed=seed)
    samples = split.test if part == "test" else split.train
    codes = in_batches(network.encode, samples.pictures)
    write_aside(path, encode_codes(codes, samples.labels, path.suffix), overwrite)
    if codes.shape[1] == 1:
        out().print(f"wrote {path}; codes of one number are not drawn", soft_wrap=True)
        return
    title, names = f"codes of {len(codes)} {part} pictures", ("z0", "z1")
    if codes.shape[1] > 2:
        codes = fit_pca(codes, 2).encode(codes)
        names = ("first principal component", "second principal component")
    drawn = draw_scatter(codes, samples.labels, title, names)
    save_figure(drawn, figure, overwrite=overwrite)
    out().print(f"wrote {path} and {figure}", soft_wrap=True)


def encode_codes(codes: Tensor, labels: Tensor | None, suffix: str) -> bytes:
    """The file of codes (N, latent) and labels (N,).

    ".npz" has the arrays "codes" and "labels", ".csv" the columns z0, z1 ... and "label".
    """
    import numpy as np

    arrays = {"codes": codes.numpy()}
    if labels is not None:
        arrays["labels"] = labels.numpy()
    if suffix == ".npz":
        buffer = io.BytesIO()
        # mypy takes an array for the argument `allow_pickle`
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        return buffer.getvalue()
    names = [f"z{i}" for i in range(codes.shape[1])]
    columns, formats = arrays["codes"], ["%.7g"] * len(names)
    if labels is not None:
        columns = np.column_stack([columns, arrays["labels"]])
        names, formats = [*names, "label"], [*formats, "%d"]
    text = io.StringIO()
    np.savetxt(text, columns, formats, ",", header=",".join(names), comments="")
    return text.getvalue().encode()


def generate(
    weights: Weights,
    count: Annotated[int, option("Output", "Pictures to generate.", min=1, max=1000)] = 100,
    walks: Annotated[int, option("Output", "Interpolations to draw.", min=1, max=12)] = 6,
    output: FigureFile = None,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    debug: Debug = False,
) -> None:
    """Generate pictures with a variational autoencoder.

    A second figure shows interpolations from one random code to another.
    """
    import torch

    from restore.autoencoders.family import load_autoencoder
    from restore.autoencoders.figures import draw_grid, save_figure
    from restore.autoencoders.variational import VariationalAutoencoder, interpolate

    path = figure_path(output, weights, "samples", overwrite=overwrite)
    second = path.with_name(f"{path.stem}-walk.png")
    check_outputs(second, overwrite=overwrite)
    network = load_autoencoder(weights)
    if not isinstance(network, VariationalAutoencoder):
        raise InputError(f"{weights} cannot generate pictures; only a variational autoencoder can")
    generator = torch.Generator().manual_seed(seed)
    pictures = network.sample(count, generator)
    figure = draw_grid(pictures, min(count, 20), f"{count} generated pictures")
    save_figure(figure, path, overwrite=overwrite)
    ends = torch.randn(2, walks, network.latent, generator=generator)
    steps = network.decode(interpolate(ends[0], ends[1], 12).flatten(0, 1))
    title = "each row: from one random code to another in equal steps"
    save_figure(draw_grid(steps, 12, title), second, overwrite=overwrite)
    out().print(f"wrote {path} and {second}", soft_wrap=True)


def probe(
    weights: Weights,
    data: Data,
    labels: Labels = None,
    download: Download = False,
    seed: Seed = 0,
    debug: Debug = False,
) -> None:
    """Accuracy of a linear classifier on the codes.

    For comparison: the accuracies on PCA codes of the same size and on the pixels.
    """
    from restore.autoencoders.measure import code_accuracy
    from restore.autoencoders.pca import fit_pca
    from restore.autoencoders.regularised import SparseAutoencoder

    network, split = load_both(weights, data, labels=labels, download=download, seed=seed)
    train, test = split.train, split.test
    if train.labels is None or test.labels is None:
        raise InputError(f"{data} has no labels to classify by; give a file of them with --labels")
    pca = fit_pca(train.pictures, min(network.latent, len(train)))
    table: dict[str, float | None] = {
        f"code, {network.latent} numbers": code_accuracy(network.encode, train, test),
        f"PCA, {network.latent} components": code_accuracy(pca.encode, train, test),
    }
    if isinstance(network, SparseAutoencoder):
        units = network.first.out_features
        table[f"sparse layer, {units} units"] = code_accuracy(network.features, train, test)
    table["pixels"] = code_accuracy(lambda x: x.flatten(1), train, test)
    rows({name: f"{100 * (value or 0):.2f} %" for name, value in table.items()})


def compress(
    picture: Annotated[Path, typer.Argument(help="A picture of any size.")],
    output: FigureFile = None,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Compress a picture by PCA of its rows, and draw it.

    The figure shows it with 1, 5, 9 ... 29 principal components, or as many as it has.
    """
    from restore.autoencoders.figures import draw_compressed, save_figure
    from restore.autoencoders.pca import COMPONENTS
    from restore.autoencoders.pca import compress as compress_pixels
    from restore.image.metrics import psnr
    from restore.image.read import load_image

    path = figure_path(output, picture, "compressed", overwrite=overwrite)
    pixels = load_image(picture).pixels.clip(0, 1)
    height, width, _ = pixels.shape
    results = {}
    for n in (n for n in COMPONENTS if n <= min(height, width)):
        image = compress_pixels(pixels, n)
        share = 100 * (n * (height + width) + width) / (height * width)
        decibels = psnr(image, pixels, data_range=1)
        words = "1 component" if n == 1 else f"{n} components"
        results[f"{words}: {decibels:.1f} dB, {share:.0f} % of the numbers"] = image
    save_figure(draw_compressed(pixels, results), path, overwrite=overwrite)
    out().print(f"wrote {path}", soft_wrap=True)
