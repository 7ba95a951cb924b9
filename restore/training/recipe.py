"""A recipe: the flat TOML file that says how a network was, or is to be, trained."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from restore.errors import TrainingError
from restore.training.losses import LOSSES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# Each a function in restore.training.degradations.pairs; the others leave the size as it is.
DEGRADATION_NAMES = ("gaussian", "photo", "bicubic", "second-order")
SHRINKING = ("bicubic", "second-order")
# Nothing is degraded: photographs with their clean counterparts, two shots of each scene, or noisy
# pictures alone, in one of two schemes; see training.sources and training.self_supervised.
ALONE = ("neighbours", "recorrupted")
GIVEN_NAMES = ("pairs", "shots", *ALONE)
SHARES = (
    *("grey", "flat", "colours", "halved", "conditioned", "overstated", "patterned", "clean"),
    "taught",
)
FORMER_KEYS = {  # in the cards of older weights files
    "fault": "degradation",
    "told": "conditioned",
    "masked": "antithetic",
    "levels": "noise_inputs",
}


class Stage(NamedTuple):
    """A part of a training: crops a step, the side of each as the network sees it, the loss."""

    batch: int
    patch: int
    loss: str


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a training gives, but for the pictures."""

    name: str  # of the weights file and its card
    network: str = "denoiser"  # or "upscaler"
    scale: int = 1  # of an upscaler 2, 3 or 4
    channels: int = 3
    widths: tuple[int, ...] = (32, 64, 128, 256)  # channels of each level, full resolution first
    blocks: tuple[int, ...] = (1, 1, 2, 2)  # residual blocks of each level, each way
    degradation: str = "gaussian"  # one of DEGRADATION_NAMES, or of GIVEN_NAMES
    sigma: tuple[float, ...] = (0.0, 55.0)  # Gaussian noise between these (0-255)
    sigma_power: float = 1.0  # of the uniform draw: 1 even, above 1 more of the light noise
    conditioned: float = 0.0  # the share of crops for which the network is given the noise; 0: none
    noise_inputs: int = 1  # numbers about the noise: 1, its level; 3, see models.noise_level
    jitter: float = 0.0  # of the noise inputs: standard deviation of their logarithm
    overstated: float = 0.05  # the share of crops given noise inputs that are up to 8 too high
    patterned: float = 0.0  # the share of crops with fine patterns, lettering or graphics
    clean: float = 0.0  # the share of crops that stay entirely as they are
    antithetic: float = 0.0  # white noise (0-255) added to the teacher's input, with either sign
    taught: float = 1.0  # the share of the training in which a teacher, if any, gives the target
    flat: float = 0.0  # the share of crops of one even colour, half of them without noise
    grey: float = 0.0  # the share of crops turned grey, with the same noise in all channels
    colours: float = 0.0  # the share of crops given other colours, most of them more saturated
    halved: float = 0.0  # the share of crops from pictures made half as large, which are sharper
    loss: tuple[str, ...] = ("l1",)  # what is minimised; several: one for each stage
    steps: int = 2000
    batch: tuple[int, ...] = (16,)  # crops a step; several: one for each stage
    patch: tuple[int, ...] = (96,)  # side of what the network sees; several: one for each stage
    candidates: int = 1  # places drawn for each crop; the one with the most detail is taken
    stages: tuple[float, ...] = (0.0,)  # the share of the steps at which each stage begins
    kernel_rate: float = 0.02  # learning rate of Muon (hidden kernels)
    other_rate: float = 0.0003  # learning rate of AdamW (first and last layer)
    weight_decay: float = 0.2  # of the hidden kernels; bounds their singular values by its inverse
    warmup: int = 100  # steps over which both rise from zero
    decay: float = 0.5  # the share of the steps, at the end, over which both fall to zero
    ema: float = 0.995  # decay of the moving average of the weights, which is what is kept
    validate_every: int = 500  # steps
    validate_side: int = 256  # of the centre crop of each validation picture, when it is clean
    validate_sigma: tuple[float, ...] = (15.0, 25.0, 50.0)
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be trained, in words."""
        rules = {
            "one count of blocks for each width": len(self.widths) == len(self.blocks) > 0,
            "widths are 1 to 4096 and blocks 0 to 64": all(1 <= n <= 4096 for n in self.widths)
            and all(0 <= n <= 64 for n in self.blocks),
            "channels is 1 or 3": self.channels in (1, 3),
            "network is denoiser with scale 1, or upscaler with scale 2, 3 or 4": (
                self.network,
                self.scale,
            )
            in (("denoiser", 1), *(("upscaler", scale) for scale in (2, 3, 4))),
            f"an upscaler's degradations are {', '.join(SHRINKING)}, a denoiser's the others": (
                self.degradation in SHRINKING
            )
            == (self.scale > 1),
            "sigma is two numbers, 0 <= low <= high": len(self.sigma) == 2
            and 0 <= self.sigma[0] <= self.sigma[1],
            f"{', '.join(SHARES)} are shares between 0 and 1": min(self._shares()) >= 0
            and max(self._shares()) <= 1,
            "colours is for 3 channels": not self.colours or self.channels == 3,
            "noise_inputs is 1 or 3, and 3 for photo and pairs alone": self.noise_inputs == 1
            or (self.noise_inputs == 3 and self.degradation in ("photo", "pairs")),
            "jitter and seed are at least 0": min(self.jitter, self.seed) >= 0,
            "conditioned is for denoisers": not self.conditioned or self.scale == 1,
            "antithetic is between 0 and 255": 0 <= self.antithetic <= 255,
            "sigma_power is above 0": self.sigma_power > 0,
            f"degradation is one of {', '.join((*DEGRADATION_NAMES, *GIVEN_NAMES))}": (
                self.degradation in (*DEGRADATION_NAMES, *GIVEN_NAMES)
            ),
            f"loss is one of {', '.join(LOSSES)}, or one of them for each stage": (
                set(self.loss) <= set(LOSSES) and len(self.loss) in (1, len(self.stages))
            ),
            "steps, batch, patch, candidates and validate_every are at least 1": min(
                self.steps, *self.batch, *self.patch, self.candidates, self.validate_every
            )
            >= 1,
            "batch, patch and stages have one entry a stage": len(self.batch)
            == len(self.patch)
            == len(self.stages)
            > 0,
            "stages rise from 0 and stay below 1": self.stages[:1] == (0.0,)
            and list(self.stages) == sorted(set(self.stages))
            and self.stages[-1] < 1,
            "rates are above 0": min(self.kernel_rate, self.other_rate) > 0,
            "weight_decay is at least 0": self.weight_decay >= 0,
            "decay is between 0 and 1": 0 <= self.decay <= 1,
            "ema is at least 0 and below 1": 0 <= self.ema < 1,
            "patch, and validate_side over scale, are multiples of 2^(levels - 1)": not any(
                side % (self.scale * 2 ** (len(self.widths) - 1))
                for side in (*(patch * self.scale for patch in self.patch), self.validate_side)
            ),
        }
        for rule, kept in rules.items():
            if not kept:
                raise TrainingError(f"the recipe '{self.name}' is not valid: {rule}")

    def _shares(self) -> tuple[float, ...]:
        return tuple(getattr(self, name) for name in SHARES)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for the card and the checkpoint."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in dataclasses.asdict(self).items()
        }

    def stage(self, passed: float) -> Stage:
        """What is in force when a share of the training, below 1, has passed."""
        index = sum(passed >= share for share in self.stages) - 1
        return Stage(
            self.batch[index], self.patch[index], self.loss[min(index, len(self.loss) - 1)]
        )

    def rate(self, step: int, passed: float) -> float:
        """The factor on both learning rates: up, level, and down to zero at the end.

        step: from 0; passed: the share of the training, below 1, that has passed by then
        """
        up = (step + 1) / self.warmup if self.warmup else 1.0
        down = (1 - passed) / self.decay if self.decay else 1.0
        return min(1.0, up, down)


def shipped_recipes() -> dict[str, str]:
    """The recipes that come with the package: name -> TOML text."""
    folder = resources.files("restore.training") / "recipes"
    files = [entry for entry in folder.iterdir() if entry.name.endswith(".toml")]
    return {f.name.removesuffix(".toml"): f.read_text("utf-8") for f in sorted(files, key=str)}


def load_recipe(name_or_path: str, **overrides: Any) -> Recipe:
    """A shipped recipe by name, or a TOML file by path; overrides replace its values.

    Raises TrainingError for an unknown name, a broken file, an unknown key or an impossible value.
    """
    shipped = shipped_recipes()
    try:
        if name_or_path in shipped:
            text = shipped[name_or_path]
        elif Path(name_or_path).is_file():
            text = Path(name_or_path).read_text("utf-8")
        else:
            listed = ", ".join(shipped)
            raise TrainingError(
                f"there is no recipe '{name_or_path}'; give a TOML file or one of {listed}"
            )
        values = tomllib.loads(text)
    except ValueError as error:  # not UTF-8, not TOML, or a number of thousands of digits
        raise TrainingError(f"the recipe {name_or_path} is not TOML: {error}") from None
    except RecursionError:
        raise TrainingError(
            f"the recipe {name_or_path} is nested too deeply; keep it flat"
        ) from None
    except OSError as error:
        raise TrainingError(f"the recipe {name_or_path} cannot be read: {error.strerror}") from None
    return make_recipe({**values, **overrides}, name_or_path)


def make_recipe(values: dict[str, Any], where: str) -> Recipe:
    """A recipe from plain values; an unknown key or a value of the wrong kind is an error."""
    values = {FORMER_KEYS.get(key, key): value for key, value in values.items()}
    fields = {field.name: field for field in dataclasses.fields(Recipe)}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise TrainingError(
            f"{where} has unknown keys: {', '.join(unknown)}; known are {', '.join(fields)}"
        )
    if "name" not in values:
        raise TrainingError(f"{where} has no name; add a line such as name = 'my-denoiser'")
    return Recipe(**{key: _fit(value, fields[key], where) for key, value in values.items()})


def _fit(value: Any, field: dataclasses.Field[Any], where: str) -> Any:
    """The value in the field's type: lists become tuples, whole numbers may stand for floats."""
    kind = str(field.type)
    if kind.startswith("tuple"):
        items = value if isinstance(value, (list, tuple)) else [value]
        return tuple(_fit_one(item, kind[6:].split(",")[0], field.name, where) for item in items)
    return _fit_one(value, kind, field.name, where)


def _fit_one(value: Any, kind: str, key: str, where: str) -> Any:
    if kind == "float" and type(value) is int:
        return float(value)
    if type(value).__name__ != kind:
        raise TrainingError(f"{where}: {key} must be {kind}, not {value!r}")
    return value
