"""The HTTP API, `/v1`: pictures in, restored pictures out, at once or as jobs with progress."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.requests import ClientDisconnect

from restore.web.answers import (
    EVENTS,
    FILE,
    PNG,
    SENDING,
    Model,
    Progress,
    metrics_of,
    progress_of,
    refusals,
)
from restore.web.forms import (
    AnyForm,
    DenoiseForm,
    ResultForm,
    SavingForm,
    TaskForm,
    UpscaleForm,
    parse,
    schema_of,
    shipped_cards,
)
from restore.web.jobs import Job, Jobs, RefusedError
from restore.web.uploads import Upload, body_size, read_upload
from restore.web.work import Restored, Side, check, restore

POLL, QUIET = 0.1, 10.0  # seconds between looks at a job, and between signs of life
GONE = 499  # nginx's status for a client that went away; nobody sees it


router = APIRouter(prefix="/v1")


def jobs_of(request: Request) -> Jobs[Restored]:
    """The jobs of the server."""
    found: Jobs[Restored] = request.app.state.jobs
    return found


def job_of(id: str, request: Request) -> Job[Restored]:
    """The job of that id."""
    return jobs_of(request).find(id)


def done_of(job: Annotated[Job[Restored], Depends(job_of)]) -> Restored:
    """The result of a job. Raises RefusedError unless it is done."""
    if job.problem is not None:
        raise job.problem
    if job.state == "cancelled":
        raise RefusedError(503, "the job was cancelled; send it again", 1)
    if job.result is None:
        raise RefusedError(409, f"the job is {job.state}; its result is there when it is done", 1)
    return job.result


Line = Annotated[Jobs[Restored], Depends(jobs_of)]
OneJob = Annotated[Job[Restored], Depends(job_of)]
Done = Annotated[Restored, Depends(done_of)]
Prefer = Annotated[str, Header(description="respond-async: answer at once with a job.")]
Accept = Annotated[str, Header(description="application/json: the job in place of the picture.")]


@router.post("/denoise", responses=SENDING, openapi_extra=schema_of(DenoiseForm))
async def denoise(
    request: Request, jobs: Line, prefer: Prefer = "", accept: Accept = ""
) -> Response:
    """Remove the noise from a picture."""
    return await answer(request, jobs, DenoiseForm, prefer, accept)


@router.post("/upscale", responses=SENDING, openapi_extra=schema_of(UpscaleForm))
async def upscale(
    request: Request, jobs: Line, prefer: Prefer = "", accept: Accept = ""
) -> Response:
    """Enlarge a picture to a scale, a width, a height, or as large as fits into a box."""
    return await answer(request, jobs, UpscaleForm, prefer, accept)


@router.get("/models", responses=refusals())
async def models() -> list[Model]:
    """The models that requests may name."""
    cards = await asyncio.to_thread(shipped_cards)
    default = DenoiseForm.model_fields["model"].default
    return [
        Model(
            name=name,
            task=card.task,
            scale=card.scale,
            default=name == default,
            use=card.use,
            limits=card.limits,
            licence=card.licence,
        )
        for name, card in cards.items()
    ]


@router.get("/jobs/{id}", responses=refusals(404, 422))
async def job(job: OneJob, jobs: Line) -> Progress:
    """A job as it stands."""
    return progress_of(job, jobs)


@router.get(
    "/jobs/{id}/events",
    response_class=StreamingResponse,
    responses={200: EVENTS, **refusals(404, 422)},
)
async def events(job: OneJob, jobs: Line) -> StreamingResponse:
    """The job whenever something has changed, until it ends.

    A job that nobody follows or asks about is cancelled after a while.
    """
    return StreamingResponse(changes(job, jobs), media_type="text/event-stream")


@router.get(
    "/jobs/{id}/result",
    response_class=Response,
    responses={200: FILE, **refusals(404, 409, 413, 415, 422, 500, 503)},
)
async def result(made: Done, request: Request, wanted: Annotated[ResultForm, Query()]) -> Response:
    """The result's file, blended to any strength without running the network again."""
    strength = made.form.strength if wanted.strength is None else wanted.strength
    fixed = not made.blends and not made.result.unchanged
    if fixed and strength != made.form.strength:
        raise RefusedError(422, "the strength of upscaling is set before; send a new request")
    return await picture(request, made, strength, wanted)


