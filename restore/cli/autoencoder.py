"""`restore autoencoder`: train an autoencoder, compare all kinds with PCA."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from restore.cli import codes
from restore.cli.console import Debug, err, examples, option, out, rows
from restore.cli.data import (
    AsJson,
    Channels,
    Data,
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
    from restore.autoencoders.base import Autoencoder
    from restore.autoencoders.comparison import Row
    from restore.autoencoders.data import Split
    from restore.autoencoders.training import Epoch

app = typer.Typer(
    help="Train autoencoders on small pictures; compare them, and use their codes.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Epochs = Annotated[
    int | None, option("Training", "Passes over the training pictures; default: by the kind.")
]
KINDS_WORDS = "linear, vanilla, stacked, denoising, sparse, convolutional or variational."


Kind = Annotated[str, typer.Argument(help=KINDS_WORDS)]
Latent = Annotated[
    int | None, option("Model", "Numbers in a code; default: 20 if variational, else 32.")
]
Hidden = Annotated[
    str | None, option("Model", "Widths of the encoder's hidden layers, such as 500,250.")
]
Corruption = Annotated[
    str | None, option("Model", "denoising: gaussian or masking; default: gaussian.")
]
Level = Annotated[
    float | None,
    option(
        "Model",
        "denoising: standard deviation of the noise on a scale of 0 to 1, or share of masked "
        "pixels; default: 0.3.",
    ),
]
Penalty = Annotated[str | None, option("Model", "sparse: sparsity penalty, kl or l1; default: kl.")]
Target = Annotated[
    float | None, option("Model", "sparse: mean activation of a unit, 0 to 1; default: 0.05.")
]
Weight = Annotated[
    float | None, option("Model", "sparse: weight of the sparsity penalty; default: 3.")
]
Beta = Annotated[float | None, option("Model", "variational: weight of the KL term; default: 1.")]
Pretrain = Annotated[
    float | None,
    option("Model", "stacked: share of the epochs for layer-wise pretraining; default: 0.5."),
]
Batch = Annotated[int | None, option("Training", "Pictures per step; default: by the kind.")]
Rate = Annotated[float | None, option("Training", "Peak learning rate; default: by the kind.")]
Warp = Annotated[
    float | None,
    option(
        "Training",
        "Strength of random rotation, scaling and shear, 0 to 3; default: by the kind.",
    ),
]
Precision = Annotated[
    str | None, option("Training", "fp32, bf16, or auto for the faster one; default: auto.")
]
Output = Annotated[
    Path | None,
    option("Output", "The weights file; default: KIND-LATENT.safetensors.", "-o", "--output"),
]


@app.command(
    epilog=examples(
        "restore autoencoder train variational --data mnist --download",
        "restore autoencoder train convolutional --data photos --channels 3 --latent 64",
    )
)
def train(
    kind: Kind,
    data: Data,
    latent: Latent = None,
    hidden: Hidden = None,
    corruption: Corruption = None,
    level: Level = None,
    penalty: Penalty = None,
    target: Target = None,
    weight: Weight = None,
    beta: Beta = None,
    pretrain: Pretrain = None,
    epochs: Epochs = None,
    batch: Batch = None,
    rate: Rate = None,
    warp: Warp = None,
    precision: Precision = None,
    seed: Seed = 0,
    output: Output = None,
    overwrite: Overwrite = False,
    labels: Labels = None,
    download: Download = False,
    patch: Patch = 28,
    patches: Patches = 10_000,
    channels: Channels = 1,
    debug: Debug = False,
) -> None:
    """Train an autoencoder; write its weights and loss curve."""
    from restore.autoencoders.data import load_samples

    options = {"latent": latent, "penalty": penalty, "target": target, "weight": weight}
    options |= {"corruption": corruption, "level": level, "beta": beta, "pretrain": pretrain}
    options |= parse_widths(kind, hidden)
    changes: dict[str, Any] = {"epochs": epochs, "batch": batch, "rate": rate, "warp": warp}
    changes |= {"seed": seed, "precision": precision}
    cut = {"patch": patch, "count": patches, "channels": channels, "seed": seed}
    run_training(
        kind,
        data,
        lambda: load_samples(data, labels=labels, download=download, **cut),
        options | {"seed": seed},
        {key: value for key, value in changes.items() if value is not None},
        output,
        overwrite,
    )


def parse_widths(kind: str, text: str | None) -> dict[str, Any]:
    """The argument of a kind that "500,250" stands for; its name and type depend on the kind."""
    if text is None:
        return {}
    try:
        widths = [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(
            f"the widths of layers are whole numbers such as 500,250, not '{text}'"
        ) from None
    if kind == "sparse":
        if len(widths) != 1:
            raise InputError(f"a sparse autoencoder has one hidden layer, not {len(widths)}")
        return {"hidden": widths[0]}
    return {"widths" if kind == "convolutional" else "hidden": widths}


def run_training(
    kind: str,
    data: str,
    load: Callable[[], Split],
    options: dict[str, Any],
    changes: dict[str, Any],
    output: Path | None,
    overwrite: bool,
) -> None:
    """Check everything, then load, build, train, measure and save.

    options: of the network; changes: to the schedule
    """
    import dataclasses

    import torch

    from restore.autoencoders.family import build, class_of
    from restore.autoencoders.figures import save_figure
    from restore.autoencoders.measure import count_parameters, squared_errors
    from restore.autoencoders.training import SCHEDULES, check_schedule, fit, make_card
    from restore.models.weights import save_weights

    class_of(kind)
    schedule = dataclasses.replace(SCHEDULES[kind], **changes)
    check_schedule(schedule)
    if output is not None:
        check_weights_name(output)
        check_outputs(output, overwrite=overwrite)  # before data is loaded, which takes longer
    split = load()
    network = build(kind, split.train.shape, **options)
    path = output or Path(f"{kind}-{network.latent}.safetensors")
    names = [path.with_name(f"{path.stem}-{word}.png") for word in figures_of(kind)]
    check_outputs(path, *names, overwrite=overwrite)
    done = follow(fit(network, split.train.pictures, schedule, split.test.pictures))
    error = float(squared_errors(network, split.test.pictures).mean())
    lines = {
        "network": f"{network.latent} numbers in a code for {network.size} values in a picture; "
        f"{count_parameters(network)} parameters",
        "test error": f"{error:.3f}, squared and summed over a picture, mean over "
        f"{len(split.test)} pictures",
        "time": f"{done[-1].seconds:.1f} s, "
        f"{len(split.train) * len(done) / done[-1].seconds:.0f} pictures/s",
    }
    more_lines, measured = measure_kind(network, split)
    scores = [{"data": data, "squared_error": round(error, 4), **measured}]
    save_weights(
        network,
        make_card(network, data, schedule, done, scores, len(split.train)),
        path,
        torch.float32,
    )
    for name, figure in zip(names, draw_training(network, done), strict=True):
        save_figure(figure, name, overwrite=overwrite)
    out().print(f"wrote {path} and {', '.join(map(str, names))}", soft_wrap=True)
    rows(lines | more_lines)


def measure_kind(network: Autoencoder, split: Split) -> tuple[dict[str, str], dict[str, float]]:
    """What is measured for some kinds only, in words and as numbers."""
    import torch

    from restore.autoencoders.measure import (
        corrupt_with_seed,
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
        words = f"{bound:.2f} nats per binarised picture"
        return {"negative ELBO": words}, {"negative_elbo": bound}
    if isinstance(network, SparseAutoencoder):
        mean = float(in_batches(network.features, test).mean())
        words = f"{mean:.4f} on average, the target is {network.target:g}"
        return {"activation": words}, {"activation": mean}
    if isinstance(network, DenoisingAutoencoder):
        corrupted = corrupt_with_seed(test, network.corruption, network.level)
        error = float(squared_errors(network, test, corrupted).mean())
        words = f"{error:.3f} after {network.corruption} corruption of {network.level:g}"
        return {"denoising error": words}, {"denoising_error": error}
    return {}, {}


def figures_of(kind: str) -> list[str]:
    """The endings of the names of the figures that a training writes."""
    return ["curves", "filters"] if kind == "sparse" else ["curves"]


def draw_training(network: Autoencoder, done: list[Epoch]) -> Iterator[Any]:
    """The figure of the loss, and for a sparse autoencoder that of its filters."""
    from restore.autoencoders.figures import draw_curves, draw_grid, filter_pictures
    from restore.autoencoders.regularised import SparseAutoencoder

    curves: dict[str, list[tuple[int, float]]] = {}
    for epoch in done:
        curves.setdefault(epoch.phase, []).append((epoch.epoch, epoch.loss))
        if epoch.validation is not None:
            curves.setdefault("test", []).append((epoch.epoch, epoch.validation))
    yield draw_curves(curves, "loss per picture")
    if isinstance(network, SparseAutoencoder):
        filters = filter_pictures(network.first.weight, network.shape, 100)
        yield draw_grid(filters, 20, "the 100 first-layer filters with the largest norms")


@contextmanager
def epoch_bar() -> Iterator[Callable[[Epoch], None]]:
    """A progress bar over epochs, with the loss, on a terminal; nothing in a pipe."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = err()
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def show(epoch: Epoch) -> None:
            parts = "  ".join(f"{key} {value:.3f}" for key, value in epoch.parts.items())
            words = f"{epoch.phase}  loss {epoch.loss:.3f}  ({parts})"
            bar.update(task, completed=epoch.epoch, total=epoch.epochs, description=words)

        yield show


