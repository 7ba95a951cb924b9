"""`restore anomaly`: train a detector on normal pictures, find what is abnormal in others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from restore.cli.autoencoder import follow
from restore.cli.console import Debug, examples, option, out, rows
from restore.cli.data import (
    AsJson,
    Channels,
    Data,
    Detector,
    Download,
    Labels,
    Overwrite,
    Patch,
    Patches,
    Seed,
    check_outputs,
    check_weights_name,
)
from restore.errors import InputError

if TYPE_CHECKING:
    from restore.autoencoders.anomaly import Thresholds
    from restore.autoencoders.base import Autoencoder
    from restore.autoencoders.data import Samples

app = typer.Typer(
    help="Train a detector on normal pictures, then find anomalies in others.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Normal = Annotated[
    int | None, option("Data", "The label of normal pictures; default: all pictures are normal.")
]


@app.command(epilog=examples("restore anomaly fit --data normal-pictures -o mine.safetensors"))
def fit(
    data: Data,
    normal: Normal = None,
    kind: Annotated[
        str, option("Model", "The kind of autoencoder; see `restore autoencoder train --help`.")
    ] = "convolutional",
    latent: Annotated[
        int, option("Model", "Numbers in a code; too many, and anomalies are reconstructed too.")
    ] = 16,
    quantile: Annotated[
        float, option("Model", "Share of normal pictures below the threshold, 0 to 1.")
    ] = 0.99,
    epochs: Annotated[
        int | None, option("Training", "Passes over the pictures; default: by the kind.")
    ] = None,
    seed: Seed = 0,
    output: Annotated[Path, option("Output", "The weights file.", "-o", "--output")] = Path(
        "anomaly.safetensors"
    ),
    overwrite: Overwrite = False,
    labels: Labels = None,
    download: Download = False,
    patch: Patch = 28,
    patches: Patches = 10_000,
    channels: Channels = 1,
    debug: Debug = False,
) -> None:
    """Train a detector on normal pictures only.

    Every tenth one is held out, to set the thresholds.
    """
    import torch

    from restore.autoencoders.anomaly import (
        check_quantile,
        detector_card,
        fit_detector,
        hold_out,
        set_thresholds,
    )
    from restore.autoencoders.data import load_samples
    from restore.models.weights import save_weights

    check_quantile(quantile)
    check_weights_name(output)
    check_outputs(output, overwrite=overwrite)
    cut = {"patch": patch, "count": patches, "channels": channels, "seed": seed}
    split = load_samples(data, labels=labels, download=download, **cut)
    train, held_out = hold_out(split.train, normal)
    network, schedule, training = fit_detector(kind, train, latent=latent, epochs=epochs, seed=seed)
    done = follow(training)
    found = set_thresholds(network, held_out, quantile)
    card = detector_card(network, data, normal, schedule, done, found, len(train))
    save_weights(network, card, output, torch.float32)
    out().print(f"wrote {output}", soft_wrap=True)
    rows(
        {
            "pictures": f"{len(train)} normal ones to train on, {len(held_out)} to set the "
            "thresholds",
            "thresholds": f"{found.picture:.4g} for a picture, {found.pixel:.4g} for a pixel; "
            f"{100 * quantile:g} % of the normal ones are below",
            "time": f"{done[-1].seconds:.1f} s",
        }
    )


@app.command(
    epilog=examples("restore anomaly score mine.safetensors picture.png --heat heat-map.png")
)
def score(
    weights: Detector,
    target: Annotated[
        str, typer.Argument(help="A picture file, or data as for `restore anomaly fit --data`.")
    ],
    normal: Normal = None,
    truth: Annotated[
        Path | None,
        option("Data", "The true mask of a picture, white where abnormal; prints the AUROC."),
    ] = None,
    mask: Annotated[
        Path | None,
        option(
            "Output", "Write the mask of a picture's anomalies to this file, without loss (.png)."
        ),
    ] = None,
    heat: Annotated[
        Path | None, option("Output", "Draw the heat map of a picture to this .png file.")
    ] = None,
    as_json: AsJson = False,
    overwrite: Overwrite = False,
    labels: Labels = None,
    download: Download = False,
    patches: Patches = 10_000,
    seed: Seed = 0,
    debug: Debug = False,
) -> None:
    """Score pictures, or find the anomalies in a large one.

    The score is the reconstruction error.
    """
    from restore.autoencoders.anomaly import thresholds_of
    from restore.autoencoders.data import load_samples
    from restore.autoencoders.family import load_autoencoder
    from restore.autoencoders.figures import check_figure_name
    from restore.image.find import SUFFIXES

    if heat is not None:
        check_figure_name(heat)
    if mask is not None:
        check_mask_name(mask)
    check_outputs(mask, heat, overwrite=overwrite)
    if heat is not None and mask is not None and heat.resolve() == mask.resolve():
        raise InputError(f"--heat and --mask cannot both be written to {heat}; give two names")
    network = load_autoencoder(weights)
    found = thresholds_of(network, str(weights))
    if Path(target).suffix.lower() in SUFFIXES:
        outputs = {"mask": mask, "heat": heat}
        values = score_picture(network, found, Path(target), truth, outputs, overwrite)
        lines = {key: f"{value:.4g}" for key, value in values.items()}
    else:
        if truth or mask or heat:
            raise InputError("--truth, --mask and --heat need a single picture file")
        channels, side, _ = network.shape
        cut = {"patch": side, "count": patches, "channels": channels, "seed": seed}
        test = load_samples(target, labels=labels, download=download, **cut).test
        values, lines = score_samples(network, found, test, normal)
    if as_json:
        out().print_values(values, 1)
    else:
        rows(lines)


def check_mask_name(path: Path) -> None:
    """InputError for a format that would blur the mask's edges, WriteError for none."""
    from restore.image.write import FORMATS, format_of

    if FORMATS[format_of(path)].lossy:
        kinds = ", ".join(kind for kind, limits in FORMATS.items() if not limits.lossy)
        raise InputError(f"a mask is written without loss, as {kinds}; {path} is named otherwise")


