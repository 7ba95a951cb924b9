"""The autoencoder family on MNIST: `python benchmarks/autoencoders.py DATA`, DATA as for --data.

Prints and stores (benchmarks/autoencoders.json) the comparison at one code size, the negative ELBO,
the denoising error, the sparse activation and stacked training with and without pretraining, and
draws autoencoders.png and autoencoders-{filters,pca,samples,stacked}.png beside itself.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
from pathlib import Path
from typing import Any

import torch

from restore.evaluation.figures import (
    draw_curves,
    draw_rows,
    draw_sheet,
    filter_pictures,
    save_figure,
)
from restore.evaluation.pca import COMPONENTS, fit_pca, principal_angles
from restore.evaluation.reconstruction import (
    corrupted,
    in_batches,
    negative_elbo,
    squared_errors,
)
from restore.models.family import KINDS, build
from restore.training.comparison import Row, accuracy, compare
from restore.training.family import SCHEDULES, bernoulli, fit
from restore.training.samples import Split, load_samples

HERE = Path(__file__).resolve().parent


def extras(table: dict[str, Row], split: Split, seed: int) -> dict[str, Any]:
    """What is measured on one member alone."""
    test = split.test.pictures
    networks = {name: row.network for name, row in table.items()}
    linear, sparse = networks["linear"], networks["sparse"]
    pca = fit_pca(split.train.pictures, linear.latent)
    seen = corrupted(test, "gaussian", 0.3)
    whole = accuracy(sparse.features, split.train, split.test)
    variational = build("variational", split.train.shape, latent=20, seed=seed)
    for _ in fit(variational, split.train.pictures, SCHEDULES["variational"]):
        pass
    samples = variational.sample(100, torch.Generator().manual_seed(seed))
    title = "drawn from the variational member, code 20"
    save_figure(draw_sheet(samples, 20, title), HERE / "autoencoders-samples.png")
    binary = bernoulli(test, torch.Generator().manual_seed(7))
    return {
        "linear to pca, error": table["linear"].error / table["pca"].error,
        "linear to pca, largest angle": float(
            principal_angles(linear.decoder.weight.detach().T, pca.components).max()
        ),
        "pca 10 and 30": [
            float(squared_errors(fit_pca(split.train.pictures, k), test).mean()) for k in (10, 30)
        ],
        "denoising and vanilla on gaussian 0.3": [
            float(squared_errors(networks[k], test, seen).mean()) for k in ("denoising", "vanilla")
        ],
        "sparse activation": float(in_batches(sparse.features, test).mean()),
        "probe of the whole sparse layer": whole,
        "negative ELBO, code 20": negative_elbo(variational, binary),
    }


def stacked_curves(split: Split, latent: int, seed: int) -> dict[str, list[tuple[int, float]]]:
    """The whole network's error on the test digits, with pretraining and without."""
    curves: dict[str, list[tuple[int, float]]] = {}
    for name, share in (("pretrained", 0.3), ("from scratch", 0.0)):
        network = build("stacked", split.train.shape, latent=latent, pretrain=share, seed=seed)
        schedule = dataclasses.replace(SCHEDULES["stacked"], seed=seed)
        for e in fit(network, split.train.pictures, schedule, split.test.pictures):
            line = f"{name}: {'fine-tuning' if e.phase == 'fine-tuning' else 'layer by layer'}"
            curves.setdefault(line, []).append((e.epoch, e.validation or 0.0))
            print(f"\r{line} {e.epoch}/{e.epochs} {e.validation:.3f}   ", end="")
    print()
    return curves


def main() -> None:
    """Train everything once, on two cores in about twenty minutes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--latent", type=int, default=30)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    split = load_samples(given.data)
    table: dict[str, Row] = {}
    for event in compare(split, given.latent, given.kinds.split(","), seed=given.seed):
        if isinstance(event, Row):
            table[event.name] = event
            print(json.dumps(event.to_dict()), flush=True)
    if "sparse" in table:
        sparse = table["sparse"].network
        filters = filter_pictures(sparse.first.weight, sparse.shape, 100)
        title = "the 100 strongest first-layer filters of the sparse member"
        save_figure(draw_sheet(filters, 20, title), HERE / "autoencoders-filters.png")
    result: dict[str, Any] = {
        "data": Path(given.data).name,
        "train": len(split.train),
        "test": len(split.test),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "table": [row.to_dict() for row in table.values()],
    }
    pictures = {"original": split.test.pictures[:10]}
    pictures |= {f"{r.name}\n{r.error:.2f}": r.reconstructions for r in table.values()}
    save_figure(
        draw_rows(pictures, f"codes of {given.latent} numbers; mean squared error of a digit"),
        HERE / "autoencoders.png",
    )
    one = split.test.pictures[:1]
    whole = fit_pca(split.train.pictures, max(COMPONENTS))
    steps = torch.cat([whole.keep(k)(one) for k in COMPONENTS])
    title = f"original, then {', '.join(map(str, COMPONENTS))} components"
    save_figure(draw_rows({"PCA": torch.cat([one, steps])}, title), HERE / "autoencoders-pca.png")
    if set(KINDS) <= set(table):
        result["alone"] = extras(table, split, given.seed)
        print(json.dumps(result["alone"], indent=1))
        curves = stacked_curves(split, given.latent, given.seed)
        result["stacked"] = {name: points[-1][1] for name, points in curves.items()}
        save_figure(draw_curves(curves, "test error"), HERE / "autoencoders-stacked.png")
    (HERE / "autoencoders.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
