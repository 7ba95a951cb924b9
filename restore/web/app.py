"""The application: the API, the page, and how errors are answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from restore.engine.compute import Compute
from restore.errors import RestoreError, installed_version
from restore.view.slider import asset
from restore.web.answers import Health, refusals
from restore.web.forms import sentence_of
from restore.web.guard import Access, Guard, refusal
from restore.web.jobs import Jobs, Limits, RefusedError, problem_of
from restore.web.routes import router
from restore.web.work import Restored

PAGE = Path(__file__).resolve().parent / "page"
SHARED = ("slider.js", "slider.css")  # with the reports
# Not from `mimetypes`: on some machines that says of scripts what no browser runs.
MEDIA_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
TIDY = 1.0  # seconds between looks for jobs that nobody asks about
ENCODED_AT_ONCE = 2  # files of results


def create_app(
    devices: Sequence[Compute] = (Compute(),),
    limits: Limits | None = None,
    access: Access | None = None,
) -> FastAPI:
    """The ASGI application. devices: settings for each device that takes jobs."""
    app = FastAPI(
        title="restore",
        version=installed_version(),
        description="Denoise and enlarge photographs.",
        docs_url=None,  # these pages load scripts from another server
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.devices, app.state.limits = devices, limits or Limits()
    app.add_middleware(Guard, access=access or Access())
    for kind in (RefusedError, RestoreError, Exception):
        app.add_exception_handler(kind, on_error)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http_error)
    app.include_router(router)
    app.get("/health", responses=refusals())(health)
    for name in ("", *(file.name for file in PAGE.iterdir()), *SHARED):
        app.get(f"/{name}", include_in_schema=False)(partial(page_file, name or "index.html"))
    return app


async def page_file(name: str) -> Response:
    """A file of the page, by a name that the server knows."""
    text = asset(name) if name in SHARED else (PAGE / name).read_text(encoding="utf-8")
    return Response(text, media_type=MEDIA_TYPES[Path(name).suffix])


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """The jobs, from the start of the server to its end."""
    jobs: Jobs[Restored] = Jobs(app.state.devices, app.state.limits)
    app.state.jobs, app.state.encoding = jobs, asyncio.Semaphore(ENCODED_AT_ONCE)
    tidying = asyncio.create_task(tidy(jobs))
    try:
        yield
    finally:
        tidying.cancel()
        with suppress(asyncio.CancelledError):
            await tidying
        await asyncio.to_thread(jobs.close)


async def tidy(jobs: Jobs[Restored]) -> None:
    """Drop, every second, the jobs that nobody asks about."""
    while True:
        jobs.tidy()
        await asyncio.sleep(TIDY)


async def health(request: Request) -> Health:
    """Whether the server is up, and how much it has to do."""
    return Health(status="ok", version=installed_version(), **request.app.state.jobs.counts())


async def on_error(request: Request, error: Exception) -> Response:
    """An error as its status and its sentence; a defect is logged, and not told to strangers."""
    return refusal(problem_of(error))


async def on_invalid(request: Request, error: Exception) -> Response:
    """Parameters that are not valid, as one sentence."""
    assert isinstance(error, RequestValidationError)
    return refusal(RefusedError(422, sentence_of(list(error.errors()))))


async def on_http_error(request: Request, error: Exception) -> Response:
    """An unknown address, or a method that it does not have."""
    assert isinstance(error, HTTPException)
    return JSONResponse({"detail": error.detail}, error.status_code, error.headers)
