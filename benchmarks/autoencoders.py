"""The autoencoder family on MNIST: `python benchmarks/autoencoders.py DATA`, DATA as for --data.

Trains every kind with one code size and a few variants to compare with, measures them, and writes
benchmarks/autoencoders.json and the figures autoencoders-*.png beside itself. Trained networks are
stored in runs/autoencoders, so a run that was stopped continues; `--again NAME,NAME` trains some
again, to time them for example, and `--names` trains only some. Seconds are processor time of all
threads together, because the machine may be busy with other things.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from restore.autoencoders.base import Autoencoder
from restore.autoencoders.comparison import Row, autoencoder_row, pca_row
from restore.autoencoders.data import Split, load_samples
from restore.autoencoders.family import KINDS, build, load_autoencoder
from restore.autoencoders.figures import (
    draw_curves,
    draw_grid,
    draw_rows,
    filter_pictures,
    save_figure,
)
from restore.autoencoders.measure import (
    code_accuracy,
    corrupt_with_seed,
    in_batches,
    negative_elbo,
    squared_errors,
)
from restore.autoencoders.pca import COMPONENTS, fit_pca, principal_angles
from restore.autoencoders.training import SCHEDULES, bernoulli, fit, make_card
from restore.autoencoders.variational import interpolate
from restore.engine.device import choose_precision, precision_name
from restore.models.weights import save_weights

HERE = Path(__file__).resolve().parent
STORE = HERE.parent / "runs" / "autoencoders"
DEGRADATIONS = (("gaussian", 0.3), ("masking", 0.5))
MORE: dict[str, tuple[str, dict[str, Any]]] = {  # variants, beside every kind
    "variational-20": ("variational", {"latent": 20}),
    "stacked-scratch": ("stacked", {"pretrain": 0.0}),
    "denoising-masking": ("denoising", {"corruption": "masking", "level": 0.5}),
}
Record = dict[str, Any]


def train_or_load(
    name: str, split: Split, latent: int, seed: int, again: bool
) -> tuple[Autoencoder, Record]:
    """An autoencoder and the record of its training; from its file if the settings are the same."""
    kind, options = MORE.get(name, (name, {}))
    network = build(kind, split.train.shape, **{"latent": latent, "seed": seed, **options})
    schedule = dataclasses.replace(SCHEDULES[kind], seed=seed)
    path = STORE / f"{name}.safetensors"
    if path.exists() and not again:
        stored = load_autoencoder(path)
        found = stored.card.training if stored.card else {}
        same = found.get("schedule") == dataclasses.asdict(schedule)
        if same and stored.arguments == network.arguments:
            print(f"{name}: from {path.name}", flush=True)
            return stored, found["record"]
    test = split.test.pictures if kind == "stacked" else None  # its curves are compared
    done, began = [], time.process_time()
    for epoch in fit(network, split.train.pictures, schedule, test):
        done.append(epoch)
        print(f"\r{name} {epoch.epoch}/{epoch.epochs} {epoch.loss:.3f}   ", end="", flush=True)
    seconds = time.process_time() - began
    record = {
        "epochs": len(done),
        "seconds": round(seconds, 1),
        "threads": torch.get_num_threads(),
        "precision": precision_name(choose_precision(schedule.precision, torch.device("cpu"))),
        "curve": [[e.phase, e.epoch, round(e.validation or e.loss, 4)] for e in done],
    }
    card = make_card(network, "digits", schedule, done, [], len(split.train))
    card = dataclasses.replace(card, training={**card.training, "record": record})
    STORE.mkdir(parents=True, exist_ok=True)
    save_weights(network, card, path, torch.float32)
    print(f"{seconds:.0f} s", flush=True)
    return network, record


def timed(row: Row, coder: Any, split: Split) -> Row:
    """The row with processor time in place of wall time."""
    began = time.process_time()
    in_batches(coder, split.test.pictures)
    applied = len(split.test) / (time.process_time() - began)
    row = dataclasses.replace(row, applied_per_second=applied)
    if row.network is not None:  # its training was timed by the processor already
        return row
    began = time.process_time()
    fit_pca(split.train.pictures, row.latent)
    seconds = time.process_time() - began
    rate = len(split.train) / seconds
    return dataclasses.replace(row, seconds=seconds, trained_per_second=rate)


def special(networks: dict[str, Any], split: Split) -> dict[str, Any]:
    """What is measured on one or two of the networks only."""
    test, train = split.test.pictures, split.train.pictures
    found: dict[str, Any] = {
        "pca 10 and 30": [float(squared_errors(fit_pca(train, k), test).mean()) for k in (10, 30)]
    }
    if linear := networks.get("linear"):
        pca = fit_pca(train, linear.latent)
        spans = linear.decoder.weight.detach().T, pca.components
        found["linear, largest angle to pca"] = float(principal_angles(*spans).max())
    if sparse := networks.get("sparse"):
        means = in_batches(sparse.features, test).mean(0)
        found["sparse, target and mean activation"] = [sparse.target, float(means.mean())]
        low, high = means.quantile(torch.tensor([0.1, 0.9])).tolist()
        found["sparse, a tenth of the units below and above"] = [low, high]
        found["sparse, probe of the whole layer"] = code_accuracy(
            sparse.features, split.train, split.test
        )
    for (kind, level), name in zip(DEGRADATIONS, ("denoising", "denoising-masking"), strict=True):
        pair = [networks[k] for k in ("vanilla", name) if k in networks]
        if len(pair) == 2:
            corrupted = corrupt_with_seed(test, kind, level)
            found[f"vanilla and denoising on {kind} {level}"] = [
                float(squared_errors(n, test, corrupted).mean()) for n in pair
            ]
    for name in ("variational", "variational-20"):
        if name in networks:
            binary = bernoulli(test, torch.Generator().manual_seed(7))
            bound = negative_elbo(networks[name], binary)
            found[f"negative ELBO, code {networks[name].latent}"] = bound
    found["probe of the pixels"] = code_accuracy(lambda x: x.flatten(1), split.train, split.test)
    return found


def draw_figures(networks: dict[str, Any], table: list[Row], split: Split, latent: int) -> None:
    """Draw reconstructions, PCA step by step, filters, generated and denoised digits."""
    test = split.test.pictures
    pictures = {"original": test[:10]}
    pictures |= {f"{r.name}\n{r.error:.2f}": r.reconstructions for r in table}
    title = f"reconstructions from {latent} numbers, with the mean squared error of a digit"
    save_figure(draw_rows(pictures, title), HERE / "autoencoders-table.png", overwrite=True)
    whole = fit_pca(split.train.pictures, max(COMPONENTS))
    steps = {f"{k}": whole.keep(k)(test[:10]) for k in COMPONENTS}
    title = "digits reconstructed from 1, 5, 9 ... 29 principal components"
    save_figure(
        draw_rows({"original": test[:10], **steps}, title),
        HERE / "autoencoders-pca.png",
        overwrite=True,
    )
    if sparse := networks.get("sparse"):
        filters = filter_pictures(sparse.first.weight, sparse.shape, 100)
        title = "the 100 first-layer filters of the sparse autoencoder with the largest norms"
        save_figure(
            draw_grid(filters, 20, title), HERE / "autoencoders-filters.png", overwrite=True
        )
    if variational := networks.get("variational-20"):
        generator = torch.Generator().manual_seed(0)
        samples = variational.sample(100, generator)
        ends = torch.randn(2, 5, variational.latent, generator=generator)
        between = variational.decode(interpolate(ends[0], ends[1], 20).flatten(0, 1))
        title = (
            "variational, 20 numbers in a code: 100 generated digits, 5 interpolations of 20 steps"
        )
        gap = torch.ones_like(samples[:20])  # a white row
        both = torch.cat([samples, gap, between])
        save_figure(draw_grid(both, 20, title), HERE / "autoencoders-samples.png", overwrite=True)
    rows: dict[str, Tensor] = {"clean": test[:10]}
    for (kind, level), name in zip(DEGRADATIONS, ("denoising", "denoising-masking"), strict=True):
        if name in networks and "vanilla" in networks:
            corrupted = corrupt_with_seed(test, kind, level)[:10]
            rows[f"{kind} {level}"] = corrupted
            rows[f"vanilla, {kind}"] = in_batches(networks["vanilla"], corrupted)
            rows[f"denoising, {kind}"] = in_batches(networks[name], corrupted)
    if len(rows) > 1:
        save_figure(draw_rows(rows), HERE / "autoencoders-denoising.png", overwrite=True)


def draw_stacked(records: dict[str, Record]) -> None:
    """Draw the test error of the whole network, with layer-wise pretraining and without."""
    curves: dict[str, list[tuple[int, float]]] = {}
    for name, words in (("stacked", "pretrained"), ("stacked-scratch", "from scratch")):
        for phase, epoch, error in records[name]["curve"]:
            part = words if phase == "fine-tuning" else f"{words}, layer by layer"
            curves.setdefault(part, []).append((epoch, error))
    save_figure(
        draw_curves(curves, "test error"), HERE / "autoencoders-stacked.png", overwrite=True
    )


def main() -> None:
    """Train, measure and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--latent", type=int, default=30)
    parser.add_argument("--names", default=",".join([*KINDS, *MORE]))
    parser.add_argument("--again", default="", help="names to train again")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    split = load_samples(given.data)
    networks: dict[str, Autoencoder] = {}
    records: dict[str, Record] = {}
    for name in given.names.split(","):
        again = name in given.again.split(",")
        networks[name], records[name] = train_or_load(name, split, given.latent, given.seed, again)
    table = [pca_row(split, given.latent)]
    for name in (n for n in networks if n not in MORE):
        record = records[name]
        table.append(
            autoencoder_row(name, networks[name], split, record["seconds"], record["epochs"])
        )
    table = [
        timed(row, row.network or fit_pca(split.train.pictures, given.latent), split)
        for row in table
    ]
    for row in table:
        print(json.dumps(row.to_dict()), flush=True)
    result = {
        "data": Path(given.data).name,
        "train": len(split.train),
        "test": len(split.test),
        "machine": platform.machine(),
        "torch": torch.__version__,
        "table": [row.to_dict() for row in table],
        "alone": special(networks, split),
        "trainings": {
            name: {key: value for key, value in record.items() if key != "curve"}
            for name, record in records.items()
        },
    }
    print(json.dumps(result["alone"], indent=1))
    (HERE / "autoencoders.json").write_text(json.dumps(result, indent=1) + "\n")
    draw_figures(networks, table, split, given.latent)
    if {"stacked", "stacked-scratch"} <= set(records):
        draw_stacked(records)


if __name__ == "__main__":
    main()
