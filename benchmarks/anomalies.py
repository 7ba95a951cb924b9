"""Each digit of MNIST as the normal one: `python benchmarks/anomalies.py DATA [--kinds A,B]`.

Trains each kind on the training pictures of the normal digit, scores all test pictures by their
reconstruction error, prints the AUROC of each digit and stores it in benchmarks/anomalies.json at
once, so a run that was stopped continues; `--again` starts over. PCA is measured for comparison.
Seconds are processor time of all threads together.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from restore.autoencoders.anomaly import auroc, fit_detector, hold_out
from restore.autoencoders.data import load_samples
from restore.autoencoders.measure import squared_errors
from restore.autoencoders.pca import fit_pca

STORE = Path(__file__).with_suffix(".json")


def fitted(kind: str, pictures: Tensor, latent: int, seed: int) -> Any:
    """An autoencoder, or PCA, fitted to normal pictures only."""
    if kind == "pca":
        return fit_pca(pictures, latent)
    network, _, epochs = fit_detector(kind, pictures, latent=latent, seed=seed)
    for _ in epochs:
        pass
    return network


def main() -> None:
    """All ten digits with each kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--kinds", default="pca,vanilla,convolutional")
    parser.add_argument("--latent", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", action="store_true")
    given = parser.parse_args()
    split = load_samples(given.data)
    assert split.test.labels is not None
    table: dict[str, Any] = json.loads(STORE.read_text()) if STORE.exists() else {}
    for kind in given.kinds.split(","):
        settings = {"latent": given.latent, "seed": given.seed}
        row = table.get(kind, {})
        if given.again or any(row.get(key) != value for key, value in settings.items()):
            row = {**settings, "threads": torch.get_num_threads(), "auroc": {}, "seconds": {}}
        table[kind] = row
        for digit in (d for d in map(str, range(10)) if d not in row["auroc"]):
            train, _ = hold_out(split.train, int(digit))
            began = time.process_time()
            network = fitted(kind, train, given.latent, given.seed)
            row["seconds"][digit] = round(time.process_time() - began, 1)
            values = squared_errors(network, split.test.pictures)
            row["auroc"][digit] = round(auroc(values, split.test.labels != int(digit)), 4)
            row["mean"] = round(fmean(row["auroc"].values()), 4)
            print(kind, digit, row["auroc"][digit], f"{row['seconds'][digit]} s", flush=True)
            STORE.write_text(json.dumps(table, indent=1) + "\n")
        print(f"{kind}: mean {row['mean']:.4f}", flush=True)


if __name__ == "__main__":
    main()
