"""What the API answers, and the words for it in its OpenAPI document."""

from __future__ import annotations

import math
from typing import Any

from pydantic import BaseModel, Field

from restore.image.metrics import Scores
from restore.web.jobs import Job, Jobs, State
from restore.web.work import Restored


class Detail(BaseModel):
    """A request that is refused."""

    detail: str = Field(description="One sentence: what is wrong, and what would be right.")


class Metrics(BaseModel):
    """What is known of a result; also in the headers of its file, as `Restore-Sigma` and so on."""

    model: str
    device: str
    precision: str
    tiles: int
    seconds: float = Field(description="For the network, without waiting and reading.")
    sigma: float | None = Field(
        default=None, description="The noise level found or given, 0 to 255."
    )
    unchanged: bool = Field(description="Whether the picture was left as it is.")
    psnr_before: float | None = Field(
        default=None, description="Of the picture against the reference."
    )
    ssim_before: float | None = None
    psnr_after: float | None = Field(
        default=None, description="Of the result; none for equal pictures."
    )
    ssim_after: float | None = None
    protocol: str | None = Field(default=None, description="How the scores were measured.")


class Progress(BaseModel):
    """A job as it stands."""

    id: str
    task: str
    state: State
    position: int = Field(description="How many jobs are before it in the line.")
    done: int = Field(description="Tiles that are done.")
    total: int = Field(description="Tiles in total; 0 while that is not known.")
    status: int | None = Field(default=None, description="The HTTP status of a job that failed.")
    detail: str | None = Field(default=None, description="Why it failed, in one sentence.")
    width: int | None = Field(default=None, description="Of the result.")
    height: int | None = Field(default=None, description="Of the result.")
    blends: bool = Field(
        default=False, description="Whether the result can be had at any strength."
    )
    metrics: Metrics | None = None
    notes: list[str] = Field(default=[], description="What was left out when the file was read.")


class Model(BaseModel):
    """A model that requests may name."""

    name: str
    task: str
    scale: int
    default: bool
    use: str = Field(description="What it is for, in one line.")
    limits: list[str] = Field(description="What it is not good at.")
    licence: str


class Health(BaseModel):
    """That the server is up, and how much it has to do."""

    status: str
    version: str
    waiting: int
    running: int
    jobs: int = Field(description="All jobs, finished ones with them.")
    bytes: int = Field(description="Of the pictures sent and the results that are held.")


REFUSALS = {
    401: "The token is missing or wrong.",
    403: "Called by another name, or from another site's page.",
    404: "There is no such job, or its result is not kept any longer.",
    408: "The request did not arrive in time.",
    409: "The job is not done.",
    413: "Too many bytes or pixels.",
    415: "No form, or no picture of a format that is read.",
    422: "A field or a picture that is not valid.",
    429: "Too many of your jobs are waiting.",
    500: "A defect of the server.",
    503: "Too many jobs are waiting, or memory is short.",
}
BINARY = {"schema": {"type": "string", "format": "binary"}}
JOB = {"schema": {"$ref": "#/components/schemas/Progress"}}
FILE: dict[str, Any] = {"description": "The result's file.", "content": {"image/*": BINARY}}
PNG: dict[str, Any] = {"description": "A PNG of 8 bits.", "content": {"image/png": BINARY}}
EVENTS: dict[str, Any] = {
    "description": "Server-sent events, each with the job as it stands.",
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The descriptions of refusals, with those of every request."""
    every = (401, 403, *statuses)
    return {status: {"model": Detail, "description": REFUSALS[status]} for status in every}


SENDING: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The result's file; with `Accept: application/json` the job.",
        "content": {"image/*": BINARY, "application/json": JOB},
        "headers": {
            f"Restore-{name.replace('_', '-')}": {
                "description": field.description or name,
                "schema": {"type": "string"},
            }
            for name, field in Metrics.model_fields.items()
        },
    },
    202: {"model": Progress, "description": "With `Prefer: respond-async`: the job."},
    **refusals(408, 413, 415, 422, 429, 500, 503),
}


def metrics_of(made: Restored) -> Metrics:
    """What is known of a result."""
    result = made.result
    scored = made.after or made.before
    return Metrics(
        model=result.model,
        device=result.device,
        precision=result.precision,
        tiles=result.tiles,
        seconds=round(result.seconds, 4),
        sigma=None if result.sigma is None else round(result.sigma, 2),
        unchanged=result.unchanged,
        **_scores("before", made.before),
        **_scores("after", made.after),
        protocol=scored.protocol if scored else None,
    )


def _scores(side: str, scores: Scores | None) -> dict[str, Any]:
    """PSNR and SSIM; without those that JSON cannot hold, as the PSNR of equal pictures."""
    if scores is None:
        return {}
    found = {f"psnr_{side}": round(scores.psnr, 4), f"ssim_{side}": round(scores.ssim, 6)}
    return {name: value for name, value in found.items() if math.isfinite(value)}


def progress_of(job: Job[Restored], jobs: Jobs[Restored]) -> Progress:
    """A job as it stands."""
    made, problem = job.result, job.problem
    told = Progress(
        id=job.id,
        task=job.task,
        state=job.state,
        position=jobs.position(job),
        done=job.progress[0],
        total=job.progress[1],
    )
    if problem is not None:
        told.status, told.detail = problem.status, problem.sentence
    if made is not None:
        told.width, told.height = made.result.picture.width, made.result.picture.height
        told.blends, told.metrics = made.blends, metrics_of(made)
        told.notes = list(made.result.notes)
    return told
