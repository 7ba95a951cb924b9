"""`restore anomaly`: learn what is normal, then find what is not, in digits and in photographs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from restore.cli.autoencoder import check_output, follow, write_json
from restore.cli.console import Debug, out, rows
from restore.cli.samples import Channels, Count, Data, Download, Labels, Patch, Seed, Weights, load
from restore.errors import InputError

if TYPE_CHECKING:
    from restore.autoencoders.anomaly import Thresholds
    from restore.autoencoders.dense import Autoencoder

app = typer.Typer(
    help="Learn normal pictures, then find what is unlike them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Normal = Annotated[
    int | None, typer.Option(help="The label that is normal; default: all pictures are.")
]


@app.command()
def fit(
    data: Data,
    normal: Normal = None,
    kind: Annotated[str, typer.Option(help="A member of the family.")] = "convolutional",
    latent: Annotated[int, typer.Option(help="Numbers in a code; few, or faults pass.")] = 16,
    quantile: Annotated[
        float, typer.Option(help="Share of the normal ones below the threshold, 0 to 1.")
    ] = 0.99,
    epochs: Annotated[int | None, typer.Option(help="Instead of the kind's own.")] = None,
    seed: Seed = 0,
    output: Annotated[Path, typer.Option("-o", "--output", help="The weights file.")] = Path(
        "anomaly.safetensors"
    ),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an output.")] = False,
    labels: Labels = None,
    download: Download = False,
    patch: Patch = 28,
    count: Count = 10_000,
    channels: Channels = 1,
    debug: Debug = False,
) -> None:
    """Train on normal pictures alone and set the thresholds by some that were held back."""
    import torch

    from restore.autoencoders.anomaly import check_quantile, set_thresholds
    from restore.autoencoders.detection import detector_card, fit_detector, hold_back
    from restore.models.weights import save_weights

    check_quantile(quantile)
    check_output(output, overwrite)
    split = load(data, labels, download, patch, count, channels, seed)
    learned, held = hold_back(split.train, normal)
    network, schedule, epochs_run = fit_detector(
        kind, learned, latent=latent, epochs=epochs, seed=seed
    )
    done = follow(epochs_run)
    found = set_thresholds(network, held, quantile)
    card = detector_card(network, data, normal, schedule, done, found, len(learned))
    save_weights(network, card, output, torch.float32)
    out().print(f"wrote {output}", soft_wrap=True)
    rows(
        {
            "normal": f"{len(learned)} pictures to learn, {len(held)} to set the thresholds",
            "threshold": f"{found.picture:.4g} a picture, {found.pixel:.4g} a pixel: "
            f"{100 * quantile:g} % of the normal ones lie below",
            "time": f"{done[-1].seconds:.1f} s",
        }
    )


@app.command()
def score(
    weights: Weights,
    target: Annotated[str, typer.Argument(help="A picture file, or pictures as for --data.")],
    normal: Normal = None,
    truth: Annotated[
        Path | None, typer.Option(help="A picture's true mask, white where abnormal: AUROC.")
    ] = None,
    mask: Annotated[Path | None, typer.Option(help="Write a picture's mask there.")] = None,
    heat: Annotated[Path | None, typer.Option(help="Draw a picture's heat map there.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the scores.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a mask.")] = False,
    labels: Labels = None,
    download: Download = False,
    count: Count = 10_000,
    seed: Seed = 0,
    debug: Debug = False,
) -> None:
    """Score pictures by their error of reconstruction; find faults in a photograph."""
    from restore.autoencoders.detection import thresholds_of
    from restore.autoencoders.family import load_autoencoder
    from restore.image.find import SUFFIXES

    network = load_autoencoder(weights)
    found = thresholds_of(network, str(weights))
    if Path(target).suffix.lower() in SUFFIXES:
        lines = score_picture(network, found, Path(target), truth, mask, heat, overwrite)
        if json_file is not None:
            write_json(lines, json_file)
        rows({key: f"{value:.4g}" for key, value in lines.items()})
        return
    if truth or mask or heat:
        raise InputError("--truth, --mask and --heat are for one picture file")
    channels, side, _ = network.shape
    test = load(target, labels, download, side, count, channels, seed).test
    score_samples(network, found, test, normal, json_file)


def score_samples(
    network: Autoencoder, found: Thresholds, test: Any, normal: int | None, json_file: Path | None
) -> None:
    """Print what share is abnormal, and the AUROC where labels and the normal one are known."""
    from restore.autoencoders.anomaly import auroc, scores

    if test.shape != network.shape:
        raise InputError(f"the detector is for pictures of {network.shape}, not {test.shape}")
    values = scores(network, test.pictures)
    lines = {
        "pictures": str(len(values)),
        "abnormal": f"{int((values > found.picture).sum())} above {found.picture:.4g}",
    }
    if normal is not None:
        if test.labels is None:
            raise InputError("there are no labels to say which are normal; give them by --labels")
        lines["AUROC"] = f"{auroc(values, test.labels != normal):.4f}, normal is {normal}"
    if json_file is not None:
        written = {"threshold": found.picture, "scores": [round(v, 5) for v in values.tolist()]}
        write_json(written, json_file)
    rows(lines)


def score_picture(
    network: Autoencoder,
    found: Thresholds,
    path: Path,
    truth: Path | None,
    mask: Path | None,
    heat: Path | None,
    overwrite: bool,
) -> dict[str, float]:
    """The heat map of one picture; its mask and figure where they are asked for."""
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
    warmth = heat_map(network, pixels)
    above = (warmth > found.pixel).astype(np.float32)
    lines = {
        "threshold": found.pixel,
        "highest": float(warmth.max()),
        "abnormal, %": 100 * float(above.mean()),
    }
    if truth is not None:
        marked = as_grey(load_image(truth).pixels)[:, :, 0] >= 0.5
        if marked.shape != warmth.shape:
            raise InputError(f"{truth} does not match {path}: it has another size")
        values, wanted = torch.from_numpy(warmth).flatten(), torch.from_numpy(marked).flatten()
        lines["AUROC per pixel"] = auroc(values, wanted)
    if mask is not None:
        save_image(Picture(above[:, :, None]), mask, overwrite=overwrite)
    if heat is not None:
        save_figure(draw_heat(pixels, warmth, above, path.name), heat)
    return lines
