"""The body of a request, read into memory within limits; nothing of it is written to the disk."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

import anyio
import python_multipart  # noqa: F401 (Starlette's parser needs it, and says so only when it is used)
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from restore.web.jobs import Limits, RefusedError

MOST_FIELDS, LONGEST_FIELD, LONGEST_NAME = 32, 1000, 120
FILES = ("image", "reference")


@dataclass(frozen=True)
class Upload:
    """A picture sent: its name, reduced to harmless characters, its bytes, and the other fields."""

    name: str
    data: bytes
    reference: bytes | None
    fields: dict[str, str]

    @property
    def nbytes(self) -> int:
        """Bytes of the files."""
        return len(self.data) + len(self.reference or b"")


class _InMemory(MultiPartParser):
    """Starlette's parser, which otherwise puts files of a megabyte and more on the disk."""

    spool_max_size = 2**62


async def read_upload(request: Request, limits: Limits) -> Upload:
    """The picture and the fields of a request.

    Raises RefusedError: 408 for a client that sends nothing for too long, 413 for too many bytes,
    415 for a body that is no form, 422 for one that is not valid.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise RefusedError(415, "send a form (multipart/form-data) with the picture as 'image'")
    parser = _InMemory(
        Headers(raw=request.headers.raw),
        _limited(request, limits),  # type: ignore[arg-type]  # any iterator of chunks will do
        max_files=len(FILES),
        max_fields=MOST_FIELDS,
        max_part_size=LONGEST_FIELD,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise RefusedError(422, f"the form is not valid: {error.message}") from None
    try:
        return await _sorted(form)
    finally:
        await form.close()


async def _sorted(form: FormData) -> Upload:
    """The parts of a form as an upload. Raises RefusedError 422 for a part that is not expected."""
    fields: dict[str, str] = {}
    files: dict[str, UploadFile] = {}
    for name, value in form.multi_items():
        if name in fields or name in files:
            raise RefusedError(422, f"the form has several fields '{clean_name(name)}'; send one")
        if isinstance(value, UploadFile):
            files[name] = value
        else:
            fields[name] = value
    if "image" not in files:
        raise RefusedError(422, "the form has no file 'image'; send the picture under this name")
    if unknown := files.keys() - set(FILES):
        raise RefusedError(422, f"the form has an unknown file '{clean_name(unknown.pop())}'")
    reference = await files["reference"].read() if "reference" in files else None
    name = clean_name(files["image"].filename or "")
    return Upload(name or "picture", await files["image"].read(), reference, fields)


def body_size(request: Request, limits: Limits) -> int:
    """Bytes of the body as the client announces it; without a word the most there may be."""
    announced = request.headers.get("content-length", "")
    return int(announced) if announced.isdecimal() else limits.bytes


async def _limited(request: Request, limits: Limits) -> AsyncIterator[bytes]:
    """The chunks of a body, until there are too many bytes or too little happens."""
    stream, total = request.stream(), 0
    while True:
        chunk = b""
        try:
            with anyio.fail_after(limits.patience):
                chunk = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise RefusedError(408, "nothing was received for too long; send it again") from None
        total += len(chunk)
        if total > limits.bytes:
            raise RefusedError(413, f"a request may have {limits.bytes} bytes at most")
        yield chunk


def clean_name(name: str) -> str:
    """The last part of a file name, without characters that mean something to anyone."""
    last = re.split(r"[\\/]", name)[-1]
    harmless = "".join(c if c.isprintable() and c not in '<>:"|?*%' else "_" for c in last)
    return harmless.strip(" .")[-LONGEST_NAME:]