def score_samples(
    network: Autoencoder, found: Thresholds, test: Samples, normal: int | None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Scores, how many are abnormal, and the AUROC if labels are known: as values and as words."""
    from restore.autoencoders.anomaly import auroc, scores

    if test.shape != network.shape:
        raise InputError(
            f"the detector needs pictures of shape {network.shape} (channels, height, width), "
            f"not {test.shape}"
        )
    errors = scores(network, test.pictures)
    abnormal = int((errors > found.picture).sum())
    values: dict[str, Any] = {"threshold": found.picture, "abnormal": abnormal}
    lines = {
        "pictures": str(len(errors)),
        "abnormal": f"{abnormal} with a score above {found.picture:.4g}",
    }
    if normal is not None:
        if test.labels is None:
            raise InputError("there are no labels to find the normal pictures by; give --labels")
        values["auroc"] = auroc(errors, test.labels != normal)
        lines["AUROC"] = f"{values['auroc']:.4f}, normal is {normal}"
    values["scores"] = [round(v, 5) for v in errors.tolist()]
    return values, lines


def score_picture(
    network: Autoencoder,
    found: Thresholds,
    path: Path,
    truth: Path | None,
    outputs: dict[str, Path | None],
    overwrite: bool,
) -> dict[str, float]:
    """Score the pixels of one picture; write its mask and the figure of its heat map if wanted."""
    import numpy as np
    import torch

    from restore.autoencoders.anomaly import auroc, heat_map
    from restore.autoencoders.figures import draw_heat, save_figure
    from restore.image.color import as_grey, as_rgb
    from restore.image.picture import Picture
    from restore.image.read import load_image
    from restore.image.write import save_image

    pixels = load_image(path).pixels
    pixels = as_rgb(pixels) if network.shape[0] == 3 else as_grey(pixels)
    heat = heat_map(network, pixels)
    above = (heat > found.pixel).astype(np.float32)
    values = {
        "threshold": found.pixel,
        "highest": float(heat.max()),
        "abnormal, %": 100 * float(above.mean()),
    }
    if truth is not None:
        marked = as_grey(load_image(truth).pixels)[:, :, 0] >= 0.5
        if marked.shape != heat.shape:
            raise InputError(
                f"{truth} is {marked.shape[1]}x{marked.shape[0]} and {path} is "
                f"{heat.shape[1]}x{heat.shape[0]} pixels; they must have the same size"
            )
        values["AUROC per pixel"] = auroc(
            torch.from_numpy(heat).flatten(), torch.from_numpy(marked).flatten()
        )
    if outputs["mask"] is not None:
        save_image(Picture(above[:, :, None]), outputs["mask"], overwrite=overwrite)
    if outputs["heat"] is not None:
        save_figure(draw_heat(pixels, heat, above, path.name), outputs["heat"], overwrite=overwrite)
    return values
