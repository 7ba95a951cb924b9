"""The small versions of the shipped models: how small they are, and how little they lose."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from restore.evaluation.benchmark import evaluate, summarise
from restore.evaluation.testsets import Degradation
from restore.image.read import load_image
from restore.models.folders import FAST, available_models
from restore.models.weights import load_model, read_card
from restore.pipeline.picture import denoise

SMALL = [name for name in available_models() if name.endswith(FAST)]
DENOISERS = [name for name in SMALL if name.startswith("denoise")]
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "bench"
NLM = 25.98  # OpenCV's fastNlMeansDenoisingColored on CBSD68 at sigma 25


def parameters(name: str) -> int:
    return sum(math.prod(p.shape) for p in load_model(name).state_dict().values())


@pytest.mark.parametrize("name", SMALL)
def test_it_has_a_sixth_of_the_parameters_of_the_best(name: str) -> None:
    best = name.removesuffix(FAST)
    assert parameters(name) < parameters(best) / 6
    assert load_model(name).halo < 0.6 * load_model(best).halo


@pytest.mark.parametrize("sample", ["fur", "text"])
@pytest.mark.parametrize("name", DENOISERS)
def test_it_loses_little_and_takes_the_noise_away(name: str, sample: str, samples: Path) -> None:
    noisy, clean = (load_image(samples / f"{sample}{end}.png") for end in ("", "-clean"))
    asked = {"reference": clean, "precision": "fp32", "device": "cpu"}
    small, best = (denoise(noisy, model, **asked) for model in (name, name.removesuffix(FAST)))
    assert small.before is not None and small.psnr is not None and best.psnr is not None
    assert small.psnr > small.before.psnr + 9
    assert small.psnr > best.psnr - 1.2


@pytest.mark.skipif("denoise-gaussian-fast" not in SMALL, reason="not shipped")
def test_the_small_gaussian_model_is_five_decibels_above_non_local_means() -> None:
    recorded = {
        (s["data"], s["noise"]): s["psnr"] for s in read_card("denoise-gaussian-fast").scores
    }
    assert recorded["CBSD68", "gaussian:25"] > NLM + 5
    folder = SHARED / "CBSD68"
    if not folder.is_dir():
        pytest.skip("the pictures of CBSD68 are not beside this checkout")
    degradation = Degradation("gaussian", 25)
    total = summarise(
        list(evaluate(folder, "denoise-gaussian-fast", degradation, precision="fp32")),
        "CBSD68",
        "fp32",
        degradation.protocol,
    )
    assert total.psnr == pytest.approx(recorded["CBSD68", "gaussian:25"], abs=0.002)
