"""`restore autoencoder`: train a member of the family, and compare them all with PCA."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from restore.cli import codes
from restore.cli.console import Debug, err, out, rows
from restore.cli.samples import Channels, Count, Data, Download, Labels, Patch, Seed, load
from restore.errors import InputError, WriteError

if TYPE_CHECKING:
    from restore.autoencoders.comparison import Row
    from restore.autoencoders.dense import Autoencoder
    from restore.autoencoders.samples import Split
    from restore.autoencoders.training import Epoch, Schedule

app = typer.Typer(
    help="Learn a code for pictures: train, compare, compress, generate.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Epochs = Annotated[int | None, typer.Option(help="Instead of the kind's own.")]


@app.command()
def train(
    kind: Annotated[
        str,
        typer.Argument(
            help="linear, vanilla, stacked, denoising, sparse, convolutional or variational."
        ),
    ],
    data: Data,
    latent: Annotated[int | None, typer.Option(help="Numbers in a code.")] = None,
    hidden: Annotated[
        str | None, typer.Option(help="Widths of the encoder's layers, e.g. 500,250.")
    ] = None,
    corruption: Annotated[str | None, typer.Option(help="denoising: gaussian, masking.")] = None,
    level: Annotated[float | None, typer.Option(help="denoising: how strong.")] = None,
    penalty: Annotated[str | None, typer.Option(help="sparse: kl or l1.")] = None,
    target: Annotated[float | None, typer.Option(help="sparse: mean activation, 0 to 1.")] = None,
    weight: Annotated[float | None, typer.Option(help="sparse: of the penalty.")] = None,
    beta: Annotated[float | None, typer.Option(help="variational: weight of the KL term.")] = None,
    pretrain: Annotated[
        float | None, typer.Option(help="stacked: share of layer-wise training; 0 is none.")
    ] = None,
    epochs: Epochs = None,
    batch: Annotated[int | None, typer.Option(help="Pictures in a step.")] = None,
    rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    warp: Annotated[
        float | None, typer.Option(help="Random turns, scales and shears; 0 is none.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="Of the layers: fp32, bf16, or auto, which is the faster.")
    ] = None,
    seed: Seed = 0,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Default: KIND-LATENT.safetensors.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an output.")] = False,
    labels: Labels = None,
    download: Download = False,
    patch: Patch = 28,
    count: Count = 10_000,
    channels: Channels = 1,
    debug: Debug = False,
) -> None:
    """Train one member; writes its weights, its curves, and for some a figure of their own."""
    options = {"latent": latent, "penalty": penalty, "target": target, "weight": weight}
    options |= {"corruption": corruption, "level": level, "beta": beta, "pretrain": pretrain}
    options |= parse_widths(kind, hidden)
    changes: dict[str, Any] = {"epochs": epochs, "batch": batch, "rate": rate, "warp": warp}
    changes |= {"seed": seed, "precision": precision}
    run_training(
        kind,
        data,
        lambda: load(data, labels, download, patch, count, channels, seed),
        options | {"seed": seed},
        {key: value for key, value in changes.items() if value is not None},
        output,
        overwrite,
    )


def parse_widths(kind: str, text: str | None) -> dict[str, Any]:
    """The member's argument for "500,250": the sparse one has one layer, the convolutional maps."""
    if text is None:
        return {}
    try:
        widths = [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"'{text}' are no widths; write whole numbers such as 500,250") from None
    if kind == "sparse":
        if len(widths) != 1:
            raise InputError(f"a sparse autoencoder has one hidden layer, not {text}")
        return {"hidden": widths[0]}
    return {"widths" if kind == "convolutional" else "hidden": widths}