@router.get(
    "/jobs/{id}/{side}.png",
    response_class=Response,
    responses={200: PNG, **refusals(404, 409, 413, 415, 422, 500, 503)},
)
async def view(made: Done, request: Request, side: Side) -> Response:
    """The picture at the result's size, or the result at full strength, to look at."""
    async with request.app.state.encoding:
        data = await asyncio.to_thread(made.view, side)
    return Response(data, media_type="image/png")


@router.delete("/jobs/{id}", status_code=204, responses=refusals(404, 422))
async def cancel(job: OneJob, jobs: Line) -> None:
    """Cancel a job where it is not finished, and forget its picture and its result."""
    jobs.drop(job)


async def answer(
    request: Request, jobs: Jobs[Restored], form: type[AnyForm], prefer: str, accept: str
) -> Response:
    """Read a request, have it done, and answer with the picture or with the job."""
    limits = jobs.limits
    client = request.client.host if request.client else ""
    job = jobs.admit(client, form.name, body_size(request, limits))
    try:
        upload = await read_upload(request, limits)
        fields = parse(form, upload.fields)
        await asyncio.to_thread(check, upload, fields, limits)
        enter(jobs, job, upload, fields)
        if "respond-async" in prefer.lower():
            headers = {"Location": f"/v1/jobs/{job.id}", "Preference-Applied": "respond-async"}
            return JSONResponse(progress_of(job, jobs).model_dump(), 202, headers)
        made = await ended(request, job)
        if "application/json" in accept.lower():
            return JSONResponse(progress_of(job, jobs).model_dump())
        answered = await picture(request, made, fields.strength, fields)
    except ClientDisconnect:
        jobs.drop(job)
        return Response(status_code=GONE)
    except BaseException:  # a cancelled request, too, frees its place
        jobs.drop(job)
        raise
    jobs.drop(job)
    return answered


def enter(jobs: Jobs[Restored], job: Job[Restored], upload: Upload, form: TaskForm) -> None:
    """Put a request into the line."""
    jobs.start(
        job,
        lambda compute, report: restore(upload, form, jobs.limits, compute, report),
        upload.nbytes,
    )


async def ended(request: Request, job: Job[Restored]) -> Restored:
    """The result of a job when it has ended.

    Raises what `done_of` raises, and ClientDisconnect where the client does not wait for it.
    """
    gone = asyncio.ensure_future(disconnected(request))
    try:
        with job.watched():
            either = {asyncio.wrap_future(job.ended), gone}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                raise ClientDisconnect
            return done_of(job)
    finally:
        gone.cancel()


async def disconnected(request: Request) -> None:
    """Return when the client has gone; its body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def changes(job: Job[Restored], jobs: Jobs[Restored]) -> AsyncIterator[str]:
    """Server-sent events until the job has ended."""
    told, silent = "", 0.0
    with job.watched():
        while True:
            finished, now = job.finished, progress_of(job, jobs).model_dump_json()
            if now != told:
                yield f"data: {now}\n\n"
                told, silent = now, 0.0
            elif silent >= QUIET:
                yield ": still there\n\n"  # by which a lost connection is noticed
                silent = 0.0
            if finished:
                return
            await asyncio.sleep(POLL)
            silent += POLL


async def picture(
    request: Request, made: Restored, strength: float, saving: SavingForm
) -> Response:
    """The file of a result, with what is known of it in the headers."""
    settings = saving.saving(made.form.mark)
    async with request.app.state.encoding:  # for each takes as much memory as its picture
        name, media, data = await asyncio.to_thread(made.file, strength, settings)
    told = metrics_of(made).model_dump(exclude_none=True)
    headers = {f"Restore-{key.replace('_', '-')}": str(value) for key, value in told.items()}
    headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(name, safe='')}"
    return Response(data, media_type=media, headers=headers)
