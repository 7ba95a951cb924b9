"""The model card: the metadata in a weights file, enough to rebuild the network and to judge it."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal

from restore.errors import WeightsError

Noise = Literal["none", "white", "mixed", "unknown"]
NOISE: dict[str, Noise] = {  # by the degradation in the training recipe
    "gaussian": "white", "photo": "mixed", "bicubic": "none", "second-order": "mixed",
    "pairs": "mixed", "shots": "mixed", "neighbours": "white", "recorrupted": "mixed",
}  # fmt: skip


@dataclass(frozen=True)
class ModelCard:
    """Stored as sorted JSON in the weights file's header; loading rebuilds the network from it."""

    name: str
    task: str  # "denoise", "upscale", "noise-level", "autoencoder" or "anomaly"
    architecture: str  # a name in `restore.models.weights.ARCHITECTURES`
    arguments: dict[str, Any]  # the architecture's own arguments
    scale: int = 1  # factor by which the output is higher and wider than the input
    licence: str = "Apache-2.0"  # of the weights, as an SPDX identifier
    version: str = "1"  # of the weights
    trained_on: dict[str, Any] = field(default_factory=dict)  # sources, licences, caveats
    training: dict[str, Any] = field(default_factory=dict)  # recipe, seed, steps, time, device
    scores: list[dict[str, Any]] = field(default_factory=list)  # measured, each with its protocol
    limits: list[str] = field(default_factory=list)  # what it is not good at
    close: list[str] = field(default_factory=list)  # half precisions; see `training.rounding`

    @property
    def degradation(self) -> str:
        """The degradation it was trained to undo, by its name in the recipe; "" if unknown."""
        recipe = self.training.get("recipe")
        if not isinstance(recipe, dict):
            return ""
        return str(recipe.get("degradation", recipe.get("fault", "")))  # "fault" in older cards

    @property
    def noise(self) -> Noise:
        """What the network was trained to remove; see `models.network`."""
        return NOISE.get(self.degradation, "white" if self.task == "denoise" else "none")

    @property
    def use(self) -> str:
        """What the model is for, in one line."""
        if self.task == "autoencoder":
            return "codes of small pictures: reconstruct, embed, probe; see `restore autoencoder`"
        if self.task == "anomaly":
            return "finds what is abnormal in pictures; see `restore anomaly`"
        if self.task == "noise-level":
            return "estimates a picture's noise for the denoisers; restores nothing itself"
        if "loaded_by" in self.training:  # another project's: nobody says what it was trained for
            does = (
                f"enlarges pictures {self.scale} times" if self.scale > 1 else "restores pictures"
            )
            return f"{does} ({self.architecture}, licence {self.licence})"
        if self.task == "upscale":
            source = {
                "bicubic": "clean pictures",
                "second-order": "photographs with blur, noise or JPEG artefacts",
            }.get(self.degradation, "pictures")
            does = f"enlarges {source} {self.scale} times"
        else:
            does = {
                "gaussian": "removes white Gaussian noise, that of most benchmarks",
                "photo": "removes camera noise and JPEG artefacts from photographs",
            }.get(self.degradation, "removes noise")
        return f"{does}; smaller and faster" if self.name.endswith("-fast") else does

    def to_json(self) -> str:
        """JSON with sorted keys, so that equal cards give equal bytes."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True, ensure_ascii=False)


def card_from_json(text: str, where: str) -> ModelCard:
    """Parse the card in a file's header; `where` names the file in error messages.

    Raises WeightsError if it is not JSON, or with the names of fields that are missing, unknown or
    of another type.
    """
    try:
        values = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        raise WeightsError(f"{where} has a model card that is not JSON") from None
    fields = {f.name: f for f in dataclasses.fields(ModelCard)}
    required = {"name", "task", "architecture", "arguments"}
    if not isinstance(values, dict) or (missing := required - set(values)):
        lacking = ", ".join(sorted(missing)) if isinstance(values, dict) else "any field"
        raise WeightsError(f"{where} has a model card without {lacking}")
    if unknown := set(values) - set(fields):
        raise WeightsError(
            f"{where} has a model card with unknown fields ({', '.join(sorted(unknown))}); "
            "it may be from a newer version of restore"
        )
    if wrong := [name for name, value in values.items() if not _is(value, str(fields[name].type))]:
        kinds = ", ".join(f"{name} must be {fields[name].type}" for name in sorted(wrong))
        raise WeightsError(f"{where} has a model card with wrong values: {kinds}")
    return ModelCard(**values)


def _is(value: Any, kind: str) -> bool:
    """Whether a value out of JSON has a type such as "int", "list[str]" or "dict[str, Any]"."""
    outer, _, inner = kind.partition("[")
    items = value if outer == "list" and isinstance(value, list) else ()
    return type(value).__name__ == outer and all(_is(item, inner[:-1]) for item in items)