def follow(epochs: Iterable[Epoch]) -> list[Epoch]:
    """Run a training to its end under a progress bar; returns its epochs."""
    done = []
    with epoch_bar() as show:
        for epoch in epochs:
            show(epoch)
            done.append(epoch)
    return done


@app.command(epilog=examples("restore autoencoder compare --data mnist"))
def compare(
    data: Data,
    latent: Annotated[int, option("Model", "Numbers in a code, the same for all.")] = 32,
    kinds: Annotated[
        str | None, option("Model", "Only these kinds, such as linear,sparse; default: all.")
    ] = None,
    epochs: Epochs = None,
    seed: Seed = 0,
    output: Annotated[Path, option("Output", "The figure, a .png file.", "-o", "--output")] = Path(
        "comparison.png"
    ),
    as_json: AsJson = False,
    overwrite: Overwrite = False,
    labels: Labels = None,
    download: Download = False,
    patch: Patch = 28,
    patches: Patches = 10_000,
    channels: Channels = 1,
    debug: Debug = False,
) -> None:
    """Train every kind, beside PCA: a table and a figure."""
    from restore.autoencoders.comparison import Row
    from restore.autoencoders.comparison import compare as compare_kinds
    from restore.autoencoders.data import load_samples
    from restore.autoencoders.family import class_of
    from restore.autoencoders.figures import check_figure_name, draw_rows, save_figure

    chosen = kinds.split(",") if kinds else None
    for kind in chosen or []:
        class_of(kind)
    check_figure_name(output)
    check_outputs(output, overwrite=overwrite)
    cut = {"patch": patch, "count": patches, "channels": channels, "seed": seed}
    split = load_samples(data, labels=labels, download=download, **cut)
    table: list[Row] = []
    with epoch_bar() as show:
        for event in compare_kinds(split, latent, chosen, epochs=epochs, seed=seed):
            if isinstance(event, Row):
                table.append(event)
            else:
                show(event)
    if as_json:
        out().print_values([row.to_dict() for row in table], 1)
    else:
        print_table(table)
    pictures = {"original": split.test.pictures[:10]}
    pictures |= {f"{r.name}\n{r.error:.2f}": r.reconstructions for r in table}
    title = f"reconstructions from {latent} numbers, with the mean squared error of a picture"
    save_figure(draw_rows(pictures, title), output, overwrite=overwrite)
    if not as_json:
        out().print(f"wrote {output}", soft_wrap=True)


def print_table(table: list[Row]) -> None:
    """One line per model."""
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
    console.print(
        "error: squared, summed over a picture, mean over the test pictures; trained/s and "
        "applied/s: pictures; probe: accuracy of a linear classifier on the codes",
        soft_wrap=True,
    )


for verb, words in (
    (codes.reconstruct, "linear-32.safetensors --data mnist"),
    (codes.embed, "linear-32.safetensors --data mnist -o codes.csv"),
    (codes.generate, "variational-20.safetensors"),
    (codes.probe, "linear-32.safetensors --data mnist"),
    (codes.compress, "photo.jpg"),
):
    app.command(epilog=examples(f"restore autoencoder {verb.__name__} {words}"))(verb)