def run_training(
    kind: str,
    data: str,
    read: Any,  # () -> Split: the sizes below are checked before anything is read twice
    options: dict[str, Any],
    changes: dict[str, Any],
    output: Path | None,
    overwrite: bool,
) -> None:
    """Build, train with a bar, measure, save."""
    import dataclasses

    import torch

    from restore.autoencoders.family import build, class_of
    from restore.autoencoders.reconstruction import parameters, squared_errors
    from restore.autoencoders.training import SCHEDULES, check_schedule, family_card, fit
    from restore.models.weights import save_weights

    class_of(kind)
    schedule = dataclasses.replace(SCHEDULES[kind], **changes)
    check_schedule(schedule)
    split = read()
    network = build(kind, split.train.shape, **options)
    path = output or Path(f"{kind}-{network.latent}.safetensors")
    check_output(path, overwrite)
    done = follow(fit(network, split.train.pictures, schedule, split.test.pictures))
    error = float(squared_errors(network, split.test.pictures).mean())
    lines = {
        "code": f"{network.latent} of {network.size} numbers, {parameters(network)} parameters",
        "test error": f"{error:.3f} squared per picture, {len(split.test)} pictures",
        "time": f"{done[-1].seconds:.1f} s, "
        f"{len(split.train) * len(done) / done[-1].seconds:.0f} pictures/s",
    }
    own, measured = member_scores(network, split)
    scores = [{"data": data, "squared_error": round(error, 4), **measured}]
    card = family_card(network, data, schedule, done, scores, len(split.train))
    save_weights(network, card, path, torch.float32)
    figures = draw_training(network, done, schedule, path)
    out().print(f"wrote {path} and {', '.join(p.name for p in figures)}", soft_wrap=True)
    rows(lines | own)


def check_output(path: Path, overwrite: bool) -> None:
    """InputError for another suffix, no folder, or a file that would be replaced."""
    if path.suffix != ".safetensors":
        raise InputError(f"weights are written as .safetensors; {path} is named otherwise")
    if not path.resolve().parent.is_dir():
        raise InputError(f"there is no folder {path.parent} to write the weights into")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists; give another --output, or --overwrite")


def member_scores(network: Autoencoder, split: Split) -> tuple[dict[str, str], dict[str, float]]:
    """What is measured on one member alone, in words and as numbers."""
    import torch

    from restore.autoencoders.reconstruction import (
        corrupted,
        in_batches,
        negative_elbo,
        squared_errors,
    )
    from restore.autoencoders.regularised import DenoisingAutoencoder, SparseAutoencoder
    from restore.autoencoders.training import bernoulli
    from restore.autoencoders.variational import VariationalAutoencoder

    test = split.test.pictures
    if isinstance(network, VariationalAutoencoder):
        binary = bernoulli(test, torch.Generator().manual_seed(0))
        bound = negative_elbo(network, binary)
        return {"negative ELBO": f"{bound:.2f} nats, binarised"}, {"negative_elbo": bound}
    if isinstance(network, SparseAutoencoder):
        mean = float(in_batches(network.features, test).mean())
        return {"activation": f"{mean:.4f} for a target of {network.target:g}"}, {
            "activation": mean
        }
    if isinstance(network, DenoisingAutoencoder):
        seen = corrupted(test, network.corruption, network.level)
        error = float(squared_errors(network, test, seen).mean())
        words = f"{error:.3f} from {network.corruption} {network.level:g}"
        return {"denoising error": words}, {"denoising_error": error}
    return {}, {}


def draw_training(
    network: Autoencoder, done: list[Epoch], schedule: Schedule, path: Path
) -> list[Path]:
    """The curves of a training, and the first-layer filters of a sparse one."""
    from restore.autoencoders.figures import draw_curves, draw_sheet, filter_pictures, save_figure
    from restore.autoencoders.regularised import SparseAutoencoder

    curves: dict[str, list[tuple[int, float]]] = {}
    for epoch in done:
        curves.setdefault(epoch.phase, []).append((epoch.epoch, epoch.loss))
        if epoch.validation is not None:
            curves.setdefault("test, whole network", []).append((epoch.epoch, epoch.validation))
    written = [path.with_name(f"{path.stem}-curves.png")]
    save_figure(draw_curves(curves, "loss per picture"), written[0])
    if isinstance(network, SparseAutoencoder):
        filters = filter_pictures(network.first.weight, network.shape, 100)
        written.append(path.with_name(f"{path.stem}-filters.png"))
        save_figure(draw_sheet(filters, 20, "the 100 strongest first-layer filters"), written[1])
    return written


