"""Each digit of MNIST as the normal one: `python benchmarks/anomalies.py DATA [KIND] [LATENT]`.

Fits on the normal digit among the training pictures, scores all test pictures, prints the AUROC of
each and stores them with their mean in benchmarks/anomalies.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import fmean

from restore.evaluation.anomaly import auroc, scores
from restore.training.detection import fit_detector, hold_back
from restore.training.samples import load_samples


def main(data: str, kind: str = "convolutional", latent: str = "16") -> None:
    """All ten digits."""
    split = load_samples(data)
    assert split.test.labels is not None
    found = {}
    for digit in range(10):
        learned, _ = hold_back(split.train, digit)
        network, _, epochs = fit_detector(kind, learned, latent=int(latent))
        seconds = [epoch.seconds for epoch in epochs][-1]
        abnormal = split.test.labels != digit
        found[str(digit)] = round(auroc(scores(network, split.test.pictures), abnormal), 4)
        print(f"{digit}  {found[str(digit)]:.4f}  {seconds:.0f} s", flush=True)
    result = {"kind": kind, "latent": int(latent), "auroc": found, "mean": fmean(found.values())}
    print(f"mean {result['mean']:.4f}")
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
