"""The fields of a request: checked, and turned into a task and the settings of its result."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from restore.errors import InputError
from restore.models.card import ModelCard
from restore.models.folders import available_models
from restore.models.weights import read_card
from restore.pipeline.file import MARK, Saving
from restore.tasks.denoise import DEFAULT_MODEL, denoising
from restore.tasks.target_size import LARGEST_FACTOR, Size, make_size
from restore.tasks.task import Task, parse_sigma
from restore.tasks.upscale import BICUBIC, MOST_STEPS_BACK, SMALL, upscaling
from restore.web.jobs import RefusedError

FormatName = Literal["jpeg", "png", "webp", "tiff", "avif", "jpeg2000", "bmp"]
SIDE = 1_000_000  # pixels; the product of both is limited, too


class SavingForm(BaseModel):
    """How the result becomes a file: by default of the picture's own format, like the picture."""

    model_config = ConfigDict(extra="forbid")

    format: FormatName | None = Field(None, description="Of the file; else the picture's own.")
    quality: int | None = Field(None, ge=1, le=100, description="Of JPEG, WebP and AVIF files.")
    strip_metadata: bool = Field(False, description="Leave out EXIF, GPS, XMP, IPTC, comments.")

    def saving(self, mark: str) -> Saving:
        """The settings for the pipeline; mark: see `Saving`."""
        return Saving(self.format, self.quality, strip_metadata=self.strip_metadata, mark=mark)


class ResultForm(SavingForm):
    """A request for the file of a result."""

    strength: float | None = Field(None, ge=0, le=1, description="Else that of the job.")


class TaskForm(SavingForm):
    """What requests to denoise and to upscale share."""

    name: ClassVar[str]  # of the task
    mark: ClassVar[str]  # in the name of the result

    strength: float = Field(1.0, ge=0, le=1, description="From 0 (unchanged) to 1.")
    ensemble: bool = Field(
        False, description="Average 8 turned and mirrored views: 8 times slower."
    )

    def check(self) -> None:
        """Raises InputError for fields that do not fit together."""

    def task(self) -> Task:
        """The task; loads the model."""
        raise NotImplementedError


class DenoiseForm(TaskForm):
    """A request to denoise."""

    name = "denoise"
    mark = "restored"

    model: str = Field(DEFAULT_MODEL, description="A name that /v1/models lists.")
    sigma: str | None = Field(
        None, description="The noise level to remove, up to 255, or auto; else the model finds it."
    )
    detail: float | None = Field(
        default=None, ge=0, le=1, description="How much structure is given back; else the model's."
    )

    @field_validator("model")
    @classmethod
    def _known(cls, model: str) -> str:
        return check_model(model, "denoise")

    @field_validator("sigma")
    @classmethod
    def _level(cls, sigma: str | None) -> str | None:
        if sigma is not None:
            parse_sigma(sigma)
        return sigma

    def task(self) -> Task:
        """At full strength, unless it is 0: results of less are blended when they are fetched."""
        strength = 1.0 if self.strength else 0.0
        return denoising(self.model, strength, self.ensemble, self.sigma, self.detail)


class UpscaleForm(TaskForm):
    """A request to upscale: a scale, a width, a height, or a box to fit into."""

    name = "upscale"
    mark = MARK

    scale: float | None = Field(None, gt=1, le=LARGEST_FACTOR, description="How many times larger.")
    width: int | None = Field(None, ge=1, le=SIDE, description="Of the result, in pixels.")
    height: int | None = Field(None, ge=1, le=SIDE, description="Of the result, in pixels.")
    fit: str | None = Field(
        None, pattern=r"^\d{1,7}x\d{1,7}$", description="A box to fit into, such as 3840x2160."
    )
    model: str | None = Field(
        None,
        description="A name that /v1/models lists, bicubic, or fast; else chosen by the size.",
    )
    back_projection: int = Field(
        0, ge=0, le=MOST_STEPS_BACK, description="Steps by which the result is corrected."
    )

    @field_validator("model")
    @classmethod
    def _known(cls, model: str | None) -> str | None:
        return model if model in (None, BICUBIC, SMALL) else check_model(model, "upscale")

    def size(self) -> Size:
        """The size asked for. Raises InputError unless exactly one is given."""
        return make_size(self.scale, self.width, self.height, self.fit)

    def check(self) -> None:
        """Raises InputError unless exactly one size is given."""
        self.size()

    def task(self) -> Task:
        """With the strength of the denoising before the picture is enlarged."""
        return upscaling(
            self.size(), self.model, self.back_projection, self.ensemble, self.strength
        )


AnyForm = TypeVar("AnyForm", bound=TaskForm)


def shipped_cards() -> dict[str, ModelCard]:
    """The cards of the models that a request may name."""
    return {name: read_card(path) for name, path in available_models().items()}


def check_model(model: str, task: str) -> str:
    """The name of a shipped model for a task: never a path, for it comes from a stranger."""
    known = [name for name in available_models() if name.startswith(f"{task}-")]
    if model not in known:
        raise InputError(f"there is no model of that name to {task}; give {', '.join(known)}")
    return model


def parse(form: type[AnyForm], fields: dict[str, str]) -> AnyForm:
    """A form from the fields of a request, empty ones left out. Raises RefusedError 422."""
    try:
        found = form.model_validate({name: text for name, text in fields.items() if text != ""})
        found.check()
        return found
    except ValidationError as error:
        raise RefusedError(422, sentence_of(error.errors())) from None
    except InputError as error:
        raise RefusedError(422, str(error)) from None


def sentence_of(errors: list[Any]) -> str:
    """The first of pydantic's errors as one sentence."""
    first = errors[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
    words = str(first["msg"]).removeprefix("Value error, ")
    return f"{where}: {words[:1].lower()}{words[1:]}" if where else words


def schema_of(form: type[TaskForm]) -> dict[str, object]:
    """The request body of a form in OpenAPI's words: its fields, a picture and a reference."""
    schema = form.model_json_schema()
    schema["properties"] = {name: _sent(field) for name, field in schema["properties"].items()}
    files = {
        "image": {"type": "string", "format": "binary", "description": "The picture's file."},
        "reference": {
            "type": "string",
            "format": "binary",
            "description": "What the result should look like; it is scored against it.",
        },
    }
    schema["properties"] = files | schema["properties"]
    schema["required"] = ["image"]
    content = {"multipart/form-data": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}


def _sent(field: dict[str, Any]) -> dict[str, Any]:
    """The schema of a field as it is sent: left out, it has its default; nothing is null."""
    kinds = [kind for kind in field.get("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return field
    sent: dict[str, Any] = kinds[0]
    return sent | {key: field[key] for key in ("title", "description") if key in field}