@contextmanager
def epoch_bar() -> Iterator[Any]:
    """A bar over the epochs with the loss on a terminal; nothing in a pipe."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = err()
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def show(epoch: Epoch, name: str = "") -> None:
            parts = "  ".join(f"{key} {value:.3f}" for key, value in epoch.parts.items())
            words = f"{name or epoch.phase}  loss {epoch.loss:.3f}  ({parts})"
            bar.update(task, completed=epoch.epoch, total=epoch.epochs, description=words)

        yield show


def follow(epochs: Iterable[Epoch]) -> list[Epoch]:
    """Train to the end with a bar."""
    done = []
    with epoch_bar() as show:
        for epoch in epochs:
            show(epoch)
            done.append(epoch)
    return done


@app.command()
def compare(
    data: Data,
    latent: Annotated[int, typer.Option(help="Numbers in every code.")] = 32,
    kinds: Annotated[str | None, typer.Option(help="Some, e.g. linear,sparse.")] = None,
    epochs: Epochs = None,
    seed: Seed = 0,
    output: Annotated[Path, typer.Option("-o", "--output", help="The figure.")] = Path(
        "comparison.png"
    ),
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the table there.")] = None,
    labels: Labels = None,
    download: Download = False,
    patch: Patch = 28,
    count: Count = 10_000,
    channels: Channels = 1,
    debug: Debug = False,
) -> None:
    """Train all members at one code size, beside PCA: a table and a figure."""
    from restore.autoencoders.comparison import Row
    from restore.autoencoders.comparison import compare as compare_members
    from restore.autoencoders.family import class_of
    from restore.autoencoders.figures import draw_rows, save_figure

    chosen = kinds.split(",") if kinds else None
    for kind in chosen or []:
        class_of(kind)
    split = load(data, labels, download, patch, count, channels, seed)
    table: list[Row] = []
    with epoch_bar() as show:
        for event in compare_members(split, latent, chosen, epochs=epochs, seed=seed):
            if isinstance(event, Row):
                table.append(event)
            else:
                show(event)
    print_table(table)
    pictures = {"original": split.test.pictures[:10]}
    pictures |= {f"{r.name}\n{r.error:.2f}": r.reconstructions for r in table}
    save_figure(draw_rows(pictures, f"codes of {latent} numbers; squared error"), output)
    if json_file is not None:
        write_json([row.to_dict() for row in table], json_file)


def print_table(table: list[Row]) -> None:
    """One line a member, PCA first."""
    console = out()
    console.print(
        f"{'':<14} {'code':>5} {'error':>8} {'parameters':>11} {'seconds':>8} "
        f"{'trained/s':>10} {'applied/s':>10} {'probe':>7}"
    )
    for r in table:
        accuracy = "" if r.accuracy is None else f"{100 * r.accuracy:.1f} %"
        console.print(
            f"{r.name:<14} {r.latent:5} {r.error:8.3f} {r.parameters:11} {r.seconds:8.1f} "
            f"{r.trained_per_second:10.0f} {r.applied_per_second:10.0f} {accuracy:>7}"
        )
    console.print("error: squared, summed over a picture, mean over the test pictures")


def write_json(values: Any, path: Path) -> None:
    """As indented JSON. Raises WriteError where that fails."""
    try:
        path.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise WriteError(f"{path} cannot be written: {error.strerror}") from error


for verb in (codes.reconstruct, codes.embed, codes.generate, codes.probe, codes.compress):
    app.command()(verb)
